// What can be done with an answer: its thoughts are ended early, its tokens looked at and left for others, and the line below it says what it
// cost.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answering, content, ending, first, kept, lastAnswer, played, prose, reaches, reasoning, send, stored, withPage } from './browser.js';

const asked = (page) => page.evaluate(() => window.asked.at(-1));

test('"answer now" ends the thoughts, and the same answer goes on', () => withPage({
  before: played({ events: Array(200).fill(reasoning('Hm. ')), pause: 20 }, { events: [content('So: 42.'), ending()] }),
}, async (page) => {
  await send(page, 'Why?');
  await page.waitForFunction(() => document.querySelector('.thoughts')?.textContent.length > 12);
  await page.click('[data-action=now]');
  await reaches(page, 'done');
  assert.equal(await prose(page), 'So: 42.');
  assert.equal(await page.locator('.answer').count(), 1);
  assert.equal(await page.locator('.which').count(), 0, 'it is the same answer, not another');
  const last = (await asked(page)).messages.at(-1);
  assert.deepEqual({ ...last, reasoning_content: '' }, { role: 'assistant', content: '', reasoning_content: '', prefix: true });
  assert.match(last.reasoning_content, /^(Hm\. ){3,}$/);
  assert.match(await lastAnswer(page).locator('summary').innerText(), /^Thought for \d s, \d+ tokens$/);
  const [{ messages }] = await kept(page);
  assert.equal(messages[1].reasoning, last.reasoning_content);
}));

test('thoughts can be read while they come, and the answer now can be stopped as well', () => withPage({
  before: played({ events: Array(200).fill(reasoning('Hm. ')), pause: 20 }, { events: [content('So')], end: 'hold' }),
}, async (page) => {
  await send(page, 'Why?');
  await page.waitForSelector('.thinking summary', { state: 'visible' });
  await page.click('.thinking summary');
  assert.ok(await page.isVisible('.thoughts'));
  await page.click('[data-action=now]');
  await reaches(page, 'writing');
  assert.ok(await page.isVisible('.thoughts'), 'what was opened stays open');
  assert.ok(await page.isHidden('[data-action=now]'));
  await page.keyboard.press('Escape');
  await reaches(page, 'stopped');
}));

test('the line below an answer says what it cost', () => withPage({
  before: played({
    events: [content('Yes.'), ending('length'), {
      choices: [], timings: { predicted_per_second: 7.46 },
      usage: { prompt_tokens: 1200, completion_tokens: 31, prompt_tokens_details: { cached_tokens: 1000 } },
    }],
    pause: 60,
  }),
}, async (page) => {
  await send(page, 'Go');
  await reaches(page, 'done');
  assert.match(await page.innerText('.figures'), /^ended by the limit of tokens · 31 tokens · 7\.5 tokens\/s · first after 0\.[1-9] s · 1,000 of 1,200 prompt tokens known$/);
}));

const bytes = (text) => [...new TextEncoder().encode(text)];
const token = (text, chance, ...others) => ({
  choices: [{
    delta: { content: text },
    logprobs: {
      content: [{
        token: text, bytes: bytes(text), logprob: Math.log(chance),
        top_logprobs: [[text, chance], ...others].map(([other, share]) => ({ token: other, bytes: bytes(other), logprob: Math.log(share) })),
      }],
    },
  }],
});
const FISH = { events: [token('The', 0.95), token(' small', 0.4, [' big', 0.3], ['\n', 0.0001]), token(' fish', 0.08, [' <b>whale</b>', 0.5]), ending()] };
const asksForTokens = async (page) => stored({ tokens: true }, 'shoal.settings')(page);

test('tokens are looked at, and another one begins a branch', () => withPage({
  before: async (page) => {
    await asksForTokens(page);
    await played(FISH, { events: [token(' shark', 0.6), ending()] })(page);
  },
}, async (page) => {
  await send(page, 'Who?');
  await reaches(page, 'done');
  const { logprobs, top_logprobs: top } = await asked(page);
  assert.deepEqual([logprobs, top], [true, 5]);
  await lastAnswer(page).locator('[data-action=tokens]').click();
  assert.deepEqual(await page.locator('.token').allTextContents(), ['The', ' small', ' fish']);
  assert.deepEqual(await page.locator('.token').evaluateAll((all) => all.map(({ className }) => className.split(' ')[1])), ['p0', 'p2', 'p4']);
  await page.locator('.token').nth(2).hover();
  assert.equal(await page.innerText('.other-said'), '␣fish, 8 %');
  assert.equal(await page.locator('.other span').first().innerText(), '␣<b>whale</b>', 'what the model might have said is text');
  await page.locator('.token').nth(1).hover();
  assert.deepEqual(await page.locator('.other').evaluateAll((all) => all.map((node) => [...node.children].map((part) => part.textContent))), [['␣big', '30 %'], ['⏎', '< 0.1 %']]);
  await page.locator('.other').first().click();
  await page.waitForFunction(() => document.querySelector('.which')?.textContent === '2 / 2');
  await reaches(page, 'done');
  assert.equal(await prose(page), 'The big shark');
  assert.deepEqual((await asked(page)).messages.at(-1), { role: 'assistant', content: 'The big', prefix: true });
  await page.click('[data-action=previous]');
  await lastAnswer(page).locator('[data-action=tokens]').click();
  assert.equal(await page.locator('.token').count(), 3, 'the chances are kept');
  await lastAnswer(page).locator('[data-action=tokens]').click();
  assert.equal(await prose(page), 'The small fish');
}));

test('tokens are walked through by keyboard', () => withPage({
  before: async (page) => {
    await asksForTokens(page);
    await played(FISH, { events: [content('!'), ending()] })(page);
  },
}, async (page) => {
  await send(page, 'Who?');
  await reaches(page, 'done');
  await lastAnswer(page).locator('[data-action=tokens]').click();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'The');
  await page.keyboard.press('ArrowRight');
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), '␣small, 40 %');
  await page.keyboard.press('ArrowDown');
  assert.match(await page.evaluate(() => document.activeElement.title), /^Go on with “␣big”/);
  await page.keyboard.press('Escape');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), ' small');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelector('.which')?.textContent === '2 / 2');
  await reaches(page, 'done');
  assert.equal(await prose(page), 'The big!');
}));

/** What a reader has who asked `usual.length` times before. */
const before = (...usual) => stored({
  messages: usual.flatMap((reasoningTokens, i) => [
    { role: 'user', content: 'q' }, { role: 'assistant', model: 'minnow', content: 'a', state: 'done', reasoning: `${i}`, reasoningMs: 9000, reasoningTokens },
  ]),
});
const thinks = (n) => played({ events: Array(n).fill({ ...reasoning('Hm '), model: 'minnow' }), pause: 40, end: 'hold' });
const summary = (page) => lastAnswer(page).locator('.thinking summary');

test('while it thinks it is said how much longer, until it is longer than before', () => withPage({ before: first(before(60, 55, 1000), thinks(75)) }, async (page) => {
  await send(page, 'Go');
  await page.waitForFunction(() => /^Thinking, \d+ s, \d+ tokens · about \d s more, by your last answers$/.test([...document.querySelectorAll('.thinking summary')].at(-1)?.textContent));
  await page.waitForFunction(() => /^Thinking, \d+ s, (6[1-9]|7\d) tokens$/.test([...document.querySelectorAll('.thinking summary')].at(-1).textContent));
}));

test('two earlier thoughts say nothing', () => withPage({ before: first(before(600, 550), thinks(45)) }, async (page) => {
  await send(page, 'Go');
  await page.waitForFunction(() => /, 4\d tokens/.test([...document.querySelectorAll('.thinking summary')].at(-1)?.textContent));
  assert.doesNotMatch(await summary(page).textContent(), /more/);
}));

test('how long to think is offered where the model can be told', () => withPage({
  before: first(answering({ '/v1/models': { data: [{ id: 'deepseek-v4-flash' }] } }), played(...Array(5).fill({ events: [content('Yes.'), ending()] }))),
}, async (page) => {
  await page.waitForFunction(() => document.getElementById('model').textContent === 'deepseek-v4-flash');
  const told = {
    auto: {}, on: { thinking: { type: 'enabled' } }, low: { reasoning_effort: 'low' }, max: { reasoning_effort: 'max' }, off: { thinking: { type: 'disabled' } },
  };
  for (const [i, choice] of Object.keys(told).entries()) {
    await page.selectOption('#thinking', choice);
    await send(page, 'Go');
    await page.waitForFunction((n) => document.querySelectorAll('.answer[data-state=done]').length === n, i + 1);
    const { thinking, reasoning_effort: effort } = await page.evaluate(() => window.asked.at(-1));
    assert.deepEqual(JSON.parse(JSON.stringify({ thinking, reasoning_effort: effort })), told[choice], choice);
  }
}));

test('where it cannot be told, it is not offered', () => withPage({
  before: first(stored({ thinking: 'max' }, 'shoal.settings'), answering({ '/v1/models': { data: [{ id: 'r1-distill-7b' }] } })),
}, async (page) => {
  await page.waitForFunction(() => document.getElementById('model').textContent === 'r1-distill-7b');
  assert.equal(await page.inputValue('#thinking'), 'on');
  assert.deepEqual(await page.$$eval('#thinking option:not([disabled])', (all) => all.map(({ value, hidden }) => [value, hidden])), [['auto', false], ['on', false], ['off', false]]);
}));
