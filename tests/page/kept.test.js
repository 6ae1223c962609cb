// What is kept and how it branches, without a page: the tree of a conversation, what storage and files may hold, what the model is told, and
// how two branches differ.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { close, emptyAnswer } from '../../web/answer.js';
import { begunBy, Conversation } from '../../web/conversation.js';
import { diff } from '../../web/diff.js';
import { fileName, fromJson, toJson, toMarkdown } from '../../web/exchange.js';
import { fromRecord, toRecord } from '../../web/record.js';
import { bestFirst } from '../../web/models.js';
import { textOf } from '../../web/attachments.js';
import { beginningOf } from '../../web/token-view.js';

/** A conversation of `texts`, question and answer in turn. */
function told(...texts) {
  const conversation = new Conversation();
  texts.forEach((text, i) => {
    if (i % 2 === 0) conversation.addQuestion(text);
    else close(Object.assign(conversation.addAnswer(), { content: text }), 'done', 0);
  });
  return conversation;
}
const said = (path) => path.map(({ content }) => content);

test('what is changed gets a sibling, and both branches stay', () => {
  const chat = told('a', 'b', 'c', 'd');
  const [a, b, c, d] = chat.messages;
  const c2 = chat.addQuestion('c2', [], b);
  chat.addAnswer(c2, { content: 'd2' });
  assert.deepEqual(said(chat.path), ['a', 'b', 'c2', 'd2']);
  assert.deepEqual(said(chat.siblings(c)), ['c', 'c2']);
  const a2 = chat.addQuestion('a2', [], null);
  assert.deepEqual(said(chat.path), ['a2']);
  assert.deepEqual(said(chat.siblings(a2)), ['a', 'a2']);
  chat.choose(c);
  assert.deepEqual(said(chat.path), ['a', 'b', 'c', 'd']);
  chat.choose(a);
  assert.deepEqual(said(chat.path), ['a', 'b', 'c2', 'd2'], 'the newest below');
  assert.deepEqual(said(chat.leaves), ['d', 'd2', 'a2']);
  assert.equal(chat.parentOf(d), c);
  assert.equal(chat.parentOf(a), null);
});

test('a conversation is called by its title, or how it begins', () => {
  const chat = told(`\n A first line ${'that is long '.repeat(9)}\nanother`);
  assert.match(chat.name, /^A first line .{45,}…$/);
  chat.title = 'Fish';
  assert.equal(chat.name, 'Fish');
  assert.equal(new Conversation().name, '');
});

test('the model is told turns that alternate, without its thoughts, and files before the question', () => {
  const chat = new Conversation();
  chat.addQuestion('a');
  close(chat.addAnswer(), 'failed', 0, { code: 'busy', message: '' });
  chat.addQuestion('b', [{ name: 'x.txt', text: 'X' }]);
  Object.assign(chat.addAnswer(), { content: 'c', reasoning: 'hm' });
  chat.addQuestion('d');
  const answer = chat.addAnswer(chat.last, { content: 'e', reasoning: 'f' });
  const told = [
    { role: 'user', content: 'a\n\n[file name]: x.txt\n[file content begin]\nX\n[file content end]\nb' }, { role: 'assistant', content: 'c' },
    { role: 'user', content: 'd' },
  ];
  assert.deepEqual(chat.toRequest(' ', chat.pathTo(chat.parentOf(answer))), told);
  assert.deepEqual(chat.toRequest('s')[0], { role: 'system', content: 's' });
  assert.equal(chat.messages[0].content, 'a', 'the conversation itself stays');
  assert.deepEqual(begunBy(answer), { role: 'assistant', content: 'e', reasoning_content: 'f', prefix: true });
  assert.deepEqual(begunBy({ content: 'e', reasoning: '' }), { role: 'assistant', content: 'e', prefix: true });
});

test('what is kept comes back', () => {
  const chat = told('a', 'b', 'c');
  chat.addQuestion('c2', [{ name: 'x', text: 'y' }], chat.messages[1]);
  chat.title = 'T';
  chat.isPinned = true;
  Object.assign(chat.messages[1], { model: 'minnow', isHurried: true });
  chat.own = { system: 'S', temperature: 0, topP: 0.5, maxTokens: 9 };
  const back = fromRecord(JSON.parse(JSON.stringify(toRecord(chat))));
  assert.deepEqual(toRecord(back), toRecord(chat));
  assert.deepEqual(said(back.path), ['a', 'b', 'c2']);
});

test('whatever storage holds, a conversation comes out or none', () => {
  for (const value of [null, undefined, '', 7, [], {}, { messages: 7 }, { messages: { length: 3 } }, { messages: [null, 1, 'x', [], {}] },
    { messages: [{ role: 'system', content: 'x' }, { role: 'user' }, { role: 'user', content: [] }] }, { messages: [{ role: 'assistant', content: 'first' }] }]) {
    assert.equal(fromRecord(value), null, JSON.stringify(value));
  }
  const { messages } = fromRecord({ messages: [
    { role: 'user', content: 'a', extra: '<b>', files: [{ name: 'n', text: 't', path: '/' }, 7, { name: 1, text: 't' }] },
    { role: 'assistant', content: 'b', state: 'writing', figures: { tokens: 'many' }, reasoningMs: null, error: 'x', isCut: 1, tokens: [{ bytes: [300] }] },
    { role: 'assistant', content: 'c', state: 'failed', error: { code: 'busy', message: 'm', more: 1 }, parent: 0 },
    { role: 'assistant', content: 'd', state: 'failed', error: { code: 7 }, parent: 'x' },
    { role: 'user', content: 'e', parent: 99 },
  ] });
  assert.deepEqual(messages[0], { role: 'user', content: 'a', files: [{ name: 'n', text: 't' }], parent: null });
  assert.deepEqual(messages[1], { ...emptyAnswer(), content: 'b', state: 'stopped', parent: 0 });
  assert.deepEqual(messages[2], { ...emptyAnswer(), content: 'c', state: 'failed', error: { code: 'busy', message: 'm' }, parent: 0 });
  assert.deepEqual(messages[3], { role: 'user', content: 'e', parent: null }, 'an answer to nothing is left out');
});

test('of what a conversation has of its own only good values are taken, and an older record has none', () => {
  const ownFrom = (own) => fromRecord({ messages: [{ role: 'user', content: 'a' }], own }).own;
  for (const nothing of [undefined, null, 7, 'x', [], { system: '  ', temperature: null, topP: 0, maxTokens: 1.5, theme: 'dark' }]) assert.deepEqual(ownFrom(nothing), {});
  assert.deepEqual(ownFrom({ system: 'x'.repeat(20_001), temperature: 3, topP: 1, maxTokens: 1 }), { system: 'x'.repeat(20_000), topP: 1, maxTokens: 1 });
});

test('a parent always comes before its children, whatever a file says', () => {
  const circle = fromRecord({ leaf: 1, messages: [{ role: 'user', content: 'a', parent: 1 }, { role: 'user', content: 'b', parent: 1 }, { role: 'user', content: 'c', parent: -1 }] });
  assert.deepEqual(circle.messages.map(({ parent }) => parent), [null, null, null]);
  assert.deepEqual(said(circle.path), ['b']);
  const gap = fromRecord({ leaf: 2, messages: [{ role: 'user', content: 'a', parent: null }, { role: 'robot', parent: 0 }, { role: 'assistant', content: 'b', parent: 1 }] });
  assert.deepEqual(said(gap.path), ['a', 'b'], 'what hung on a dropped message hangs on its parent');
});

test('a list of the oldest page becomes a branch', () => {
  const old = fromRecord({ messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: 'b', state: 'done' }, { role: 'user', content: 'c' }] });
  assert.deepEqual(said(old.path), ['a', 'b', 'c']);
});

test('long answers forget the chances of their tokens', () => {
  const chat = told('a', 'b');
  chat.messages[1].tokens = Array(4001).fill({ bytes: [98], logprob: 0, others: [] });
  assert.deepEqual(toRecord(chat).messages[1].tokens, []);
  assert.equal(chat.messages[1].tokens.length, 4001);
});

test('JSON goes out and comes in, and only what is ours', () => {
  const chats = [told('a', 'b'), told('c')];
  assert.deepEqual(fromJson(toJson(chats)).map(toRecord), chats.map(toRecord));
  for (const text of ['', '{', '[]', '{"format":"other","conversations":[]}', '{"format":"shoal.conversations","conversations":7}', '{"format":"shoal.conversations","conversations":[null,{"messages":[]}]}']) {
    assert.deepEqual(fromJson(text), [], text);
  }
});

test('Markdown is for people', () => {
  const chat = told('What?\n', 'This.');
  chat.messages[0].files = [{ name: 'a.md', text: '````\nx\n' }];
  chat.messages[1].reasoning = 'Hm\nhm';
  assert.equal(toMarkdown(chat, { user: 'You', assistant: 'Answer' }),
    '# What?\n\n## You\n\na.md:\n\n`````\n````\nx\n`````\n\nWhat?\n\n## Answer\n\n> Hm\n> hm\n\nThis.\n');
  assert.equal(fileName('../a: "b"?', 'md'), 'a b.md');
  assert.equal(fileName('鱼群', 'md'), '鱼群.md');
  assert.equal(fileName('///', 'json'), 'shoal.json');
});

test('the difference has both texts in it, and is the shortest', () => {
  let state = 1;
  const random = (n) => (state = (state * 1103515245 + 12345) % 2147483648) % n;
  const words = () => Array.from({ length: random(12) }, () => 'abc'[random(3)]).join(' ');
  for (let i = 0; i < 500; i += 1) {
    const [a, b] = [words(), words()];
    const without = (kind) => diff(a, b).filter((part) => part.kind !== kind).map(({ text }) => text).join('');
    assert.deepEqual([without('more'), without('less')], [a, b]);
  }
  assert.deepEqual(diff('the small fish swims', 'the big fish swims far'), [
    { kind: 'same', text: 'the ' }, { kind: 'less', text: 'small' }, { kind: 'more', text: 'big' }, { kind: 'same', text: ' fish swims' },
    { kind: 'more', text: ' far' },
  ]);
  assert.deepEqual(diff('我喜欢小鱼', '我喜欢大鱼').map(({ kind }) => kind).slice(0, 3), ['same', 'less', 'more']);
  assert.deepEqual(diff('', ''), []);
  const far = diff('x '.repeat(9000), 'y '.repeat(9000));
  assert.ok(far.length >= 2, 'texts that have nothing in common are shown all the same');
});

test('a file is text or it is not', () => {
  const bytes = (text) => new TextEncoder().encode(text).buffer;
  assert.equal(textOf(bytes('鱼\n')), '鱼\n');
  assert.equal(textOf(bytes('a\0b')), null);
  assert.equal(textOf(new Uint8Array([0xff, 0xfe, 0x41]).buffer), null);
});

test('a branch begins with what was said before its token', () => {
  const token = (...bytes) => ({ bytes, logprob: -1, others: [] });
  // 鱼 in two tokens.
  const tokens = [token(97), token(0xe9, 0xb1), token(0xbc), token(98)];
  assert.deepEqual([0, 1, 2, 3].map((at) => beginningOf({ content: 'a鱼b', tokens }, at)), ['', 'a', null, 'a鱼']);
  assert.equal(beginningOf({ content: 'before a鱼b', tokens }, 1), 'before a', 'an answer that was continued');
});

test('the model that answers comes first, then the fastest, and last what does not run', () => {
  const row = (model, verdict, expected, served = false) => ({ model, verdict, served, decode: expected ? { expected } : null });
  const rows = [row('no', 'no', 0), row('slow', 'streams', 2), row('here', 'fits', 1, true), row('fast', 'fits', 9)];
  assert.deepEqual(bestFirst(rows).map(({ model }) => model), ['here', 'fast', 'slow', 'no']);
});
