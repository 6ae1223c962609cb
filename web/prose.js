// Markdown that grows. To render all of it for each token would cost the square of its length, so it is cut into the blocks
// of markdown's top level, and those that nothing can change any more are left alone:
//
//     text    [ settled blocks ...... )[ open: lexed again at each update )
//             0                    settled                          length
//
// A block is settled once a later one has a whole line: until then the later one may still turn out to belong to it ("2" may
// become "2." and go on with a list). Links that are defined below their use are the exception; `finish` then looks once more
// at the whole and touches only what differs. Within the open block, code and the items of a list and the rows of a table stay as far as
// they are the same, so a long one of them costs its length as well, but for the lexing. Of a line that is longer than a chapter what comes is
// shown as it is, and understood once the line or the answer ends.

import { blocksOf, partsOf, safeNodes } from './markdown.js';
import { el, icon } from './dom.js';
import { t } from './strings.js';

/** Longest line that is understood anew at each update, in characters. */
const LINE_MAX = 16_000;
/** What may be a definition of a link. */
const DEFINITION = /\]:/;

export class Prose {
  #root;
  /** For each block shown: `{ html, parts, node, isSettled }`. */
  #shown = [];
  #settledBlocks = 0;
  #settledChars = 0;
  /** How much of the text is understood, and a node with what came after it on the same long line. */
  #readChars = 0;
  #unread = null;
  #onSettled;

  /** `onSettled(node)` hears of each block once nothing changes it any more. */
  constructor(root, onSettled = () => {}) {
    this.#root = root;
    this.#onSettled = onSettled;
  }

  /** Shows `text`, which begins with what was shown before. */
  update(text) {
    const open = text.slice(this.#settledChars);
    if (open.length > LINE_MAX && this.#shown.length > 0 && !open.includes('\n')) {
      this.#showUnread(text.slice(this.#readChars));
      return;
    }
    this.#read(text);
    const blocks = parsed(open);
    this.#show(blocks, this.#settledBlocks);
    const last = blocks.at(-1);
    if (!last || last.start === null) return; // Slower, and right.
    const hasWholeLine = open.includes('\n', last.start);
    const settled = blocks.length - (hasWholeLine ? 1 : 2);
    if (settled <= 0) return;
    this.#settle(this.#settledBlocks, this.#settledBlocks + settled);
    this.#settledBlocks += settled;
    this.#settledChars += blocks[settled].start;
  }

  /** Shows all of `text`, which is complete and begins with what was shown before. */
  finish(text) {
    // Without definitions nothing settled can differ.
    this.#read(text);
    const [blocks, chars] = DEFINITION.test(text) ? [0, 0] : [this.#settledBlocks, this.#settledChars];
    this.#show(parsed(text.slice(chars)), blocks);
    this.#settle(0, this.#shown.length);
  }

  #showUnread(text) {
    if (this.#unread === null) {
      this.#unread = document.createTextNode('');
      const { node } = this.#shown.at(-1);
      (node.lastElementChild ?? node).append(this.#unread);
    }
    this.#unread.appendData(text.slice(this.#unread.length));
  }

  /** `text` will be understood now. */
  #read(text) {
    this.#readChars = text.length;
    this.#unread?.remove();
    this.#unread = null;
  }

  #settle(from, to) {
    for (const block of this.#shown.slice(from, to)) {
      if (!block.isSettled) this.#onSettled(block.node);
      block.isSettled = true;
    }
  }

  #show(blocks, from) {
    blocks.forEach((block, i) => this.#showOne(block, from + i));
    for (const { node } of this.#shown.splice(from + blocks.length)) node.remove();
  }

  #showOne(block, idx) {
    const { html } = block;
    const shown = this.#shown[idx];
    if (shown?.html === html) return;
    const code = shown?.node.querySelector(':scope > .code code');
    if (code && block.token.type === 'code' && codeClass(html) === codeClass(shown.html)) {
      // Only its text: a new node would throw away how far the reader had moved it sideways.
      // Like marked, with one end of line at the end.
      growText(code, `${block.token.text.replace(/\n$/, '')}\n`);
      Object.assign(shown, { html, isSettled: false });
      return;
    }
    const parts = partsOf(block);
    if (shown?.parts && parts && growParts(shown, parts)) {
      Object.assign(shown, { html, parts, isSettled: false });
      return;
    }
    const node = el('div', { className: 'block' }, dressed(safeNodes(html)));
    if (shown) shown.node.replaceWith(node);
    else this.#root.append(node);
    this.#shown[idx] = { html, parts, node, isSettled: false };
  }
}

/** Lets `node` say `text`; what it says already stays, also as the reader's selection. */
function growText(node, text) {
  const said = node.firstChild;
  // All but the end of line.
  const same = (said?.length ?? 0) - 1;
  if (node.childNodes.length === 1 && said.nodeType === Node.TEXT_NODE && same >= 0 && text.startsWith(said.data.slice(0, same))) {
    said.replaceData(same, 1, text.slice(same));
  } else {
    node.textContent = text;
  }
}

/** Lets the list or table that is `shown` have `next`, see `partsOf`; what is the same at its beginning stays. False if nothing is. */
function growParts(shown, next) {
  const { open, close, parts } = shown.parts;
  if (open !== next.open || close !== next.close || parts[0] !== next.parts[0]) return false;
  let same = 1;
  while (same < parts.length && parts[same] === next.parts[same]) same += 1;
  const listIn = (node) => node.querySelector('ul, ol, tbody');
  const list = listIn(shown.node);
  for (let last = list.lastChild; list.childElementCount > same; last = list.lastChild) last.remove();
  const fresh = listIn(dressed(safeNodes(open + next.parts.slice(same).join('') + close)));
  // Before the first item there may be an end of line, and after the last that stays one has been taken away or not.
  while (fresh.firstChild && fresh.firstChild.nodeType !== Node.ELEMENT_NODE) fresh.firstChild.remove();
  while (list.lastChild.nodeType !== Node.ELEMENT_NODE) list.lastChild.remove();
  list.append('\n', ...fresh.childNodes);
  return true;
}

/** `nodes` with what the page adds to them. */
function dressed(nodes) {
  nodes.querySelectorAll('pre').forEach(dressCode);
  nodes.querySelectorAll('input').forEach((box) => box.setAttribute('aria-label', t(box.checked ? 'task_done' : 'task_open')));
  nodes.querySelectorAll('table').forEach((table) => {
    const frame = el('div', { className: 'wide' });
    table.replaceWith(frame);
    frame.append(table);
  });
  return nodes;
}

/** The blocks of `text`. Text that the parser cannot take, such as a thousand quotes in each other, is shown as it is. */
function parsed(text) {
  try {
    return blocksOf(text);
  } catch {
    const plain = el('p', { textContent: text }).outerHTML;
    return [{ token: { type: 'text' }, start: null, html: plain }];
  }
}

const codeClass = (html) => /^<pre><code(?: class="([^"]*)")?>/.exec(html)?.[1] ?? '';

/** Gives a block of code its head: the language, and a button that copies. */
function dressCode(pre) {
  const language = /language-(\S+)/.exec(pre.querySelector('code')?.className ?? '')?.[1] ?? '';
  const text = el('span', { textContent: t('copy') });
  const copy = el('button', { type: 'button', className: 'quiet-button' }, icon('copy'), text);
  copy.dataset.action = 'copy-code';
  copy.setAttribute('aria-label', t('copy_code'));
  const head = el('div', { className: 'code-head' }, el('span', { textContent: language }), copy);
  const frame = el('div', { className: 'code' });
  pre.replaceWith(frame);
  frame.append(head, pre);
}
