// Many conversations: what an older page kept comes over, the list and what is done to it, search, files out and in, and the drawer on a
// narrow screen.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { content, ending, kept, played, prose, reaches, send, stored, withPage } from './browser.js';

const answers = (...texts) => played(...texts.map((text) => ({ events: [content(text), ending()] })));
const names = (page) => page.locator('.chat-open span').allInnerTexts();

/** Has talks about `questions`, each a conversation of its own. */
async function talk(page, ...questions) {
  for (const question of questions) {
    await page.click('#new-chat', { force: true }).catch(() => {});
    await send(page, question);
    await reaches(page, 'done');
  }
}

/** Presses `words` in the menu of the conversation `name`. */
async function menu(page, name, words) {
  const item = page.locator('.chat', { hasText: name });
  if (await item.locator('.chat-acts').isHidden()) await item.locator('.chat-more').click();
  await item.getByRole('button', { name: words, exact: true }).click();
}

async function download(page, act) {
  const [file] = await Promise.all([page.waitForEvent('download'), act()]);
  return [file.suggestedFilename(), await readFile(await file.path(), 'utf8')];
}

test('what an older page kept is in the list', () => withPage({
  before: stored({
    messages: [{ role: 'user', content: 'New one' }, { role: 'assistant', content: 'N', state: 'done' }],
    previous: [{ role: 'user', content: 'Old one' }, { role: 'assistant', content: 'O', state: 'done' }],
  }),
}, async (page) => {
  assert.equal(await page.locator('.said').innerText(), 'New one');
  await page.click('#open-history');
  assert.deepEqual(await names(page), ['New one', 'Old one']);
  await page.click('.chat-open >> text=Old one');
  await page.waitForFunction(() => document.querySelector('.said').textContent === 'Old one');
  assert.equal(await page.evaluate(() => localStorage.getItem('shoal.conversation')), null);
  await page.reload();
  await page.waitForFunction(() => document.body.dataset.busy === 'false');
  assert.equal(await page.locator('.said').innerText(), 'Old one', 'the one that was open');
  assert.deepEqual(await names(page), ['New one', 'Old one'], 'the list stays open');
}));

test('conversations are renamed, pinned, found and deleted', () => withPage({ before: answers('Gills.', 'A whale is no fish.', 'Tides.') }, async (page) => {
  await page.click('#open-history');
  assert.ok(await page.isVisible('#chats-none'));
  await talk(page, 'How do fish breathe?', 'What is a whale?', 'Why is there ebb?');
  assert.deepEqual(await names(page), ['Why is there ebb?', 'What is a whale?', 'How do fish breathe?']);
  assert.equal(await page.locator('.chat-open[aria-current]').innerText(), 'Why is there ebb?');

  await menu(page, 'whale', 'Rename');
  await page.fill('.chat-name', 'Big swimmers');
  await page.press('.chat-name', 'Enter');
  await page.waitForSelector('.chat >> text=Big swimmers');
  await menu(page, 'breathe', 'Pin');
  await page.waitForFunction(() => document.querySelector('.chat-open').textContent === 'How do fish breathe?');
  assert.deepEqual(await names(page), ['How do fish breathe?', 'Why is there ebb?', 'Big swimmers']);

  await page.fill('#search', 'no FISH');
  await page.waitForFunction(() => document.querySelectorAll('.chat').length === 1);
  assert.deepEqual(await names(page), ['Big swimmers'], 'found by what was said');
  await page.fill('#search', 'breathe');
  await page.waitForFunction(() => document.querySelector('.chat-open')?.textContent === 'How do fish breathe?');
  await page.fill('#search', 'nowhere');
  await page.waitForSelector('#chats-none', { state: 'visible' });
  await page.fill('#search', '');

  await menu(page, 'ebb', 'Delete');
  await page.click('#sure [data-close]');
  assert.equal(await page.locator('.chat').count(), 3, 'only asked');
  await menu(page, 'ebb', 'Delete');
  await page.click('#sure-yes');
  await page.waitForSelector('#welcome', { state: 'visible' });
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll('.chat').length === 2);
  assert.deepEqual(await names(page), ['How do fish breathe?', 'Big swimmers']);
  await page.click('#remove-all');
  await page.click('#sure-yes');
  await page.waitForFunction(() => document.querySelectorAll('.chat').length === 0);
  assert.deepEqual(await kept(page), []);
}));

test('conversations go out as files and come in again', () => withPage({ before: answers('One.', 'Two.') }, async (page) => {
  await page.click('#open-history');
  await talk(page, 'First?', 'Second?');
  const before = await kept(page);
  const [markdownName, markdown] = await download(page, () => menu(page, 'First?', 'Save as Markdown'));
  assert.deepEqual([markdownName, markdown], ['First.md', '# First?\n\n## You\n\nFirst?\n\n## Answer\n\nOne.\n']);
  const [, one] = await download(page, () => menu(page, 'Second?', 'Save as JSON'));
  assert.equal(JSON.parse(one).conversations.length, 1);
  const [allName, all] = await download(page, () => page.click('#save-all'));
  assert.equal(allName, 'shoal.json');
  await page.click('#remove-all');
  await page.click('#sure-yes');
  await page.waitForFunction(() => document.querySelectorAll('.chat').length === 0);
  await page.setInputFiles('#import-file', { name: 'shoal.json', mimeType: 'application/json', buffer: Buffer.from(all) });
  await page.waitForFunction(() => document.querySelectorAll('.chat').length === 2);
  assert.deepEqual(await kept(page), before);
  await page.setInputFiles('#import-file', { name: 'shoal.json', mimeType: 'application/json', buffer: Buffer.from(all) });
  await page.waitForFunction(() => document.getElementById('notice').textContent.includes('2 conversations'));
  assert.equal((await kept(page)).length, 2, 'the same file twice changes nothing');
  await page.setInputFiles('#import-file', { name: 'x.json', mimeType: 'application/json', buffer: Buffer.from('{"messages":[]}') });
  await page.waitForFunction(() => document.getElementById('notice').textContent.includes('holds no conversations'));
}));

test('on a narrow screen the list is a drawer', () => withPage({
  viewport: { width: 360, height: 700 }, before: stored({ messages: [{ role: 'user', content: 'Hello' }, { role: 'assistant', content: 'Yes.', state: 'done' }] }),
}, async (page) => {
  assert.ok(await page.isHidden('#history'));
  await page.click('#open-history');
  assert.ok(await page.isVisible('#history'));
  assert.equal(await page.evaluate(() => document.activeElement.id), 'search');
  assert.ok(await page.$eval('main', (main) => main.inert), 'what is behind it is out of reach');
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  await page.keyboard.press('Escape');
  assert.ok(await page.isHidden('#history'));
  assert.equal(await page.evaluate(() => document.activeElement.id), 'open-history');
  await page.click('#open-history');
  await page.click('#shade', { position: { x: 350, y: 300 } });
  assert.ok(await page.isHidden('#history'));
  await page.click('#open-history');
  await page.click('.chat-open');
  assert.ok(await page.isHidden('#history'));
  assert.equal(await prose(page), 'Yes.');
}));

test('a chat that is opened while an answer comes leaves that answer stopped and kept', () => withPage({
  before: played({ events: [content('A.'), ending()] }, { events: [content('Half'), content(' of it')], pause: 50, end: 'hold' }),
}, async (page) => {
  await page.click('#open-history');
  await talk(page, 'First?');
  await page.click('#new-chat');
  await send(page, 'Second?');
  await reaches(page, 'writing');
  await page.click('.chat-open >> text=First?');
  await page.waitForFunction(() => document.querySelector('.said').textContent === 'First?');
  const second = (await kept(page)).find(({ messages }) => messages[0].content === 'Second?');
  assert.equal(second.messages[1].state, 'stopped');
}));
