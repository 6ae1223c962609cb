// Markdown that grows. To render all of it for each token would cost the square of its length, so it is cut into the blocks
// of markdown's top level, and those that nothing can change any more are left alone:
//
//     text    [ settled blocks ...... )[ open: lexed again at each update )
//             0                    settled                          length
//
// A block is settled once a later one has a whole line: until then the later one may still turn out to belong to it ("2" may
// become "2." and go on with a list). Links that are defined below their use are the exception; `finish` looks once more
// at the whole and touches only what differs.

import { blocksOf, safeNodes } from './markdown.js';
import { el, icon } from './dom.js';
import { t } from './strings.js';

export class Prose {
  #root;
  /** For each block shown: `{ html, node, isSettled }`. */
  #shown = [];
  #settledBlocks = 0;
  #settledChars = 0;
  #onSettled;

  /** `onSettled(node)` hears of each block once nothing changes it any more. */
  constructor(root, onSettled = () => {}) {
    this.#root = root;
    this.#onSettled = onSettled;
  }

  /** Shows `text`, which begins with what was shown before. */
  update(text) {
    const open = text.slice(this.#settledChars);
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

  /** Shows all of `text`, which is complete. */
  finish(text) {
    this.#show(parsed(text), 0);
    this.#settle(0, this.#shown.length);
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
      code.textContent = `${block.token.text.replace(/\n$/, '')}\n`;
      shown.html = html;
      shown.isSettled = false;
      return;
    }
    const node = el('div', { className: 'block' }, safeNodes(html));
    node.querySelectorAll('pre').forEach(dressCode);
    node.querySelectorAll('input').forEach((box) => box.setAttribute('aria-label', t(box.checked ? 'task_done' : 'task_open')));
    node.querySelectorAll('table').forEach((table) => {
      const frame = el('div', { className: 'wide' });
      table.replaceWith(frame);
      frame.append(table);
    });
    if (shown) shown.node.replaceWith(node);
    else this.#root.append(node);
    this.#shown[idx] = { html, node, isSettled: false };
  }
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
