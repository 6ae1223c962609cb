// An answer token by token: the likelier a token was, the fainter its mark. Pointing at one, or moving to it with the arrow keys, shows
// what else might have been said; choosing one of those says so to app.js, which lets the model go on from there.
//
//     bytes of token 0, 1, 2 … │ of the other choice        what a branch begins with
//
// A token may be a part of a character, so texts are made of bytes, and where those make no whole text nothing can begin.

import { el } from './dom.js';
import { percent, t } from './strings.js';

/** From which probability down a token is marked, and how: classes p1 to p4. */
const MARKS = [0.9, 0.6, 0.3, 0.1];

export class TokenView {
  #message;
  #list;
  #card = el('div', { className: 'others', hidden: true });
  #at = 0;

  constructor(message) {
    this.#message = message;
    this.#list = el('div', { className: 'tokens' }, ...message.tokens.map((token, i) => this.#node(token, i)));
    this.#list.setAttribute('role', 'group');
    this.#list.setAttribute('aria-label', t('token_view_label'));
    this.node = el('div', { className: 'token-view' }, this.#list, this.#card);
    this.#list.addEventListener('pointerover', ({ target }) => { if (target.dataset.at) this.#show(Number(target.dataset.at)); });
    this.node.addEventListener('pointerleave', () => { if (!this.node.contains(document.activeElement)) this.#hide(); });
    this.#list.addEventListener('focusin', ({ target }) => { if (target.dataset.at) this.#show(Number(target.dataset.at)); });
    this.node.addEventListener('focusout', ({ relatedTarget }) => { if (!this.node.contains(relatedTarget)) this.#hide(); });
    this.node.addEventListener('keydown', (event) => this.#pressed(event));
  }

  focus() {
    this.#list.children[this.#at]?.focus({ preventScroll: true });
  }

  #node({ bytes, logprob }, i) {
    const text = lossy(bytes);
    const mark = MARKS.findLastIndex((most) => Math.exp(logprob) < most) + 1;
    const node = el('span', { className: `token p${mark}`, textContent: text, tabIndex: i === 0 ? 0 : -1 });
    node.setAttribute('role', 'button');
    node.setAttribute('aria-label', t('token_said', { text: visible(text), percent: percent(Math.exp(logprob)) }));
    node.dataset.at = i;
    return node;
  }

  #pressed(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const choices = [...this.#card.querySelectorAll('button')];
    const chosen = choices.indexOf(document.activeElement);
    let next = null;
    if (step && chosen < 0) next = this.#list.children[this.#at + step];
    else if (event.key === 'ArrowDown') next = choices[chosen + 1];
    else if (event.key === 'ArrowUp' && chosen >= 0) next = choices[chosen - 1] ?? this.#list.children[this.#at];
    else if (event.key === 'Escape' && chosen >= 0) next = this.#list.children[this.#at];
    else return;
    event.preventDefault();
    next?.focus();
  }

  #show(at) {
    const { children } = this.#list;
    children[this.#at].tabIndex = -1;
    children[this.#at].classList.remove('shown');
    this.#at = at;
    const node = children[at];
    node.tabIndex = 0;
    node.classList.add('shown');
    const { bytes, logprob, others } = this.#message.tokens[at];
    const begin = beginningOf(this.#message, at);
    const line = el('p', { className: 'other-said', textContent: t('token_said', { text: visible(lossy(bytes)), percent: percent(Math.exp(logprob)) }) });
    const rest = others.filter((other) => String(other.bytes) !== String(bytes)).map((other) => choice(other, begin));
    this.#card.replaceChildren(line, ...(begin === null ? [el('p', { textContent: t('token_fixed') })] : rest));
    this.#card.hidden = false;
    // Right below the token, so that the pointer gets there without crossing another.
    const left = Math.max(0, Math.min(node.offsetLeft, this.node.clientWidth - this.#card.offsetWidth));
    Object.assign(this.#card.style, { left: `${left}px`, top: `${node.offsetTop + node.offsetHeight - 1}px` });
  }

  #hide() {
    this.#card.hidden = true;
    this.#list.children[this.#at]?.classList.remove('shown');
  }
}

/** A button that begins a branch with `begin` and what `other` says; `null` bytes of an unfinished character are left alone. */
function choice({ bytes, logprob }, begin) {
  const text = whole(bytes);
  const shown = { text: visible(lossy(bytes)), percent: percent(Math.exp(logprob)) };
  const node = el('button', { type: 'button', className: 'other', disabled: text === null || text === '' || begin === null },
    el('span', { textContent: shown.text }), el('span', { className: 'quiet', textContent: shown.percent }));
  node.title = t('token_branch', shown);
  node.dataset.action = 'branch';
  node.dataset.begin = begin + text;
  return node;
}

/** What `message` says before its token `at`; `null` if that is no whole text. An answer that was continued began before its tokens. */
export function beginningOf({ content, tokens }, at) {
  const said = whole(tokens.slice(0, at).flatMap(({ bytes }) => bytes));
  const all = lossy(tokens.flatMap(({ bytes }) => bytes));
  if (said === null) return null;
  return content.endsWith(all) ? content.slice(0, content.length - all.length) + said : said;
}

function whole(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes));
  } catch {
    return null;
  }
}

const lossy = (bytes) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(new Uint8Array(bytes));
/** Spaces and ends of lines where they would not be seen. */
const visible = (text) => text.replace(/\n/g, '⏎').replace(/^ | $/g, '␣');
