// What one conversation has of its own: instructions and numbers that hold in it alone, where everything else is as for all.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answering, content, ending, first, kept, played, reaches, send, stored, withPage } from './browser.js';

const says = (...texts) => played(...texts.map((text) => ({ events: [content(text), ending()] })));
const asked = (page) => page.evaluate(() => window.asked.at(-1));
const common = stored({ system: 'Be brief.', temperature: 0.7, topP: 0.9, maxTokens: 300 }, 'shoal.settings');

/** Opens the settings of this chat. */
async function openOwn(page) {
  await page.click('#open-settings');
  await page.click('#scope-chat-name');
}
const done = (page) => page.click('#settings .main-button');

test('a chat has instructions and numbers of its own, and others stay as they are', () => withPage({ before: first(common, says('Arr.', 'Aye.', 'Yes.', 'Again.')) }, async (page) => {
  assert.ok(await page.isHidden('#own'));
  await openOwn(page);
  assert.deepEqual(await page.$$eval('#for-chat :is(textarea, input)', (all) => all.map(({ value, placeholder }) => [value, placeholder])),
    [['', 'Be brief.'], ['', '0.7'], ['', '0.9'], ['', '300']], 'an empty field says what holds in its place');
  await page.fill('#own-system', 'You are a pirate.');
  await page.fill('#own-top-p', '0.5');
  await done(page);
  assert.equal((await page.innerText('#own')).replace(/\s+/g, ' '), 'Own instructions You are a pirate. · Top-p: 0.5');
  await send(page, 'Hello');
  await reaches(page, 'done');
  const { messages, temperature, top_p: topP, max_tokens: maxTokens } = await asked(page);
  assert.deepEqual([messages[0], temperature, topP, maxTokens], [{ role: 'system', content: 'You are a pirate.' }, 0.7, 0.5, 300]);

  await page.click('#new-chat');
  await page.waitForSelector('#welcome', { state: 'visible' });
  assert.ok(await page.isHidden('#own'));
  await send(page, 'Hello');
  await reaches(page, 'done');
  assert.deepEqual([(await asked(page)).messages[0].content, (await asked(page)).top_p], ['Be brief.', 0.9]);
  assert.deepEqual((await kept(page)).map(({ own }) => own).sort((a, b) => Object.keys(a).length - Object.keys(b).length), [{}, { system: 'You are a pirate.', topP: 0.5 }]);

  await page.click('#open-history');
  await page.locator('.chat-open').nth(1).click();
  await page.waitForSelector('#own', { state: 'visible' });
  await page.click('#own');
  assert.ok(await page.isChecked('#scope-chat'), 'the mark leads to what it speaks of');
  assert.equal(await page.inputValue('#own-system'), 'You are a pirate.');
  await page.click('#own-none');
  assert.equal(await page.inputValue('#own-system'), '');
  await done(page);
  assert.ok(await page.isHidden('#own'));
  await send(page, 'And?');
  await reaches(page, 'done');
  assert.equal((await asked(page)).messages[0].content, 'Be brief.');
}));

test('what is its own outlives a reload, and is counted before sending', () => withPage({
  before: first(says('Arr.'), answering({ '/v1/messages/count_tokens': { input_tokens: 7 }, '/v1/plan': { status: 503, body: {} } })),
}, async (page) => {
  await send(page, 'Hello');
  await reaches(page, 'done');
  await openOwn(page);
  await page.fill('#own-system', 'You are a pirate.');
  await done(page);
  const told = () => page.waitForFunction(() => window.questions.findLast(({ path }) => path.endsWith('count_tokens'))?.body.system === 'You are a pirate.');
  await told();
  await page.reload();
  await page.waitForSelector('#own', { state: 'visible' });
  await page.fill('#draft', 'And?');
  await told();
}));

test('numbers alone are said to be settings, and what is no good is not taken', () => withPage({}, async (page) => {
  await openOwn(page);
  await page.fill('#own-temperature', '7');
  await page.fill('#own-top-p', '0');
  assert.ok(await page.isHidden('#own'));
  await page.fill('#own-temperature', '0');
  assert.equal((await page.locator('#own').innerText()).replace(/\s+/g, ' '), 'Own settings Temperature: 0');
  await page.click('#scope-all-name');
  await done(page);
  assert.ok(await page.isHidden('#settings'), 'what is half written in the other part holds nothing up');
}));

test('the choice of chats is one for keys and for screen readers', () => withPage({ viewport: { width: 360, height: 740 } }, async (page) => {
  await page.focus('#open-settings');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'scope-all');
  await page.keyboard.press('ArrowRight');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'scope-chat');
  assert.ok(await page.isVisible('#own-system') && await page.isHidden('#system'));
  assert.notEqual(await page.$eval('#scope-chat-name', (label) => getComputedStyle(label).outlineStyle), 'none');
  await page.keyboard.press('Tab');
  await page.keyboard.type('Rhyme.');
  assert.ok(await page.$eval('#settings', (dialog) => dialog.scrollWidth <= dialog.clientWidth));
  const group = page.getByRole('group', { name: 'Settings for' });
  assert.ok(await group.getByRole('radio', { name: 'This chat' }).isChecked());
  await page.keyboard.press('Enter');
  await page.keyboard.press('Escape');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'open-settings');
  assert.ok(await page.getByRole('button', { name: 'Own instructions Rhyme.' }).isVisible());
  await page.evaluate(() => { document.getElementById('open-settings').click(); });
  assert.ok(await page.isChecked('#scope-all'), 'the button leads to the settings of all');
}));
