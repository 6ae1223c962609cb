// The worker that keeps the page's files. The server is asked first, always, so page and program are of one version; what it gave last is
// taken when it does not answer. The API is none of its business.
'use strict';

const CACHE = 'shoal-page';

/** What the page needs to be painted and to work; the rest is kept when it is first used. */
const SHELL = [
  '/',
  ...[
    'answer.js', 'api.js', 'app.js', 'attachments.js', 'branches.js', 'composer.js', 'conversation.js', 'diff.js', 'dom.js', 'dress.js', 'early.js',
    'exchange.js', 'forecast.js', 'history.js', 'icon.svg', 'library.js', 'manifest.webmanifest', 'markdown.js', 'maths.js', 'models.js', 'offline.js', 'own.js', 'pace.js',
    'panels.css', 'panels.js', 'prefill.js', 'prose.css', 'prose.js', 'record.js', 'scroll.js', 'settings.js', 'shelf.js', 'shortcuts.js', 'sse.js', 'storage.js',
    'store.js', 'strings.js', 'style.css', 'thoughts.js', 'token-view.js', 'turns.js', 'vendor/marked.esm.js', 'vendor/purify.min.js', 'words-en.js', 'words-zh-hans.js', 'words-zh-hant.js',
  ].map((name) => `/assets/${name}`),
];

self.addEventListener('install', (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL)));
});

self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

self.addEventListener('fetch', (event) => {
  const { origin, pathname } = new URL(event.request.url);
  const isOurs = origin === self.location.origin && (pathname === '/' || pathname.startsWith('/assets/'));
  if (isOurs && event.request.method === 'GET') event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(request, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}
