// Models that can be had: what is shown of them, what is asked of the server, and who is led there.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answering, content, first, lastAnswer, played, reaches, send, withPage } from './browser.js';

const entry = (name, state, more = {}) => ({
  name, description: `${name} for tests`, parameters: '1B', licence: 'MIT', memory: '1 GiB', state, here_bytes: 0, total_bytes: null, bytes_per_s: null, error: null,
  served: false, proposed: false, ...more,
});
const ENTRIES = [
  entry('small', 'here', { here_bytes: 5e8, total_bytes: 5e8 }),
  entry('middle', 'absent', { proposed: true }),
  entry('large', 'fetching', { here_bytes: 1e9, total_bytes: 4e9, bytes_per_s: 5e7 }),
  entry('half', 'part', { here_bytes: 2e8, error: 'The hub is away.' }),
  entry('far', 'absent'),
];
const shelf = (entries, more = {}) => answering({ '/v1/catalogue': { object: 'list', data: entries }, '/v1/plan': { status: 404, body: {} }, ...more });
const row = (page, name) => page.locator('.shelf li').filter({ has: page.locator('strong', { hasText: new RegExp(`^${name}$`) }) });
const opened = async (page) => {
  await page.click('#model');
  await page.waitForSelector('#shelf-near li');
};

test('each model says what is here of it and offers what can be done', () => withPage({ before: shelf(ENTRIES) }, async (page) => {
  await opened(page);
  const shown = {};
  for (const { name } of ENTRIES) shown[name] = await row(page, name).locator('button').allInnerTexts();
  await page.locator('#shelf summary').click();
  shown.far = await row(page, 'far').locator('button').allInnerTexts();
  assert.deepEqual(shown, {
    small: ['Let it answer', 'Delete'], middle: ['Fetch'], large: ['Pause'], half: ['Go on fetching', 'Delete'], far: ['Fetch'],
  });
  assert.match(await row(page, 'middle').innerText(), /fits this machine well/);
  assert.match(await row(page, 'large').innerText(), /1 GB of 4 GB, 25 % · 50 MB a second · 1 min 0 s left/);
  assert.equal(await row(page, 'large').locator('progress').evaluate(({ value, max }) => value / max), 0.25);
  assert.match(await row(page, 'half').innerText(), /The hub is away/);
}));

test('fetching is asked for, and looked at again while it lasts', () => withPage({
  before: shelf([ENTRIES[1], ENTRIES[2]], { '/v1/catalogue/middle/fetch': { status: 202, body: {} } }),
}, async (page) => {
  await opened(page);
  await row(page, 'middle').locator('button').click();
  const asked = () => page.evaluate(() => window.questions.map(({ path }) => path).filter((path) => path.startsWith('/v1/catalogue')));
  assert.ok((await asked()).includes('/v1/catalogue/middle/fetch'));
  await page.waitForFunction(() => window.questions.filter(({ path }) => path === '/v1/catalogue').length >= 4);
  await page.keyboard.press('Escape');
  await page.waitForTimeout(1500);
  const closed = (await asked()).length;
  await page.waitForTimeout(1500);
  assert.equal((await asked()).length, closed, 'nobody looks, nobody asks');
}));

test('the focus stays where it was when the list is made anew', () => withPage({ before: shelf(ENTRIES) }, async (page) => {
  await opened(page);
  await row(page, 'large').locator('button').focus();
  await page.waitForFunction(() => window.questions.filter(({ path }) => path === '/v1/catalogue').length >= 4);
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Pause: large');
}));

test('what is deleted is asked about first, and a refusal is told', () => withPage({
  allowed: /409/,
  before: shelf(ENTRIES, { '/v1/catalogue/small': { status: 409, body: { error: { message: '`small` answers here' } } } }),
}, async (page) => {
  await opened(page);
  await row(page, 'small').getByText('Delete').click();
  assert.equal(await page.innerText('#sure-question'), 'Delete small (500 MB) from this machine?');
  await page.locator('#sure [data-close]').click();
  assert.ok(!(await page.evaluate(() => window.questions.some(({ path }) => path === '/v1/catalogue/small'))), 'nothing was deleted');
  await row(page, 'small').getByText('Delete').click();
  await page.click('#sure-yes');
  await page.waitForFunction(() => document.getElementById('shelf-note').textContent === '`small` answers here');
}));

test('another model answers', () => withPage({
  before: first(shelf(ENTRIES, { '/v1/catalogue/small/serve': { status: 202, body: {} } }), (page) => page.addInitScript(() => {
    const real = window.fetch;
    let asked = 0;
    window.fetch = async (path, options) => {
      if (path !== '/v1/models') return real(path, options);
      asked += window.questions.some(({ path }) => path.endsWith('/serve')) ? 1 : 0;
      return new Response(JSON.stringify({ data: [asked > 1 ? { id: 'small', created: 2 } : { id: 'old', created: 1 }] }));
    };
  })),
}, async (page) => {
  await opened(page);
  await row(page, 'small').getByText('Let it answer').click();
  await page.waitForFunction(() => document.getElementById('shelf-note').textContent === 'small answers now.');
  assert.equal(await page.innerText('#model'), 'small');
}));

test('who has only the model in the program is told what to have first', () => withPage({ before: shelf(ENTRIES) }, async (page) => {
  await page.waitForSelector('#first-run', { state: 'visible' });
  assert.match(await page.innerText('#first-run-words'), /^minnow is a tiny model .* This machine has room for middle \(1B\)/s);
  await page.locator('#first-run button').click();
  await page.waitForSelector('#models', { state: 'visible' });
}));

test('a server that is reached from elsewhere has no such list', () => withPage({
  allowed: /403/, before: shelf([], { '/v1/catalogue': { status: 403, body: {} } }),
}, async (page) => {
  await page.click('#model');
  await page.waitForFunction(() => document.getElementById('models-note').textContent !== '');
  assert.ok(!(await page.isVisible('#shelf')) && !(await page.isVisible('#first-run')));
}));

const usage = (miss) => ({
  choices: [], usage: { prompt_tokens: 90, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 40 } },
  timings: { predicted_per_second: 5, memory_bytes_per_token: 1.5e9, disk_bytes_per_token: 2e8, cache_miss: miss },
});
const asking = (miss) => played({ events: [content('Yes.'), { choices: [{ delta: {}, finish_reason: 'stop' }] }, usage(miss)] });

test('why a prompt was read again is there for who asks, and what a token took', () => withPage({
  before: asking({ reason: 'differs', lost_tokens: 48, byte: 120, before: 'It is ', earlier: 'noon', now: '<b>nine' }),
}, async (page) => {
  await send(page, 'Go');
  await reaches(page, 'done');
  await lastAnswer(page).locator('.miss summary').click();
  const words = await lastAnswer(page).locator('.miss').innerText();
  assert.match(words, /differs from byte 120 on; were it as before, 48 more tokens/);
  assert.match(words, /before\s+It is noon\s+now\s+It is <b>nine/);
  assert.match(await lastAnswer(page).locator('.figures').innerText(), /1\.5 GB a token from memory · 200 MB from the drive · 40 of 90/);
  await page.reload();
  await page.waitForSelector('.miss');
}));

test('what is only new needs no reason', () => withPage({ before: asking({ reason: 'new', lost_tokens: 0 }) }, async (page) => {
  await send(page, 'Go');
  await reaches(page, 'done');
  assert.equal(await page.locator('.miss').count(), 0);
}));
