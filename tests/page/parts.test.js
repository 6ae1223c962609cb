// The parts of the page that need no page: how a stream is cut into events, and what chunks do to an answer.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, close, emptyAnswer, reopen } from '../../web/answer.js';
import { eventData } from '../../web/sse.js';
import { thoughtRest, thoughtsOf, usualThought } from '../../web/thoughts.js';

async function eventsOf(bytes, size) {
  const parts = [];
  for (let at = 0; at < bytes.length; at += size) parts.push(bytes.slice(at, at + size));
  const events = [];
  for await (const data of eventData(ReadableStream.from(parts))) events.push(data);
  return events;
}

test('events are the same however the bytes are cut', async () => {
  const text = ': keep-alive\n\ndata: one\n\nevent: x\nid: 7\ndata:two\ndata:  lines\n\n\r\ndata: 鱼🐟\r\n\r\ndata\n\n: \n\ndata: cr\r\rdata: a\r\ndata: b\r\n\r\ndata: last';
  const expected = ['one', 'two\n lines', '鱼🐟', 'cr', 'a\nb'];
  const bytes = new TextEncoder().encode(text);
  for (let size = 1; size <= bytes.length; size += 1) assert.deepEqual(await eventsOf(bytes, size), expected, `parts of ${size}`);
});

test('an event without end is refused', async () => {
  const bytes = new TextEncoder().encode(`data: ${'x'.repeat(1 << 21)}`);
  await assert.rejects(eventsOf(bytes, 1 << 16), /characters/);
});

test('whoever stops listening lets go of the stream', async () => {
  let isLetGo = false;
  const stream = new ReadableStream({
    pull: (controller) => controller.enqueue(new TextEncoder().encode('data: x\n\n')),
    cancel: () => { isLetGo = true; },
  });
  for await (const data of eventData(stream)) if (data === 'x') break;
  assert.ok(isLetGo);
});

test('chunks make an answer', () => {
  const answer = emptyAnswer();
  apply(answer, { model: 'minnow', choices: [{ delta: { role: 'assistant', content: '' } }] }, 0);
  assert.equal(answer.state, 'waiting');
  apply(answer, { choices: [{ delta: {} }], prompt_progress: { total: 100, cache: 10, processed: 40, time_ms: 5 } }, 100);
  assert.deepEqual([answer.state, answer.progress], ['reading', { read: 40, total: 100 }]);
  apply(answer, { choices: [{ delta: { reasoning_content: 'Hm' } }] }, 1000);
  apply(answer, { choices: [{ delta: { reasoning_content: 'm.' } }] }, 2500);
  assert.deepEqual([answer.state, answer.reasoning, answer.reasoningMs], ['thinking', 'Hmm.', 1500]);
  apply(answer, { choices: [{ delta: { content: 'Yes' } }] }, 3000);
  apply(answer, { choices: [{ delta: {}, finish_reason: 'length' }], usage: null }, 9000);
  apply(answer, {
    choices: [],
    timings: { predicted_per_second: 7.5, memory_bytes_per_token: 2e6, cache_miss: { reason: 'differs', lost_tokens: 3, byte: 7, before: 'a', earlier: 'b', now: 7 } },
    usage: { completion_tokens: 5, prompt_tokens: 9, prompt_tokens_details: { cached_tokens: 4 }, completion_tokens_details: { reasoning_tokens: 3 } },
  }, 9000);
  close(answer, 'done', 9000);
  assert.deepEqual(answer, {
    ...emptyAnswer(), model: 'minnow', state: 'done', content: 'Yes', reasoning: 'Hmm.', reasoningMs: 2000, reasoningTokens: 3, isCut: true,
    figures: { tokens: 5, perSecond: 7.5, cached: 4, prompt: 9, memoryBytes: 2e6, diskBytes: 0 },
    miss: { reason: 'differs', lost: 3, byte: 7, before: 'a', earlier: 'b', now: '' },
  });
  apply(emptyAnswer(), {}, 0);
  apply(emptyAnswer(), { choices: 'x', usage: 7, prompt_progress: true }, 0);
});

test('thoughts that were ended early stay, and the time of thinking stands still', () => {
  const answer = emptyAnswer();
  apply(answer, { choices: [{ delta: { reasoning_content: 'Hm' } }] }, 1000);
  reopen(answer, 4000);
  assert.deepEqual([answer.state, answer.reasoning, answer.reasoningMs, answer.isHurried], ['waiting', 'Hm', 3000, true]);
  apply(answer, { choices: [{ delta: {} }], prompt_progress: { total: 9, processed: 9 } }, 5000);
  assert.equal(answer.state, 'reading');
  apply(answer, { choices: [{ delta: { content: 'So.' } }] }, 6000);
  close(answer, 'done', 9000);
  assert.deepEqual([answer.reasoningMs, answer.reasoningTokens, answer.content], [3000, 1, 'So.']);
});

test('how long a model usually thinks is known from thoughts that ended by themselves', () => {
  const thought = (reasoning, reasoningTokens, more = {}) => ({ ...emptyAnswer(), model: 'a', content: 'x', reasoning, reasoningTokens, ...more });
  const messages = [
    { role: 'user', content: 'q' }, thought('one', 100), thought('one', 100), thought('two', 7, { isHurried: true }), thought('two', 7), thought('three', 8, { content: '' }),
    thought('four', 300, { model: 'b' }), thought('five', 50, { model: '' }), thought('', 0), thought('six', 200),
  ];
  const thoughts = thoughtsOf(messages);
  assert.deepEqual(thoughts, [{ model: 'a', tokens: 200 }, { model: 'b', tokens: 300 }, { model: 'a', tokens: 100 }]);
  assert.equal(usualThought([{ thoughts }], 'a'), 0, 'two are too few');
  const more = [{}, { thoughts: 7 }, { thoughts: [null, { model: 'a', tokens: 'x' }] }, { thoughts: [{ model: 'a', tokens: 900 }] }];
  assert.equal(usualThought([{ thoughts }, ...more], 'a'), 200);
  assert.equal(usualThought([{ thoughts }, ...more, { thoughts: [{ model: 'a', tokens: 400 }] }], 'a'), 300);
  assert.equal(usualThought(Array(5).fill({ thoughts: [{ model: '', tokens: 9 }] }), ''), 0);
  const old = Array(20).fill({ thoughts: [{ model: 'a', tokens: 9 }] });
  assert.equal(usualThought([...Array(8).fill({ thoughts: [{ model: 'a', tokens: 5 }] }), ...old], 'a'), 5, 'the newest count');
  const chat = Array.from({ length: 30 }, (_, i) => thought(`${i}`, i + 1));
  assert.deepEqual(thoughtsOf(chat).map(({ tokens }) => tokens), [30, 29, 28, 27, 26, 25, 24, 23, 22, 21]);
});

test('how much longer it thinks is said when it can be, in coarse steps', () => {
  const rest = (usualThought, reasoningTokens, reasoningMs) => thoughtRest({ usualThought, reasoningTokens, reasoningMs });
  assert.equal(rest(0, 50, 5000), 0, 'nobody knows');
  assert.equal(rest(undefined, 50, 5000), 0);
  assert.equal(rest(100, 9, 5000), 0, 'too early');
  assert.equal(rest(100, 50, 900), 0, 'too early');
  assert.equal(rest(100, 50, 5100), 6000);
  assert.equal(rest(300, 50, 5000), 25_000);
  assert.equal(rest(1000, 50, 5000), 120_000);
  assert.equal(rest(100, 100, 9000), 0, 'longer than usual');
});

test('tokens come with their chances', () => {
  const answer = emptyAnswer();
  const top = [{ token: 'a', logprob: -0.1, bytes: [97] }, { token: 'b', logprob: -2, bytes: [98] }];
  apply(answer, { choices: [{ delta: { content: 'a' }, logprobs: { content: [{ ...top[0], top_logprobs: top }] } }] }, 0);
  assert.deepEqual(answer.tokens, [{ bytes: [97], logprob: -0.1, others: [{ bytes: [97], logprob: -0.1 }, { bytes: [98], logprob: -2 }] }]);
});
