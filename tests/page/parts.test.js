// The parts of the page that need no page: how a stream is cut into events, what chunks do to an answer, what storage may hold.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, close, emptyAnswer } from '../../web/answer.js';
import { Conversation } from '../../web/conversation.js';
import { eventData } from '../../web/sse.js';

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
  apply(answer, { choices: [{ delta: { role: 'assistant', content: '' } }] }, 0);
  assert.equal(answer.state, 'waiting');
  apply(answer, { choices: [{ delta: {} }], prompt_progress: { total: 100, cache: 10, processed: 40, time_ms: 5 } }, 100);
  assert.deepEqual([answer.state, answer.progress], ['reading', { read: 40, total: 100 }]);
  apply(answer, { choices: [{ delta: { reasoning_content: 'Hm' } }] }, 1000);
  apply(answer, { choices: [{ delta: { reasoning_content: 'm.' } }] }, 2500);
  assert.deepEqual([answer.state, answer.reasoning, answer.reasoningMs], ['thinking', 'Hmm.', 1500]);
  apply(answer, { choices: [{ delta: { content: 'Yes' } }] }, 3000);
  apply(answer, { choices: [{ delta: {}, finish_reason: 'length' }], usage: null }, 9000);
  apply(answer, {
    choices: [], timings: { predicted_per_second: 7.5 },
    usage: { completion_tokens: 5, prompt_tokens: 9, prompt_tokens_details: { cached_tokens: 4 } },
  }, 9000);
  close(answer, 'done', 9000);
  assert.deepEqual(answer, {
    role: 'assistant', state: 'done', content: 'Yes', reasoning: 'Hmm.', reasoningMs: 2000, progress: null, isCut: true, error: null,
    figures: { tokens: 5, perSecond: 7.5, cached: 4, prompt: 9 },
  });
  apply(emptyAnswer(), {}, 0);
  apply(emptyAnswer(), { choices: 'x', usage: 7, prompt_progress: true }, 0);
});

/** What is loaded where storage holds `text`. */
function loaded(text) {
  globalThis.localStorage = { getItem: () => text };
  return Conversation.load();
}

test('whatever storage holds, a conversation comes out', () => {
  for (const text of [null, '', '{', 'null', '7', '[]', '{}', '{"messages":7}', '{"messages":{"length":3}}', '{"messages":[null,1,"x",[],{}]}',
    '{"messages":[{"role":"system","content":"x"},{"role":"user"},{"role":"user","content":[]}]}', '{"messages":[{"role":"assistant","content":"first"}]}']) {
    assert.deepEqual(loaded(text).messages, [], text);
  }
  const { messages } = loaded(JSON.stringify({ messages: [
    { role: 'user', content: 'a', extra: '<b>' },
    { role: 'assistant', content: 'b', state: 'writing', figures: { tokens: 'many' }, reasoningMs: null, error: 'x', isCut: 1 },
    { role: 'assistant', content: 'c', state: 'failed', error: { code: 'busy', message: 'm', more: 1 } },
    { role: 'assistant', content: 'd', state: 'failed', error: { code: 7 } },
  ] }));
  assert.deepEqual(messages[0], { role: 'user', content: 'a' });
  assert.deepEqual(messages[1], { ...emptyAnswer(), content: 'b', state: 'stopped' });
  assert.deepEqual(messages[2], { ...emptyAnswer(), content: 'c', state: 'failed', error: { code: 'busy', message: 'm' } });
  assert.deepEqual(messages[3], { ...emptyAnswer(), content: 'd', state: 'stopped' });
});

test('storage keeps what it has room for, the newest first', () => {
  let room = Infinity;
  let kept = null;
  globalThis.localStorage = {
    getItem: () => kept,
    setItem: (key, text) => { if (text.length > room) throw new Error('full'); kept = text; },
  };
  const conversation = new Conversation();
  const ask = (text) => {
    conversation.addQuestion(text);
    const answer = conversation.addAnswer();
    Object.assign(answer, { content: `to ${text}`, reasoning: 'r'.repeat(1000) });
    close(answer, 'done', 0);
  };
  ask('old');
  conversation.startAnew();
  for (let i = 0; i < 300; i += 1) ask(`${i} ${'x'.repeat(1000)}`);
  conversation.save();
  assert.equal(Conversation.load().messages.length, 600);
  assert.equal(Conversation.load().previous.length, 2);
  room = JSON.stringify({ messages: conversation.messages, previous: [] }).length;
  conversation.save();
  assert.deepEqual([Conversation.load().messages.length, Conversation.load().previous.length], [600, 0], 'the one before goes first');
  room -= 1;
  conversation.save();
  assert.deepEqual([Conversation.load().messages.length, Conversation.load().messages[1].reasoning], [600, ''], 'then old thoughts');
  room = 300_000;
  conversation.save();
  const { messages } = Conversation.load();
  assert.ok(conversation.isKept && messages.length > 50 && messages.length < 600, `${messages.length}`);
  assert.equal(messages[0].role, 'user');
  assert.equal(messages.at(-1).content, conversation.messages.at(-1).content);
  room = 10;
  conversation.save();
  assert.ok(!conversation.isKept);
  room = Infinity;
  conversation.addQuestion('x'.repeat(2_000_000));
  conversation.save();
  assert.ok(!conversation.isKept, 'one message that is too long by itself');
});

test('the model is told turns that alternate, without its thoughts', () => {
  const conversation = new Conversation();
  conversation.addQuestion('a');
  close(conversation.addAnswer(), 'failed', 0, { code: 'busy', message: '' });
  conversation.addQuestion('b');
  Object.assign(conversation.addAnswer(), { content: 'c', reasoning: 'hm' });
  conversation.addQuestion('d');
  conversation.addAnswer();
  assert.deepEqual(conversation.toRequest(' '), [
    { role: 'user', content: 'a\n\nb' }, { role: 'assistant', content: 'c' }, { role: 'user', content: 'd' },
  ]);
  assert.deepEqual(conversation.toRequest('s')[0], { role: 'system', content: 's' });
  assert.equal(conversation.messages[0].content, 'a', 'the conversation itself stays');
});
