// The list of conversations: beside the conversation where there is room, else a drawer before it. It shows what the library has and asks
// app.js to open one; what is done to the list itself is done here.

import { el, icon, saveFile } from './dom.js';
import { fileName, fromJson, IMPORT_BYTES_MAX, toJson, toMarkdown } from './exchange.js';
import { isMeant } from './panels.js';
import { set, settings } from './settings.js';
import { t } from './strings.js';

/** How long the reader has to pause before all conversations are searched, in milliseconds. */
const PAUSE = 200;

const byId = (id) => document.getElementById(id);
/** Whether list and conversation have room beside each other; panels.css has the same width. */
const isWide = matchMedia('(min-width: 64rem)');

export class History {
  #library;
  #current;
  #on;
  /** Ids of conversations in which what is searched for is said. */
  #found = new Set();
  #timer = 0;
  #isDrawn = false;

  /** `current()` is the conversation that is shown. `on` has `open(id)`, `changed(id)` after a rename or pin, `gone()` when the current
   *  one was deleted, and `say(words)`. */
  constructor(library, current, on) {
    this.#library = library;
    this.#current = current;
    this.#on = on;
    byId('open-history').addEventListener('click', () => this.toggle());
    byId('shade').addEventListener('click', () => this.#close());
    byId('search').addEventListener('input', () => this.#searchSoon());
    byId('history').addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || event.defaultPrevented || isWide.matches) return;
      event.preventDefault();
      this.#close();
    });
    byId('save-all').addEventListener('click', () => this.#saveAll());
    byId('remove-all').addEventListener('click', () => this.#removeAll());
    byId('import').addEventListener('click', () => byId('import-file').click());
    byId('import-file').addEventListener('change', ({ target }) => this.#import(target));
    isWide.addEventListener('change', () => this.#place(isWide.matches && settings.history));
    this.#place(isWide.matches && settings.history);
    this.show();
  }

  get isOpen() {
    return !byId('history').hidden;
  }

  toggle() {
    if (isWide.matches) set('history', !this.isOpen);
    if (this.isOpen) this.#close();
    else this.#place(true);
    if (this.isOpen && !isWide.matches) byId('search').focus();
  }

  /** Opens the list and lets the reader search in it. */
  search() {
    if (!this.isOpen) this.toggle();
    byId('search').focus();
    byId('search').select();
  }

  #close() {
    const hadFocus = byId('history').contains(document.activeElement);
    this.#place(false);
    if (hadFocus) byId('open-history').focus();
  }

  #place(isOpen) {
    const isDrawer = isOpen && !isWide.matches;
    byId('history').hidden = !isOpen;
    byId('shade').hidden = !isDrawer;
    byId('open-history').setAttribute('aria-expanded', isOpen);
    document.body.dataset.history = isOpen ? (isDrawer ? 'drawer' : 'beside') : 'away';
    // What is behind a drawer is out of reach.
    for (const node of document.querySelectorAll('.top, main, .dock')) node.inert = isDrawer;
    if (isOpen && !this.#isDrawn) this.show();
  }

  /** Shows the list anew. */
  show() {
    this.#isDrawn = this.isOpen;
    if (!this.isOpen) return;
    const wanted = byId('search').value.trim().toLowerCase();
    const isWanted = ({ id, name }) => wanted === '' || name.toLowerCase().includes(wanted) || this.#found.has(id);
    const heads = this.#library.sorted.filter(isWanted);
    byId('chats').replaceChildren(...heads.map((head) => this.#item(head)));
    byId('chats-none').hidden = heads.length > 0;
    byId('chats-none').textContent = t(wanted === '' ? 'history_none' : 'history_not_found');
    for (const id of ['save-all', 'remove-all']) byId(id).disabled = this.#library.heads.size === 0;
  }

  #item({ id, name, isPinned }) {
    const open = el('button', { type: 'button', className: 'chat-open' }, ...(isPinned ? [icon('pin')] : []), el('span', { textContent: name }));
    if (id === this.#current().id) open.setAttribute('aria-current', 'true');
    open.addEventListener('click', () => {
      if (!isWide.matches) this.#close();
      this.#on.open(id);
    });
    const act = (iconName, words, what) => {
      const node = el('button', { type: 'button', className: 'quiet-button' }, icon(iconName), el('span', { textContent: t(words) }));
      node.addEventListener('click', what);
      return node;
    };
    const acts = el('div', { className: 'chat-acts', hidden: true },
      act('edit', 'rename', () => this.#rename(item, id, name)),
      act('pin', isPinned ? 'unpin' : 'pin', () => this.#change(id, (chat) => { chat.isPinned = !isPinned; })),
      act('save', 'save_json', () => this.#save(id, 'json')),
      act('save', 'save_markdown', () => this.#save(id, 'md')),
      act('remove', 'remove', () => this.#remove(id, name)));
    const more = el('button', { type: 'button', className: 'quiet-button chat-more' }, icon('more'));
    more.setAttribute('aria-label', t('menu', { name }));
    more.setAttribute('aria-expanded', 'false');
    more.addEventListener('click', () => {
      acts.hidden = !acts.hidden;
      more.setAttribute('aria-expanded', !acts.hidden);
    });
    const item = el('li', { className: 'chat' }, open, more, acts);
    return item;
  }

  #rename(item, id, name) {
    const field = el('input', { type: 'text', value: name, maxLength: 200, className: 'chat-name' });
    field.setAttribute('aria-label', t('name'));
    let isOver = false;
    const end = async (isTaken) => {
      if (isOver) return;
      isOver = true;
      if (isTaken) await this.#change(id, (chat) => { chat.title = field.value.trim(); });
      else this.show();
    };
    field.addEventListener('keydown', (event) => {
      if (event.isComposing || !['Enter', 'Escape'].includes(event.key)) return;
      event.preventDefault();
      end(event.key === 'Enter');
    });
    field.addEventListener('blur', () => end(true));
    item.replaceChildren(field);
    field.select();
    field.focus();
  }

  async #change(id, change) {
    const current = this.#current();
    const chat = id === current.id ? current : await this.#library.load(id);
    if (chat) {
      change(chat);
      await this.#library.save(chat);
      this.#on.changed(id);
    }
    this.show();
  }

  async #save(id, end) {
    const chat = id === this.#current().id ? this.#current() : await this.#library.load(id);
    if (!chat) return;
    const text = end === 'json' ? toJson([chat]) : toMarkdown(chat, { user: t('you'), assistant: t('answer') });
    saveFile(fileName(chat.name, end), end === 'json' ? 'application/json' : 'text/markdown', text);
  }

  async #saveAll() {
    saveFile(fileName('shoal', 'json'), 'application/json', toJson(await this.#library.all()));
  }

  async #remove(id, name) {
    if (!(await isMeant(t('remove_sure', { name }), t('remove')))) return;
    if (id === this.#current().id) await this.#on.gone();
    await this.#library.remove(id);
    this.#on.say(t('removed'));
    this.show();
  }

  async #removeAll() {
    if (!(await isMeant(t('remove_all_sure', { n: this.#library.heads.size }), t('remove_all')))) return;
    await this.#on.gone();
    await this.#library.clear();
    this.#on.say(t('removed'));
    this.show();
  }

  async #import(field) {
    const [file] = field.files;
    field.value = '';
    const found = file && file.size <= IMPORT_BYTES_MAX ? fromJson(await file.text()) : [];
    for (const chat of found) await this.#library.add(chat);
    const n = found.length;
    this.#on.say(n === 0 ? t('not_imported') : t(n === 1 ? 'imported_one' : 'imported', { n }), true);
    this.show();
  }

  #searchSoon() {
    this.#found = new Set();
    this.show();
    clearTimeout(this.#timer);
    const wanted = byId('search').value.trim();
    if (wanted !== '') this.#timer = setTimeout(() => this.#search(wanted), PAUSE);
  }

  async #search(wanted) {
    const isOver = () => byId('search').value.trim() !== wanted;
    const found = new Set();
    await this.#library.search(wanted, (id) => found.add(id), isOver);
    if (isOver()) return;
    this.#found = found;
    this.show();
  }
}
