// All conversations: which there are, which one was open last, and how they come and go. Other tabs are told of each change.

import { Conversation } from './conversation.js';
import { fromRecord, toRecord } from './record.js';
import { openStore } from './store.js';
import { drop, isObject, read, write } from './storage.js';
import { thoughtsOf } from './thoughts.js';

/** Where the page kept its one conversation, and the one before it, until it kept many. */
const OLD_KEY = 'shoal.conversation';
const OPEN_KEY = 'shoal.open';

export class Library {
  #store;
  /** What the list shows of each: `{ id, name, isPinned, changed }`, and its `thoughts`, see thoughts.js. */
  heads = new Map();
  /** Whether the browser keeps what it is given. */
  isKept = true;
  #channel = globalThis.BroadcastChannel ? new BroadcastChannel('shoal') : null;

  /** `onChange(id)` hears which conversation another tab has changed; an empty one is all of them. */
  static async open(onChange) {
    const library = new Library();
    library.#store = await openStore();
    library.isKept = library.#store.isLasting;
    await library.#migrate();
    await library.#readHeads();
    library.#channel?.addEventListener('message', async ({ data }) => {
      await library.#readHeads();
      onChange(String(data));
    });
    return library;
  }

  async #readHeads() {
    const heads = await this.#store.heads().catch(() => []);
    this.heads = new Map(heads.map((head) => [head.id, head]));
  }

  async #migrate() {
    const old = read('localStorage', OLD_KEY);
    if (isObject(old)) {
      const now = Date.now();
      const lists = [[old.previous, now - 1], [old.messages, now]];
      const found = lists.map(([messages, changed]) => fromRecord({ messages, changed })).filter(Boolean);
      for (const conversation of found) await this.save(conversation);
      if (found.length > 0) this.wasOpen = found.at(-1).id;
      if (!this.isKept) return;
    }
    drop('localStorage', OLD_KEY);
  }

  /** The one that this tab had open last, or else any tab; empty if that was a new one. */
  get wasOpen() {
    return String(read('sessionStorage', OPEN_KEY) ?? read('localStorage', OPEN_KEY) ?? '');
  }

  set wasOpen(id) {
    write('sessionStorage', OPEN_KEY, id);
    write('localStorage', OPEN_KEY, id);
  }

  /** Pinned ones first, then the newest. */
  get sorted() {
    return [...this.heads.values()].sort((a, b) => b.isPinned - a.isPinned || b.changed - a.changed);
  }

  /** The last changed first. */
  get newest() {
    return [...this.heads.values()].sort((a, b) => b.changed - a.changed);
  }

  async load(id) {
    return fromRecord(await this.#store.get(id).catch(() => null));
  }

  async save(conversation) {
    if (conversation.messages.length === 0) return;
    const { id, name, isPinned, changed } = conversation;
    const head = { id, name, isPinned, changed, thoughts: thoughtsOf(conversation.messages) };
    this.heads.set(id, head);
    try {
      await this.#store.put(toRecord(conversation), head);
      this.isKept = this.#store.isLasting;
    } catch {
      this.isKept = false;
    }
    this.#channel?.postMessage(id);
  }

  /** Adds a conversation from a file. One that is here already and says something else stays, and the other gets its own place. */
  async add(conversation) {
    const here = await this.load(conversation.id);
    const said = ({ messages }) => JSON.stringify(messages.map(({ role, content, parent }) => [role, content, parent]));
    if (here && said(here) !== said(conversation)) conversation.id = new Conversation().id;
    await this.save(conversation);
  }

  async remove(id) {
    this.heads.delete(id);
    await this.#store.remove(id).catch(() => {});
    this.#channel?.postMessage(id);
  }

  async clear() {
    this.heads.clear();
    await this.#store.clear().catch(() => {});
    this.#channel?.postMessage('');
  }

  async all() {
    const all = [];
    await this.#store.each((record) => { all.push(fromRecord(record)); });
    return all.filter(Boolean);
  }

  /** Tells `found` of each conversation in which `text` is said, until `isOver`. */
  async search(text, found, isOver) {
    const wanted = text.toLowerCase();
    const has = (words) => typeof words === 'string' && words.toLowerCase().includes(wanted);
    await this.#store.each((record) => {
      if (isOver()) return false;
      const { messages = [] } = record;
      if (messages.some(({ content, files = [] }) => has(content) || files.some(({ name }) => has(name)))) found(record.id);
      return true;
    });
  }
}
