// The branches of a conversation: a tree to choose from, and how two of them differ, word by word. Straight stretches of the tree are not
// indented; where it forks, each branch is one step deeper.

import { diff } from './diff.js';
import { el } from './dom.js';
import { t } from './strings.js';

/** How much of a message the tree shows, and how much the choice of a branch, in characters. */
const SHOWN_CHARS = 90;
const CHOICE_CHARS = 50;
/** Deepest step that is still indented. */
const DEPTH_MAX = 8;

const byId = (id) => document.getElementById(id);

export class Branches {
  #conversation;

  /** `onChoose(message)` hears which branch the reader wants to see. */
  constructor(onChoose) {
    byId('tree').addEventListener('click', ({ target }) => {
      const node = target.closest('[data-place]');
      if (!node) return;
      byId('branches').close();
      onChoose(this.#conversation.messages[Number(node.dataset.place)]);
    });
    for (const id of ['branch-a', 'branch-b']) byId(id).addEventListener('input', () => this.#compare());
  }

  /** Shows the branches of `conversation`; those of `message` are compared at first. */
  open(conversation, message = conversation.last) {
    this.#conversation = conversation;
    byId('tree').replaceChildren(...this.#level(null, 0));
    const { leaves } = conversation;
    byId('compare').hidden = leaves.length < 2;
    if (leaves.length >= 2) this.#offer(leaves, message);
    byId('branches').showModal();
  }

  /** The items of the children of `message` and of all below them. */
  #level(message, depth) {
    const { messages, path } = this.#conversation;
    const shown = new Set(path);
    const items = [];
    const open = this.#conversation.childrenOf(message).map((child) => [child, depth]).reverse();
    while (open.length > 0) {
      const [at, step] = open.pop();
      items.push(item(at, messages.indexOf(at), step, shown.has(at)));
      const children = this.#conversation.childrenOf(at);
      open.push(...children.map((child) => [child, children.length > 1 ? step + 1 : step]).reverse());
    }
    return items;
  }

  #offer(leaves, message) {
    const { last } = this.#conversation;
    const options = () => leaves.map((leaf, i) => el('option', { value: String(i), textContent: `${i + 1}. ${beginning(leaf, CHOICE_CHARS)}` }));
    byId('branch-a').replaceChildren(...options());
    byId('branch-b').replaceChildren(...options());
    const here = leaves.indexOf(last);
    const siblings = message === null ? [] : this.#conversation.siblings(message);
    // The nearest other one: a sibling's if there is one.
    const other = leaves.findLastIndex((leaf, i) => i !== here && siblings.some((sibling) => this.#conversation.pathTo(leaf).includes(sibling)));
    byId('branch-a').value = String(other >= 0 ? other : Number(here === 0));
    byId('branch-b').value = String(here);
    this.#compare();
  }

  #compare() {
    const { leaves } = this.#conversation;
    const [a, b] = ['branch-a', 'branch-b'].map((id) => this.#conversation.pathTo(leaves[Number(byId(id).value)]));
    let shared = 0;
    while (shared < a.length && shared < b.length && a[shared] === b[shared]) shared += 1;
    const text = (path) => path.slice(shared).map(({ role, content }) => `${t(role === 'user' ? 'you' : 'answer')}: ${content}`).join('\n\n');
    const parts = diff(text(a), text(b));
    const isSame = parts.every(({ kind }) => kind === 'same');
    const tags = { same: 'span', less: 'del', more: 'ins' };
    byId('difference').replaceChildren(...(isSame ? [t('compare_same')] : parts.map(({ kind, text: words }) => el(tags[kind], { textContent: words }))));
  }
}

function item(message, place, depth, isShown) {
  const who = el('span', { className: 'tree-who', textContent: t(message.role === 'user' ? 'you' : 'answer') });
  const open = el('button', { type: 'button', className: 'tree-open' }, who, el('span', { textContent: beginning(message, SHOWN_CHARS) }));
  open.dataset.place = place;
  if (isShown) open.setAttribute('aria-current', 'true');
  return el('li', { className: `step${Math.min(depth, DEPTH_MAX)}` }, open);
}

function beginning({ content, files = [], reasoning = '' }, chars) {
  const line = (content.trim() || files[0]?.name || reasoning.trim() || '…').replace(/\s+/g, ' ');
  return line.length > chars ? `${line.slice(0, chars - 1)}…` : line;
}
