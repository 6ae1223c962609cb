// What all tests share: a browser, a fresh reader for each test, and a stand-in for the server's answers where a test must decide what
// comes and when. The page itself always comes from the real server at SHOAL_URL.

import assert from 'node:assert/strict';
import { after } from 'node:test';
import { chromium } from 'playwright-core';

export const BASE = (process.env.SHOAL_URL ?? process.argv[2] ?? '').replace(/\/$/, '');
assert.match(BASE, /^https?:\/\//, 'SHOAL_URL must name the server whose page is tested, such as http://127.0.0.1:8080');

export const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
});
after(() => browser.close());

/** Runs `body` with a page of a reader who was never here. Nothing may be complained of on the console nor asked of another host. */
export async function withPage(options, body) {
  const { path = '/', allowed = /^$/, before = async () => {}, ...contextOptions } = options;
  // The worker for offline use would stand between a test and what it plays; its own test lets it.
  const context = await browser.newContext({ viewport: { width: 1100, height: 800 }, locale: 'en-GB', serviceWorkers: 'block', ...contextOptions });
  try {
    const page = await context.newPage();
    const complaints = [];
    const complain = (text) => { if (!allowed.test(text) && !/Service Worker registration blocked/.test(text)) complaints.push(text); };
    // A server whose machine was never measured has no plan, and the browser tells of that.
    const isPlan = (message) => /\/v1\/plan/.test(message.location().url);
    page.on('console', (message) => { if (['error', 'warning'].includes(message.type()) && !isPlan(message)) complain(message.text()); });
    page.on('pageerror', (error) => complain(String(error)));
    page.on('request', (request) => { if (!request.url().startsWith(`${BASE}/`)) complain(`asked ${request.url()}`); });
    page.setDefaultTimeout(10_000);
    await before(page);
    const response = await page.goto(BASE + path);
    await page.waitForFunction(() => document.body.dataset.busy === 'false');
    await body(page, response);
    assert.deepEqual(complaints, []);
  } finally {
    await context.close();
  }
}

/** Puts `value` into the page's storage, once, before its scripts run. A string is put in as it is. */
export const stored = (value, key = 'shoal.conversation') => (page) =>
  page.addInitScript(([key, text]) => {
    if (sessionStorage.getItem('test.stored')) return;
    sessionStorage.setItem('test.stored', 'yes');
    localStorage.setItem(key, text);
  }, [key, typeof value === 'string' ? value : JSON.stringify(value)]);

/** Lets the page's questions be answered by `plays`, in turn. A play is `{ status, body }`, or `{ events, pause, end }`: events
 *  (objects are sent as data, strings as they are), milliseconds before each or, with `batch`, before each so many, and then 'close',
 *  'hold' or nothing for a proper end.
 *  What was asked is in `window.asked`. */
export const played = (...plays) => (page) => page.addInitScript((plays) => {
  window.asked = [];
  const real = window.fetch;
  window.fetch = async (path, options) => {
    if (path !== '/v1/chat/completions') return real(path, options);
    window.asked.push({ ...JSON.parse(options.body), authorization: options.headers.Authorization });
    const play = plays.shift();
    if (play === 'unreachable') throw new TypeError('Failed to fetch');
    const { status = 200, body, events = [], pause = 0, batch = 1, end = 'done' } = play;
    if (status !== 200) return new Response(JSON.stringify(body), { status });
    const encoder = new TextEncoder();
    const stream = new ReadableStream({
      async start(controller) {
        options.signal.addEventListener('abort', () => controller.error(options.signal.reason));
        try {
          for (const [i, event] of events.entries()) {
            if (pause && i % batch === 0) await new Promise((resolve) => setTimeout(resolve, pause));
            controller.enqueue(encoder.encode(typeof event === 'string' ? event : `data: ${JSON.stringify(event)}\n\n`));
          }
          if (end === 'done') controller.enqueue(encoder.encode('data: [DONE]\n\n'));
          if (end !== 'hold') controller.close();
        } catch {
          // The reader has stopped it.
        }
      },
    });
    return new Response(stream, { status });
  };
}, plays);

/** Lets the page's other questions be answered: for each path without its query `{ status, body }`, or a body. What was asked is in
 *  `window.questions`: path, and body if there was one. */
export const answering = (answers) => (page) => page.addInitScript((answers) => {
  window.questions = [];
  const real = window.fetch;
  window.fetch = async (path, options = {}) => {
    window.questions.push({ path, body: options.body ? JSON.parse(options.body) : null });
    const answer = answers[path.split('?')[0]];
    if (answer === undefined) return real(path, options);
    const { status = 200, body = answer } = answer;
    return new Response(JSON.stringify(body), { status });
  };
}, answers);

/** All of `befores`, one after the other. */
export const first = (...befores) => async (page) => { for (const before of befores) await before(page); };

/** What the browser keeps: the records of all conversations. */
export const kept = (page) => page.evaluate(() => new Promise((resolve, reject) => {
  const open = indexedDB.open('shoal');
  open.onerror = () => reject(open.error);
  open.onsuccess = () => {
    const all = open.result.transaction('chats').objectStore('chats').getAll();
    all.onsuccess = () => { open.result.close(); resolve(all.result); };
  };
}));

export const content = (text) => ({ choices: [{ delta: { content: text }, finish_reason: null }] });
export const reasoning = (text) => ({ choices: [{ delta: { reasoning_content: text }, finish_reason: null }] });
export const ending = (reason = 'stop') => ({ choices: [{ delta: {}, finish_reason: reason }] });

/** Sends `text` as a reader does. */
export async function send(page, text) {
  await page.fill('#draft', text);
  await page.press('#draft', 'Enter');
}

export const lastAnswer = (page) => page.locator('.answer').last();

/** Waits until the last answer is in `state`. */
export const reaches = (page, state) => page.waitForFunction(
  (state) => [...document.querySelectorAll('.answer')].at(-1)?.dataset.state === state, state);

export const prose = (page) => lastAnswer(page).locator('.prose').innerText();

const sessions = new WeakMap();

/** Lets at most `bytes` a second through, -1 for all, so that a small model's answer takes its time. */
export async function slowly(page, bytes) {
  if (!sessions.has(page)) sessions.set(page, await page.context().newCDPSession(page));
  const session = sessions.get(page);
  await session.send('Network.enable');
  await session.send('Network.emulateNetworkConditions', {
    offline: false, latency: 0, downloadThroughput: bytes, uploadThroughput: -1,
  });
}
