// The page with the real server behind it: one reader's way through everything that needs an answer. The small models answer within
// a blink, so where a test must see an answer grow, its bytes come slowly.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, kept, lastAnswer, prose, reaches, send, slowly, stored, withPage } from './browser.js';

const FAST = -1;
const SLOW = 16_000;

test('the page loads, says what is served, and is fenced in', () => withPage({}, async (page, response) => {
  assert.equal(response.status(), 200);
  const policy = response.headers()['content-security-policy'];
  for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"]) {
    assert.ok(policy.includes(part), `${part} in ${policy}`);
  }
  const { data } = await (await page.request.get(`${BASE}/v1/models`)).json();
  await page.waitForFunction((name) => document.getElementById('model').textContent === name, data[0].id);
  assert.ok(await page.isVisible('#welcome'));
  assert.ok(await page.isDisabled('#new-chat'));
}));

test('an answer streams in, is counted, and outlives a reload', () => withPage({
  before: stored({ maxTokens: 120 }, 'shoal.settings'),
}, async (page) => {
  await slowly(page, SLOW);
  await send(page, 'Tell me a story about a small fish.');
  const seen = [''];
  while (seen.length < 5) {
    await page.waitForFunction((old) => document.querySelector('.prose').innerText.length > old, seen.at(-1).length);
    seen.push(await prose(page));
    assert.equal(await lastAnswer(page).getAttribute('data-state'), 'writing');
  }
  await slowly(page, FAST);
  await reaches(page, 'done');
  assert.match(await lastAnswer(page).locator('.figures').innerText(), /\d tokens · [\d,.]+ tokens\/s/);
  const [question, answer] = [await page.locator('.said').innerText(), await prose(page)];
  assert.ok(answer.length > seen.at(-1).length);
  await page.reload();
  assert.equal(await page.locator('.said').innerText(), question);
  assert.equal(await prose(page), answer);
  assert.match(await lastAnswer(page).locator('.figures').innerText(), /tokens\/s/);
}));

test('a stopped answer keeps what came and can be made again', () => withPage({}, async (page) => {
  await slowly(page, SLOW);
  await send(page, 'Once upon a time there was a sea. Go on for very long.');
  await page.waitForFunction(() => document.querySelector('.prose').innerText.length > 20);
  assert.equal(await page.getAttribute('#send', 'aria-label'), 'Stop');
  await page.keyboard.press('Escape');
  await reaches(page, 'stopped');
  const stopped = await prose(page);
  assert.ok(stopped.length > 20);
  assert.equal(await page.getAttribute('#send', 'aria-label'), 'Send');
  await slowly(page, FAST);
  await page.waitForTimeout(300);
  assert.equal(await prose(page), stopped, 'nothing comes after the stop');
  assert.match(await lastAnswer(page).locator('.figures').innerText(), /stopped/);

  const asked = page.waitForRequest('**/v1/chat/completions');
  await lastAnswer(page).locator('.foot [data-action=again]').click();
  const { messages } = (await asked).postDataJSON();
  assert.deepEqual(messages.map(({ role }) => role), ['user'], 'the stopped answer is not told');
  await reaches(page, 'done');
  assert.equal(await page.locator('.turn').count(), 2);
}));

test('the button stops as well', () => withPage({}, async (page) => {
  await slowly(page, SLOW);
  await send(page, 'Once upon a time there was a sea. Go on for very long.');
  await page.waitForFunction(() => document.querySelector('.prose').innerText.length > 20);
  await page.click('#send');
  await reaches(page, 'stopped');
}));

test('the next question tells the model what was said, and the last one can be changed', () => withPage({}, async (page) => {
  await send(page, 'Hello');
  await reaches(page, 'done');
  const [{ messages: [, { content: first }] }] = await kept(page);
  let asked = page.waitForRequest('**/v1/chat/completions');
  await send(page, 'And now?');
  const expected = [{ role: 'user', content: 'Hello' }, { role: 'assistant', content: first }, { role: 'user', content: 'And now?' }];
  const request = (await asked).postDataJSON();
  assert.deepEqual(request.messages, expected);
  assert.equal(request.stream, true);
  assert.deepEqual(request.stream_options, { include_usage: true });
  assert.equal(request.return_progress, true);
  assert.deepEqual(Object.keys(request).sort(), ['messages', 'return_progress', 'stream', 'stream_options'], 'what was not chosen is left out');
  await reaches(page, 'done');

  await page.fill('#draft', 'half a thought');
  await page.locator('.question').last().locator('[data-action=edit]').click();
  assert.equal(await page.inputValue('#draft'), 'And now?');
  await page.keyboard.press('Escape');
  assert.equal(await page.inputValue('#draft'), 'half a thought', 'what stood there comes back');
  await page.locator('.question').last().locator('[data-action=edit]').click();
  asked = page.waitForRequest('**/v1/chat/completions');
  await send(page, 'And then?');
  assert.equal((await asked).postDataJSON().messages.at(-1).content, 'And then?');
  assert.deepEqual(await page.locator('.said').allInnerTexts(), ['Hello', 'And then?']);
  assert.equal(await page.locator('.question').last().locator('.which').innerText(), '2 / 2', 'the old one is still there');
  await reaches(page, 'done');
}));

test('settings reach the server, outlive a reload, and a limit is said', () => withPage({}, async (page) => {
  await page.click('#open-settings');
  await page.fill('#system', 'You are a fish.');
  await page.fill('#temperature', '0');
  await page.fill('#max-tokens', '5');
  await page.click('#settings .main-button');
  await page.selectOption('#thinking', 'off');
  await page.reload();
  const asked = page.waitForRequest('**/v1/chat/completions');
  await send(page, 'Tell me a story');
  const request = (await asked).postDataJSON();
  assert.deepEqual(request.messages[0], { role: 'system', content: 'You are a fish.' });
  assert.equal(request.temperature, 0);
  assert.equal(request.max_tokens, 5);
  assert.deepEqual(request.thinking, { type: 'disabled' });
  await reaches(page, 'done');
  assert.match(await lastAnswer(page).locator('.figures').innerText(), /ended by the limit of tokens · 5 tokens/);

  await page.click('#open-settings');
  await page.fill('#max-tokens', '0');
  await page.click('#settings .main-button');
  assert.ok(await page.isVisible('#settings'), 'a number out of bounds is not let through');
  await page.fill('#max-tokens', '');
  await page.click('#settings .main-button');
  assert.ok(await page.isHidden('#settings'));
}));

test('a new chat, also in the midst of an answer, and back', () => withPage({}, async (page) => {
  await slowly(page, SLOW);
  await send(page, 'Once upon a time there was a sea. Go on for very long.');
  await page.waitForFunction(() => document.querySelector('.prose').innerText.length > 20);
  await page.click('#new-chat');
  await page.waitForSelector('#welcome', { state: 'visible' });
  await slowly(page, FAST);
  assert.equal(await page.locator('.turn').count(), 0);
  await page.reload();
  assert.ok(await page.isVisible('#welcome'));
  await page.click('#open-history');
  await page.click('.chat-open');
  await reaches(page, 'stopped');
  assert.ok((await prose(page)).length > 20);
  assert.ok(await page.isHidden('#welcome'));
}));
