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

/** A PDF file of `objects`, the first of which is its catalogue. */
function pdf(objects) {
  const parts = ['%PDF-1.4\n'];
  const starts = [];
  objects.forEach((object, i) => {
    starts.push(parts.join('').length);
    parts.push(`${i + 1} 0 obj\n${object}\nendobj\n`);
  });
  const table = starts.map((start) => `${String(start).padStart(10, '0')} 00000 n \n`).join('');
  const count = objects.length + 1;
  return Buffer.from(`${parts.join('')}xref\n0 ${count}\n0000000000 65535 f \n${table}trailer << /Size ${count} /Root 1 0 R >>\nstartxref\n${parts.join('').length}\n%%EOF\n`);
}

/** One with a page for each of `contents`, whose font is `fonts`: the first of these objects and what it needs. */
function pages(contents, ...fonts) {
  const at = (i) => `${3 + 2 * i} 0 R`;
  const streams = contents.flatMap((content, i) => [
    `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents ${4 + 2 * i} 0 R /Resources << /Font << /F ${3 + 2 * contents.length} 0 R >> >> >>`,
    `<< /Length ${content.length} >>\nstream\n${content}\nendstream`,
  ]);
  return pdf(['<< /Type /Catalog /Pages 2 0 R >>', `<< /Type /Pages /Kids [${contents.map((_, i) => at(i)).join(' ')}] /Count ${contents.length} >>`, ...streams, ...fonts]);
}
const LATIN = '<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>';
const pdfFile = (name, buffer) => ({ name, mimeType: 'application/pdf', buffer });

test('the text of PDF files goes with a message', () => withPage({ before: first(says('Read.'), answering(COUNTED)) }, async (page) => {
  const shoal = pages(['BT /F 12 Tf 20 150 Td (The shoal) Tj 0 -20 Td (moves as one.) Tj ET', 'BT /F 12 Tf 20 150 Td (Page two.) Tj ET'], LATIN);
  // In GBK, with a font that is not in the file, as old Chinese files have it; object 6 follows that of the font.
  const chinese = pages(['BT /F 12 Tf 20 150 Td <c9eebaa3d3ced3e3> Tj ET'],
    '<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /GBK-EUC-H /DescendantFonts [6 0 R] >>',
    '<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 2 >> /FontDescriptor 7 0 R >>',
    '<< /Type /FontDescriptor /FontName /STSong-Light /Flags 4 /FontBBox [0 0 1000 1000] /ItalicAngle 0 /Ascent 800 /Descent -200 /CapHeight 700 /StemV 80 >>');
  await page.setInputFiles('#files', [pdfFile('shoal.pdf', shoal), pdfFile('fish.PDF', chinese)]);
  await page.waitForFunction(() => document.querySelectorAll('.chip').length === 2 && document.querySelector('.chip:last-child .quiet').textContent === '321 tokens');
  await send(page, 'What?');
  await reaches(page, 'done');
  const told = await page.evaluate(() => window.asked[0].messages[0].content);
  assert.match(told, /\[file name\]: shoal\.pdf\n\[file content begin\]\nThe shoal\nmoves as one\.\n\nPage two\.\n\[file content end\]/);
  assert.match(told, /\[file name\]: fish\.PDF\n\[file content begin\]\n深海游鱼\n/);
}));

test('a PDF file without text, or that is none, is refused', () => withPage({ before: answering(COUNTED) }, async (page) => {
  for (const [buffer, words] of [
    [pages([''], LATIN), 'x.pdf has no text that could be read; its pages may be pictures.'],
    [Buffer.from('%PDF-1.4\nnothing that follows from it'), 'x.pdf cannot be read as a PDF file.'],
    [Buffer.from('text'), 'x.pdf cannot be read as a PDF file.'],
  ]) {
    await page.setInputFiles('#files', pdfFile('x.pdf', buffer));
    await page.waitForFunction((words) => document.getElementById('notice').textContent === words, words);
    await page.waitForSelector('#attached', { state: 'hidden' });
  }
}));

test('nothing is sent while a file is being read, and its reading can be ended', () => withPage({ before: answering(COUNTED) }, async (page) => {
  // Its reader never comes.
  await page.route('**/pdf.worker.min.mjs', () => {});
  await page.setInputFiles('#files', pdfFile('slow.pdf', pages(['BT /F 12 Tf (x) Tj ET'], LATIN)));
  assert.equal((await page.innerText('.chip')).replace(/\s+/g, ' ').trim(), 'slow.pdf is being read');
  await page.fill('#draft', 'Hello');
  await page.keyboard.press('Enter');
  assert.equal(await page.innerText('#notice'), 'A file is still being read.');
  assert.equal(await page.inputValue('#draft'), 'Hello');
  await page.getByRole('button', { name: 'Take away slow.pdf' }).click();
  await page.waitForSelector('#attached', { state: 'hidden' });
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
