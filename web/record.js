// Conversations as they are kept and exchanged, and back. What is read is never trusted: it may come from an older page, another tab, a
// file, or a curious hand. Whatever it holds, a conversation comes out, or `null`.

import { close, emptyAnswer, missOf } from './answer.js';
import { Conversation } from './conversation.js';
import { ownOf } from './settings.js';
import { isObject } from './storage.js';

/** Most messages of one conversation, and most characters of a title and of a model's name. */
const MESSAGES_MAX = 20_000;
const TITLE_CHARS_MAX = 200;
const MODEL_CHARS_MAX = 200;
/** Most tokens of one answer that keep their probabilities; a longer one forgets them. */
const TOKENS_MAX = 4000;

export function toRecord({ id, title, isPinned, own, changed, leaf, messages }) {
  const kept = messages.map((message) => (message.tokens?.length > TOKENS_MAX ? { ...message, tokens: [] } : message));
  return { id, title, isPinned, own, changed, leaf, messages: kept };
}

export function fromRecord(value) {
  if (!isObject(value) || !Array.isArray(value.messages)) return null;
  const conversation = new Conversation();
  if (typeof value.id === 'string' && value.id !== '') conversation.id = value.id.slice(0, TITLE_CHARS_MAX);
  if (typeof value.title === 'string') conversation.title = value.title.slice(0, TITLE_CHARS_MAX);
  if (Number.isFinite(value.changed)) conversation.changed = value.changed;
  conversation.isPinned = value.isPinned === true;
  conversation.own = ownOf(value.own);
  /** Where each message of `value` is now; one that was dropped is where its parent is. */
  const places = [];
  for (const [at, message] of value.messages.slice(0, MESSAGES_MAX).entries()) {
    // The oldest pages kept a plain list: each message follows the one before.
    const from = isObject(message) && Object.hasOwn(message, 'parent') ? message.parent : at - 1;
    const parent = places[from] ?? null;
    const good = checked(message);
    // Nobody answers before there is a question.
    const isKept = good !== null && !(parent === null && good.role === 'assistant');
    if (isKept) conversation.messages.push({ ...good, parent });
    places.push(isKept ? conversation.messages.length - 1 : parent);
  }
  conversation.leaf = places[value.leaf] ?? places.at(-1) ?? null;
  return conversation.messages.length === 0 ? null : conversation;
}

/** A message made of what `value` has of one; `null` if it is none. */
function checked(value) {
  if (!isObject(value) || typeof value.content !== 'string') return null;
  if (value.role === 'user') return checkedQuestion(value);
  if (value.role !== 'assistant') return null;
  const answer = emptyAnswer();
  answer.content = value.content;
  if (typeof value.reasoning === 'string') answer.reasoning = value.reasoning;
  for (const name of ['reasoningMs', 'reasoningTokens', 'firstMs']) if (Number.isFinite(value[name])) answer[name] = value[name];
  for (const name of ['isCut', 'isHurried']) answer[name] = value[name] === true;
  if (typeof value.model === 'string') answer.model = value.model.slice(0, MODEL_CHARS_MAX);
  const names = ['tokens', 'perSecond', 'cached', 'prompt'];
  if (isObject(value.figures) && names.every((name) => Number.isFinite(value.figures[name]))) {
    const more = ['memoryBytes', 'diskBytes'].filter((name) => Number.isFinite(value.figures[name]));
    answer.figures = Object.fromEntries([...names, ...more].map((name) => [name, value.figures[name]]));
  }
  answer.miss = checkedMiss(value.miss);
  if (Array.isArray(value.tokens) && value.tokens.every(isToken)) answer.tokens = value.tokens.slice(0, TOKENS_MAX);
  const { code, message } = isObject(value.error) ? value.error : {};
  const error = typeof code === 'string' && typeof message === 'string' ? { code, message } : null;
  // One that was still being written when the page went away has been stopped by that.
  const state = { done: 'done', failed: error ? 'failed' : 'stopped' }[value.state] ?? 'stopped';
  close(answer, state, 0, state === 'failed' ? error : null);
  return answer;
}

function checkedMiss(miss) {
  if (!isObject(miss)) return null;
  const { reason, lost: lost_tokens, byte, before, earlier, now } = miss;
  return missOf({ reason, lost_tokens, byte, before, earlier, now });
}

function checkedQuestion({ content, files }) {
  const isFile = (file) => isObject(file) && typeof file.name === 'string' && typeof file.text === 'string';
  const good = Array.isArray(files) ? files.filter(isFile).map(({ name, text }) => ({ name, text })) : [];
  return { role: 'user', content, ...(good.length > 0 && { files: good }) };
}

const isBytes = (bytes) => Array.isArray(bytes) && bytes.every((byte) => Number.isInteger(byte) && byte >= 0 && byte < 256);
const isChoice = (choice) => isObject(choice) && isBytes(choice.bytes) && Number.isFinite(choice.logprob);
const isToken = (token) => isChoice(token) && Array.isArray(token.others) && token.others.every(isChoice);
