// The conversation: its messages, what of them the model is told, and how they outlive the page. One conversation is
// kept, and the one before it, so that "New chat" loses nothing at once. What storage holds is never trusted: it may come from an
// older page, another tab, or a curious hand.

import { close, emptyAnswer } from './answer.js';
import { isObject, read, write } from './storage.js';

export const KEY = 'shoal.conversation';

/** Most messages, and most characters of a conversation, that are kept; older ones are let go. Browsers give a page about
 *  five million. */
const MESSAGES_MAX = 1000;
const CHARS_MAX = 1_500_000;

export class Conversation {
  messages = [];
  previous = [];
  /** Whether the browser keeps it. */
  isKept = true;

  static load() {
    const conversation = new Conversation();
    const kept = read('localStorage', KEY);
    if (isObject(kept)) {
      conversation.messages = checkedMessages(kept.messages);
      conversation.previous = checkedMessages(kept.previous);
    }
    return conversation;
  }

  /** Keeps as much as the browser takes: first the conversation before goes, then old thoughts, then old messages. */
  save() {
    const messages = newest(this.messages, CHARS_MAX);
    const bare = messages.map((message) => (message.reasoning ? { ...message, reasoning: '' } : message));
    const attempts = [
      () => ({ messages, previous: newest(this.previous, CHARS_MAX) }),
      () => ({ messages, previous: [] }),
      () => ({ messages: bare, previous: [] }),
      () => ({ messages: newest(bare, CHARS_MAX / 8), previous: [] }),
    ];
    const isWritten = attempts.some((attempt) => write('localStorage', KEY, attempt()));
    // One message may be too long by itself.
    this.isKept = isWritten && (messages.length > 0 || this.messages.length === 0);
  }

  /** The last message if it is an answer. */
  get lastAnswer() {
    const last = this.messages.at(-1);
    return last?.role === 'assistant' ? last : null;
  }

  get lastQuestion() {
    return this.messages.findLast((message) => message.role === 'user') ?? null;
  }

  addQuestion(content) {
    this.messages.push({ role: 'user', content });
  }

  addAnswer() {
    const answer = emptyAnswer();
    this.messages.push(answer);
    return answer;
  }

  dropLastAnswer() {
    if (this.lastAnswer) this.messages.pop();
  }

  /** Drops the last question and all that came after it. */
  dropLastQuestion() {
    const idx = this.messages.lastIndexOf(this.lastQuestion);
    if (idx >= 0) this.messages.length = idx;
  }

  startAnew() {
    if (this.messages.length > 0) this.previous = this.messages;
    this.messages = [];
  }

  goBack() {
    [this.messages, this.previous] = [this.previous, []];
  }

  /** What the model is told. Its own thoughts are not told again: the models were trained without them. Answers that never
   *  came leave two questions in a row, which become one, since the models' formats expect turns to alternate. */
  toRequest(system) {
    const told = system.trim() === '' ? [] : [{ role: 'system', content: system }];
    for (const { role, content } of this.messages) {
      if (content === '') continue;
      if (role === told.at(-1)?.role) told.at(-1).content += `\n\n${content}`;
      else told.push({ role, content });
    }
    return told;
  }
}

function checkedMessages(list) {
  if (!Array.isArray(list)) return [];
  return startingWithQuestion(list.slice(-MESSAGES_MAX).map(checked).filter(Boolean));
}

/** A message made of what `value` has of one; `null` if it is none. */
function checked(value) {
  if (!isObject(value) || typeof value.content !== 'string') return null;
  if (value.role === 'user') return { role: 'user', content: value.content };
  if (value.role !== 'assistant') return null;
  const answer = emptyAnswer();
  answer.content = value.content;
  if (typeof value.reasoning === 'string') answer.reasoning = value.reasoning;
  if (Number.isFinite(value.reasoningMs)) answer.reasoningMs = value.reasoningMs;
  answer.isCut = value.isCut === true;
  const names = ['tokens', 'perSecond', 'cached', 'prompt'];
  if (isObject(value.figures) && names.every((name) => Number.isFinite(value.figures[name]))) {
    answer.figures = Object.fromEntries(names.map((name) => [name, value.figures[name]]));
  }
  const { code, message } = isObject(value.error) ? value.error : {};
  const error = typeof code === 'string' && typeof message === 'string' ? { code, message } : null;
  // One that was still being written when the page went away has been stopped by that.
  const state = { done: 'done', failed: error ? 'failed' : 'stopped' }[value.state] ?? 'stopped';
  close(answer, state, 0, state === 'failed' ? error : null);
  return answer;
}

/** The last messages that have together at most `chars` characters. */
function newest(messages, chars) {
  let first = messages.length;
  for (let left = chars; first > 0 && messages.length - first < MESSAGES_MAX; first -= 1) {
    const { content, reasoning = '' } = messages[first - 1];
    left -= content.length + reasoning.length;
    if (left < 0) break;
  }
  return first === 0 ? messages : startingWithQuestion(messages.slice(first));
}

function startingWithQuestion(messages) {
  const first = messages.findIndex((message) => message.role === 'user');
  return first < 0 ? [] : messages.slice(first);
}

