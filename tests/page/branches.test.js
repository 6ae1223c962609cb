// A conversation is a tree: every message can be changed and every answer made anew or continued, and all of it stays to be looked at and
// compared.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { content, ending, kept, lastAnswer, played, prose, reaches, reasoning, send, stored, withPage } from './browser.js';

const says = (text) => ({ events: [content(text), ending()] });
const said = (page) => page.locator('.said').allInnerTexts();
const asked = (page) => page.evaluate(() => window.asked.at(-1).messages);

test('an earlier message is changed, and both ways stay', () => withPage({ before: played(says('One.'), says('Two.'), says('Other.')) }, async (page) => {
  await send(page, 'First?');
  await reaches(page, 'done');
  await send(page, 'Second?');
  await reaches(page, 'done');
  await page.locator('.question').first().locator('[data-action=edit]').click();
  assert.equal(await page.inputValue('#draft'), 'First?');
  await send(page, 'First, but different?');
  await page.waitForFunction(() => document.querySelectorAll('.turn').length === 2);
  await reaches(page, 'done');
  assert.deepEqual(await asked(page), [{ role: 'user', content: 'First, but different?' }]);
  assert.equal(await page.locator('.which').innerText(), '2 / 2');
  await page.click('[data-action=previous]');
  assert.deepEqual(await said(page), ['First?', 'Second?']);
  assert.equal(await page.locator('.which').innerText(), '1 / 2');
  assert.ok(await page.isDisabled('[data-action=previous]'));
  assert.equal(await page.evaluate(() => document.activeElement.dataset.action), 'next', 'the focus stays with the arrows');
  await page.reload();
  await page.waitForSelector('.which');
  assert.deepEqual(await said(page), ['First?', 'Second?'], 'the branch that was shown');
  await page.click('[data-action=next]');
  assert.equal(await prose(page), 'Other.');
}));

test('another answer is a sibling; earlier turns keep their nodes', () => withPage({ before: played(says('One.'), says('Two.'), says('Three.')) }, async (page) => {
  await send(page, 'A?');
  await reaches(page, 'done');
  await send(page, 'B?');
  await reaches(page, 'done');
  await page.evaluate(() => { window.firstTurn = document.querySelector('.turn'); });
  await lastAnswer(page).locator('[data-action=again]').click();
  await page.waitForFunction(() => document.querySelector('.answer:last-child .which')?.textContent === '2 / 2');
  await reaches(page, 'done');
  assert.equal(await prose(page), 'Three.');
  assert.deepEqual((await asked(page)).map((message) => message.content), ['A?', 'One.', 'B?']);
  assert.ok(await page.evaluate(() => window.firstTurn === document.querySelector('.turn')));
}));

test('a stopped answer is continued from where it was', () => withPage({
  before: played({ events: [reasoning('Hm.'), content('Half'), content(' an')], pause: 30, end: 'hold' }, says(' answer.')),
}, async (page) => {
  await send(page, 'Go');
  await page.waitForFunction(() => document.querySelector('.prose')?.innerText === 'Half an');
  await page.keyboard.press('Escape');
  await reaches(page, 'stopped');
  await lastAnswer(page).locator('[data-action=go-on]').click();
  await reaches(page, 'done');
  assert.equal(await prose(page), 'Half an answer.');
  assert.deepEqual((await asked(page)).at(-1), { role: 'assistant', content: 'Half an', reasoning_content: 'Hm.', prefix: true });
  assert.equal(await lastAnswer(page).locator('.which').innerText(), '2 / 2');
  assert.match(await lastAnswer(page).locator('summary').innerText(), /^Thought for/);
}));

test('an answer is changed by hand, and told so to the model', () => withPage({ before: played(says('It is red.'), says('Yes.')) }, async (page) => {
  await send(page, 'Colour?');
  await reaches(page, 'done');
  await lastAnswer(page).locator('[data-action=edit]').click();
  assert.match(await page.innerText('#editing'), /answer in your words/);
  await send(page, 'It is blue.');
  assert.equal(await prose(page), 'It is blue.');
  await send(page, 'Sure?');
  await reaches(page, 'done');
  assert.deepEqual((await asked(page)).map((message) => message.content), ['Colour?', 'It is blue.', 'Sure?']);
}));

test('the tree shows all branches, chooses and compares', () => withPage({
  before: played(says('The small fish swims.'), says('The big fish swims away.')),
}, async (page) => {
  await send(page, 'Tell me');
  await reaches(page, 'done');
  await lastAnswer(page).locator('[data-action=again]').click();
  await page.waitForFunction(() => document.querySelector('.which')?.textContent === '2 / 2');
  await reaches(page, 'done');
  await page.click('.which');
  await page.waitForSelector('#branches', { state: 'visible' });
  assert.deepEqual(await page.locator('.tree-open span:last-child').allInnerTexts(), ['Tell me', 'The small fish swims.', 'The big fish swims away.']);
  assert.deepEqual(await page.locator('.tree-open[aria-current] span:last-child').allInnerTexts(), ['Tell me', 'The big fish swims away.']);
  assert.deepEqual([await page.locator('#difference del').allInnerTexts(), await page.locator('#difference ins').allInnerTexts()], [['small'], ['big', ' away']]);
  await page.selectOption('#branch-a', '1');
  assert.match(await page.innerText('#difference'), /the same/);
  await page.click('.tree-open >> text=small fish');
  assert.ok(await page.isHidden('#branches'));
  assert.equal(await prose(page), 'The small fish swims.');
}));

test('an answer that never came is no version', () => withPage({ allowed: /Failed to load/, before: played('unreachable', says('Here.')) }, async (page) => {
  await send(page, 'Go');
  await reaches(page, 'failed');
  await lastAnswer(page).locator('[data-action=retry]').click();
  await reaches(page, 'done');
  assert.equal(await page.locator('.which').count(), 0);
  assert.equal((await kept(page))[0].messages.length, 2);
}));

test('a tree with hostile words in it is text', () => withPage({
  before: stored({ messages: [{ role: 'user', content: '<img src=x onerror=alert(1)>' }, { role: 'assistant', content: '<b>x</b>', state: 'done' }] }),
}, async (page) => {
  await page.keyboard.press('Alt+b');
  assert.equal(await page.locator('.tree-open').first().locator('span').last().innerText(), '<img src=x onerror=alert(1)>');
  assert.equal(await page.locator('#branches img, #branches b').count(), 0);
}));
