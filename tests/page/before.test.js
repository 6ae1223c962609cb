// Before anything is sent: files and what they cost, the forecast, and reading along.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answering, content, ending, first, played, reaches, send, stored, withPage } from './browser.js';

const row = { served: true, context: 4096, model: 'minnow', quantisation: 'F32', verdict: 'fits', first_token_s: 1.24, file_bytes: 1e7, memory_bytes: 2e7 };
const COUNTED = { '/v1/messages/count_tokens': { input_tokens: 1500 }, '/tokenize': { tokens: Array(321).fill(1) } };
const PLANNED = { ...COUNTED, '/v1/plan': { object: 'plan', machine: 'x', models: [row] } };
const says = (...texts) => played(...texts.map((text) => ({ events: [content(text), ending(), { choices: [], usage: { prompt_tokens: 900, completion_tokens: 50 } }] })));
const file = (name, text) => ({ name, mimeType: 'text/plain', buffer: Buffer.from(text) });

test('files go with a message, and what they cost is said before', () => withPage({ before: first(says('Read.'), answering(PLANNED)) }, async (page) => {
  await page.setInputFiles('#files', [file('notes.md', '# Notes\n'), file('鱼.txt', '鱼'), { name: 'x.bin', mimeType: 'x/y', buffer: Buffer.from([0xff, 0]) }]);
  await page.waitForFunction(() => document.querySelectorAll('.chip').length === 2 && document.querySelector('.chip .quiet').textContent !== '');
  assert.deepEqual((await page.locator('.chip').allInnerTexts()).map((text) => text.replace(/\s+/g, ' ').trim()), ['notes.md 321 tokens', '鱼.txt 321 tokens']);
  assert.equal(await page.innerText('#notice'), 'x.bin is no text.');
  await page.getByRole('button', { name: 'Take away 鱼.txt' }).click();
  await send(page, 'What is in it?');
  await reaches(page, 'done');
  assert.equal(await page.evaluate(() => window.asked[0].messages[0].content), '[file name]: notes.md\n[file content begin]\n# Notes\n\n[file content end]\nWhat is in it?');
  assert.ok(await page.isHidden('#attached'));
  assert.equal(await page.locator('.file summary').innerText(), 'notes.md');
  await page.locator('.file summary').click();
  assert.equal(await page.locator('.file pre').textContent(), '# Notes\n');
  await page.locator('.question [data-action=edit]').click();
  assert.equal(await page.locator('.chip-name').innerText(), 'notes.md', 'files come back with the message');
}));

test('files are dropped', () => withPage({ before: answering(COUNTED) }, async (page) => {
  await page.evaluate(() => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File(['text'], 'a.txt', { type: 'text/plain' }));
    const tell = (name) => document.body.dispatchEvent(new DragEvent(name, { dataTransfer, bubbles: true, cancelable: true }));
    tell('dragover');
    window.wasShown = getComputedStyle(document.querySelector('.drop')).display;
    tell('drop');
  });
  assert.equal(await page.evaluate(() => window.wasShown), 'grid');
  await page.waitForSelector('.chip');
  assert.equal(await page.evaluate(() => document.body.dataset.drop), undefined);
}));

test('the forecast says what sending would cost', () => withPage({ before: first(says('Yes.'), answering(PLANNED)) }, async (page) => {
  assert.ok(await page.isHidden('#forecast'));
  assert.ok(await page.isHidden('#gauge'));
  await page.fill('#draft', 'Hello');
  await page.waitForSelector('#forecast', { state: 'visible' });
  assert.equal(await page.innerText('#forecast'), '1,500 tokens, 0 of them known · first answer in about 1.2 s');
  assert.deepEqual(await page.$eval('#gauge', ({ value, max, hidden }) => [value, max, hidden]), [1500, 4096, false]);
  await send(page, 'Hello');
  await reaches(page, 'done');
  await page.fill('#draft', 'And?');
  await page.waitForFunction(() => /950 of them known/.test(document.getElementById('forecast').textContent));
  const plans = await page.evaluate(() => window.questions.map(({ path }) => path).filter((path) => path.startsWith('/v1/plan')));
  assert.equal(plans.at(-1), '/v1/plan?prompt=1500&known=950');
  const counted = await page.evaluate(() => window.questions.filter(({ path }) => path.endsWith('count_tokens')).at(-1).body);
  assert.deepEqual(counted, { messages: [{ role: 'user', content: 'Hello' }, { role: 'assistant', content: 'Yes.' }, { role: 'user', content: 'And?' }] });
}));

test('a machine that was not measured is asked about once, and only the count is said', () => withPage({
  before: answering({ ...COUNTED, '/v1/plan': { status: 503, body: { error: { message: 'not measured' } } } }),
}, async (page) => {
  for (const text of ['One', 'Two', 'Three']) {
    await page.fill('#draft', text);
    await page.waitForTimeout(600);
  }
  assert.equal(await page.innerText('#forecast'), '1,500 tokens');
  assert.ok(await page.isHidden('#gauge'));
  assert.equal(await page.evaluate(() => window.questions.filter(({ path }) => path.startsWith('/v1/plan')).length), 1);
}));

test('a server that counts nothing is not missed', () => withPage({
  allowed: /status of 404/, before: answering({ '/v1/messages/count_tokens': { status: 404, body: {} } }),
}, async (page) => {
  await page.fill('#draft', 'Hello');
  await page.waitForTimeout(700);
  assert.ok(await page.isHidden('#forecast'));
}));

test('the model reads along only if it is told to, and stops when the text changes', () => withPage({
  before: first(answering(COUNTED), async (page) => page.addInitScript(() => {
    const real = window.fetch;
    window.along = [];
    window.fetch = (path, options) => {
      if (path !== '/v1/chat/completions') return real(path, options);
      const one = { body: JSON.parse(options.body), isStopped: false };
      window.along.push(one);
      return new Promise((_, reject) => options.signal.addEventListener('abort', () => { one.isStopped = true; reject(options.signal.reason); }));
    };
  })),
}, async (page) => {
  await page.fill('#draft', 'A long thought');
  await page.waitForTimeout(1300);
  assert.equal(await page.evaluate(() => window.along.length), 0);
  await page.click('#open-settings');
  await page.check('#prefill');
  await page.click('#settings .main-button');
  await page.fill('#draft', 'A long thought, and');
  await page.waitForFunction(() => window.along.length === 1);
  const { body } = await page.evaluate(() => window.along[0]);
  assert.deepEqual(body, { messages: [{ role: 'user', content: 'A long thought, and' }], max_tokens: 1, stream: false });
  await page.fill('#draft', 'A long thought, and more');
  assert.ok(await page.evaluate(() => window.along[0].isStopped));
  await page.waitForFunction(() => window.along.length === 2);
}));

test('a draft that is longer than the context is told before it is sent', () => withPage({
  before: first(stored({ language: 'en' }, 'shoal.settings'), answering({ ...PLANNED, '/v1/messages/count_tokens': { input_tokens: 5000 } })),
}, async (page) => {
  await page.fill('#draft', 'Very long');
  await page.waitForFunction(() => /more than the 4,096 tokens/.test(document.getElementById('forecast').textContent));
}));
