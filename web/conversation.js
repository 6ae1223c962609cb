// A conversation is a tree: whoever changes a message or wants another answer makes a sibling, and nothing is lost.
//
//     question ─── answer ─── question ─── answer ◀ leaf        the branch that is shown: from the first message to `leaf`
//                    │
//                    └─────── question' ── answer
//
// Messages lie in one list in the order in which they came about. Each says at which place of it its `parent` is, `null` for a first
// one, so a parent always comes before its children.

import { emptyAnswer } from './answer.js';

/** How much of a first question becomes the name, in characters. */
const NAME_CHARS = 60;

export class Conversation {
  id = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  /** As the reader has named it. */
  title = '';
  isPinned = false;
  /** Settings of its own, see `ownOf`. */
  own = {};
  changed = Date.now();
  messages = [];
  leaf = null;

  /** What it is called: its title, or how its first question begins. */
  get name() {
    if (this.title !== '') return this.title;
    const { content = '', files = [] } = this.messages[0] ?? {};
    const line = (content.trim() || files[0]?.name || '').split('\n', 1)[0];
    return line.length > NAME_CHARS ? `${line.slice(0, NAME_CHARS - 1)}…` : line;
  }

  /** The messages of the branch that is shown. */
  get path() {
    return this.pathTo(this.last);
  }

  /** The last message that is shown. */
  get last() {
    return this.messages[this.leaf] ?? null;
  }

  pathTo(message) {
    const path = [];
    for (let at = message; at; at = this.parentOf(at)) path.push(at);
    return path.reverse();
  }

  parentOf(message) {
    return this.messages[message.parent] ?? null;
  }

  childrenOf(message) {
    const parent = message === null ? null : this.messages.indexOf(message);
    return this.messages.filter((other) => other.parent === parent);
  }

  /** `message` and the others that stand in its place. */
  siblings(message) {
    return this.messages.filter(({ parent }) => parent === message.parent);
  }

  addQuestion(content, files = [], after = this.last) {
    return this.#add({ role: 'user', content, ...(files.length > 0 && { files }) }, after);
  }

  /** An answer to the question `after`, which begins with `begun`: what it has of another answer. */
  addAnswer(after = this.last, begun = {}) {
    return this.#add({ ...emptyAnswer(), ...begun }, after);
  }

  #add(message, after) {
    message.parent = after === null ? null : this.messages.indexOf(after);
    this.leaf = this.messages.push(message) - 1;
    this.changed = Date.now();
    return message;
  }

  /** Shows the branch of `message`, down to the newest message below it. */
  choose(message) {
    let last = message;
    for (let next = message; next; next = this.childrenOf(next).at(-1)) last = next;
    this.leaf = this.messages.indexOf(last);
  }

  /** The last messages of all branches, in the order in which they came about. */
  get leaves() {
    const parents = new Set(this.messages.map(({ parent }) => parent));
    return this.messages.filter((_, place) => !parents.has(place));
  }

  /** What the model is told of `path`. Its own thoughts are not told again: the models were trained without them. Answers that never
   *  came leave two questions in a row, which become one, since the models' formats expect turns to alternate. */
  toRequest(system, path = this.path) {
    const told = system.trim() === '' ? [] : [{ role: 'system', content: system }];
    for (const { role, content, files = [] } of path) {
      const text = [...files.map(fileText), content].filter((part) => part !== '').join('\n');
      if (text === '') continue;
      if (role === told.at(-1)?.role) told.at(-1).content += `\n\n${text}`;
      else told.push({ role, content: text });
    }
    return told;
  }
}

/** A file as DeepSeek's models are told of it. */
export const fileText = ({ name, text }) => `[file name]: ${name}\n[file content begin]\n${text}\n[file content end]`;

/** The request that lets the model go on with `answer`, whose reasoning is closed by it. */
export const begunBy = ({ content, reasoning }) => ({
  role: 'assistant', content, prefix: true, ...(reasoning !== '' && { reasoning_content: reasoning }),
});
