// Who and what reaches the page: screen readers (axe finds nothing serious), keys, readers who want no motion or much contrast, three
// languages, and a browser whose server has gone away.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { answering, BASE, browser, content, ending, first, played, prose, reaches, reasoning, send, stored, withPage } from './browser.js';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const ANSWER = 'Some **text**, [a link](https://example.com), `code` and $x^2$.\n\n```rust\nfn main() {}\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- [x] done\n\n> quote';
const figures = { tokens: 12, perSecond: 5, cached: 3, prompt: 9 };
const tokens = ['A', ' b'].map((text) => ({ bytes: [...Buffer.from(text)], logprob: -1, others: [{ bytes: [99], logprob: -2 }] }));
const message = (role, text, more = {}) => ({ role, content: text, ...more });
const long = stored({
  messages: [
    message('user', 'One', { files: [{ name: 'a.txt', text: 'x' }], parent: null }),
    message('assistant', ANSWER, { state: 'done', reasoning: 'Hm.', reasoningMs: 2000, figures, tokens, parent: 0 }),
    message('assistant', 'Another', { state: 'failed', error: { code: 'busy', message: '' }, parent: 0 }),
    message('user', 'Two', { parent: 1 }), message('assistant', 'Yes', { state: 'stopped', parent: 3 }),
  ],
});
const rate = { expected: 12.3, low: 10, high: 15 };
const row = (model, more) => ({
  model, quantisation: 'Q4_K_M', served: false, context: 4096, verdict: 'fits', decode: rate, prefill: rate, first_token_s: 0.8, file_bytes: 2.5e9, memory_bytes: 3.1e9,
  binds: 'memory', prefill_binds: 'arithmetic', ...more,
});
const ROWS = [row('Giant', { verdict: 'no', decode: null, prefill: null, first_token_s: null }), row('Streaming', { verdict: 'streams', binds: 'the drive', decode: { expected: 1.26, low: 1, high: 2 } }), row('minnow', { served: true })];
const planned = answering({ '/v1/plan': { object: 'plan', machine: 'x', models: ROWS }, '/v1/messages/count_tokens': { input_tokens: 100 }, '/tokenize': { tokens: [1, 2] } });

/** What axe finds serious or critical. */
async function violations(page) {
  await page.evaluate(axe);
  // Half of an animation is half as dark.
  await page.evaluate(() => Promise.all(document.getAnimations().filter(({ effect }) => effect.getTiming().iterations !== Infinity).map((one) => one.finished)));
  const { violations: found } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  return found.filter(({ impact }) => ['serious', 'critical'].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join(' | ')}`);
}

const SCREENS = {
  desktop: {}, phone: { viewport: { width: 360, height: 740 } }, dark: { colorScheme: 'dark' }, Chinese: { locale: 'zh-CN' },
  'traditional Chinese': { locale: 'zh-TW', colorScheme: 'dark' }, 'high contrast': { contrast: 'more' },
};
for (const [name, screen] of Object.entries(SCREENS)) {
  test(`axe finds nothing serious: ${name}`, () => withPage({ ...screen, before: first(long, planned) }, async (page) => {
    await page.waitForSelector('.katex');
    assert.deepEqual(await violations(page), [], 'a conversation');
    await page.locator('.thinking summary').first().click();
    await page.locator('.file summary').click();
    await page.fill('#draft', 'A draft');
    await page.setInputFiles('#files', { name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('a') });
    await page.waitForSelector('#gauge', { state: 'visible' });
    await page.locator('[data-action=tokens]').first().click();
    assert.deepEqual(await violations(page), [], 'opened up');
    for (const id of ['settings', 'models', 'help', 'branches']) {
      if (id === 'settings') await page.click('#open-settings');
      else if (id === 'models') await page.click('#model');
      else if (id === 'help') await page.evaluate(() => document.getElementById('open-help').click());
      else await page.locator('.which').first().click();
      await page.waitForSelector(`#${id}`, { state: 'visible' });
      if (id === 'models') await page.waitForSelector('.models');
      assert.deepEqual(await violations(page), [], id);
      assert.ok(await page.$eval(`#${id}`, (dialog) => dialog.scrollWidth <= dialog.clientWidth), `${id} is not too wide`);
      await page.keyboard.press('Escape');
    }
    await page.click('#open-settings');
    await page.click('#scope-chat-name');
    await page.fill('#own-system', 'Be brief.');
    assert.deepEqual(await violations(page), [], 'settings of this chat');
    await page.keyboard.press('Escape');
    assert.deepEqual(await violations(page), [], 'the mark of them');
    await page.click('#open-history');
    await page.click('.chat-more >> nth=0');
    assert.deepEqual(await violations(page), [], 'the list');
    await page.keyboard.press('Escape');
    await page.evaluate(() => document.getElementById('new-chat').click());
    await page.waitForSelector('#welcome', { state: 'visible' });
    assert.deepEqual(await violations(page), [], 'the welcome');
  }));
}

test('the page of models is a table, the best first', () => withPage({ before: planned }, async (page) => {
  await page.click('#model');
  await page.waitForSelector('.models');
  assert.deepEqual(await page.locator('.models tbody th span').allInnerTexts(), ['minnow', 'Streaming', 'Giant']);
  const cells = await page.locator('.models tbody tr').nth(1).locator('td').allInnerTexts();
  assert.deepEqual(cells.map((text) => text.replace(/\s+/g, ' ').trim()), ['from the drive', '1.3 1 to 2', '0.8 s', '3.1 GB', '2.5 GB', 'drive']);
  assert.match(await page.innerText('#models-note'), /^Answering here: \S+ What would run on this machine/);
}));

test('without a plan the page of models says what to do', () => withPage({ before: answering({ '/v1/plan': { status: 503, body: {} } }) }, async (page) => {
  await page.click('#model');
  await page.waitForFunction(() => /shoal plan/.test(document.getElementById('models-note').textContent));
  assert.equal(await page.locator('.models').count(), 0);
}));

test('keys reach everything, and leave writing alone', () => withPage({
  before: played({ events: [content('One.'), ending()] }, { events: [content('Two.'), ending()] }),
}, async (page) => {
  await send(page, 'Why?');
  await reaches(page, 'done');
  await page.keyboard.press('Alt+r');
  await page.waitForFunction(() => document.querySelector('.which')?.textContent === '2 / 2');
  await reaches(page, 'done');
  await page.keyboard.press('Alt+ArrowLeft');
  await page.waitForFunction(() => document.querySelector('.which').textContent === '1 / 2');
  await page.keyboard.press('Alt+b');
  assert.ok(await page.isVisible('#branches'));
  await page.keyboard.press('Escape');
  await page.keyboard.press('Alt+ArrowUp');
  assert.equal(await page.inputValue('#draft'), 'Why?');
  await page.keyboard.type(' /?');
  assert.equal(await page.inputValue('#draft'), 'Why? /?', 'where one writes, a sign is a sign');
  await page.keyboard.press('Escape');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('?');
  assert.ok(await page.isVisible('#help'));
  assert.ok((await page.locator('.keys dd').allInnerTexts()).includes('Search conversations'));
  await page.keyboard.press('Escape');
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('/');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'draft');
  await page.keyboard.press('Control+k');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'search');
  await page.keyboard.press('Control+Shift+o');
  await page.waitForSelector('#welcome', { state: 'visible' });
}));

test('who wants no motion sees none', () => withPage({
  reducedMotion: 'reduce', before: played({ events: [reasoning('Hm')], end: 'hold' }),
}, async (page) => {
  await send(page, 'Go');
  await page.waitForSelector('.pulse', { state: 'visible' });
  await page.click('#open-history');
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
}));

test('high contrast follows the system, and the switch', () => withPage({ contrast: 'more' }, async (page) => {
  const paper = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  assert.equal(await paper(), 'rgb(255, 255, 255)');
  await page.click('#open-settings');
  await page.selectOption('#theme', 'light');
  assert.notEqual(await paper(), 'rgb(255, 255, 255)', 'light was chosen');
  await page.selectOption('#theme', 'contrast');
  await page.emulateMedia({ colorScheme: 'dark', contrast: 'no-preference' });
  assert.equal(await paper(), 'rgb(0, 0, 0)');
  await page.reload();
  assert.equal(await paper(), 'rgb(0, 0, 0)');
}));

test('it speaks traditional Chinese where that is read', () => withPage({ locale: 'zh-TW' }, async (page) => {
  assert.equal(await page.getAttribute('html', 'lang'), 'zh-Hant');
  assert.equal(await page.getAttribute('#draft', 'placeholder'), '輸入訊息');
  await page.click('#open-settings');
  await page.selectOption('#language', 'zh-Hans');
  assert.equal(await page.getAttribute('#draft', 'placeholder'), '输入消息');
}));

test('the page can be installed', () => withPage({}, async (page) => {
  const address = await page.getAttribute('link[rel=manifest]', 'href');
  const response = await page.request.get(BASE + address);
  assert.match(response.headers()['content-type'], /^application\/manifest\+json/);
  const { start_url: start, icons } = await response.json();
  assert.equal(start, '/');
  for (const { src, sizes, type } of icons) {
    const icon = await page.request.get(BASE + src);
    assert.ok(icon.ok() && icon.headers()['content-type'].startsWith(type), src);
    if (type === 'image/png') assert.equal(`${(await icon.body()).readUInt32BE(16)}x${(await icon.body()).readUInt32BE(20)}`, sizes);
  }
}));

test('when the server is away the page still opens, and has what was said', async () => {
  const context = await browser.newContext({ locale: 'en-GB' });
  try {
    const page = await context.newPage();
    const policies = [];
    page.on('console', (entry) => { if (/Content Security Policy/.test(entry.text())) policies.push(entry.text()); });
    await stored({ messages: [message('user', 'Hello'), message('assistant', 'Still here.', { state: 'done' })] })(page);
    await page.goto(BASE);
    await page.evaluate(() => navigator.serviceWorker.ready);
    await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
    await context.setOffline(true);
    await page.reload();
    await page.waitForFunction(() => document.body.dataset.busy === 'false');
    assert.equal(await prose(page), 'Still here.');
    await send(page, 'And now?');
    await reaches(page, 'failed');
    assert.equal(await page.locator('.problem > span').last().innerText(), 'The server cannot be reached.');
    assert.deepEqual(policies, []);
  } finally {
    await context.close();
  }
});
