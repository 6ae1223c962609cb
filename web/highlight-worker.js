// Answers `{ id, text, language }` with `{ id, html }`, see highlight.js.

import { highlighted } from './highlight.js';

self.addEventListener('message', async ({ data: { id, text, language } }) => {
  const html = await highlighted(text, language).catch(() => null);
  self.postMessage({ id, html });
});
