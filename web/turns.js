// A conversation on the page: one node for each message. A node is made from its message and brought up to date from it
// (`update`), so that an answer being written, one from storage and one after a change of language are shown by the same
// code. Which actions are offered while an answer is written is the style sheet's matter.

import { isOpen } from './answer.js';
import { el, icon } from './dom.js';
import { dress } from './dress.js';
import { Prose } from './prose.js';
import { duration, rounded, shortDuration, size, t } from './strings.js';
import { thoughtRest } from './thoughts.js';
import { TokenView } from './token-view.js';

/** The node of `message`, and what brings it up to date. `place` is which of its siblings it is: `{ n, of }`. */
export function turnOf(message, place) {
  return message.role === 'user' ? question(message, place) : new Answer(message, place);
}

export function button(action, iconName, words, labelWords = words) {
  const text = el('span', { textContent: t(words) });
  const node = el('button', { type: 'button', className: 'quiet-button' }, icon(iconName), text);
  node.dataset.action = action;
  if (labelWords !== words) node.setAttribute('aria-label', t(labelWords));
  return node;
}

/** Arrows to the siblings of a message, and between them which it is; that opens all branches. */
function siblings({ n, of }) {
  if (of < 2) return '';
  const arrow = (action, words, isEnd) => {
    const node = el('button', { type: 'button', className: 'quiet-button', disabled: isEnd, title: t(words) }, icon(action));
    node.dataset.action = action;
    node.setAttribute('aria-label', t(words));
    return node;
  };
  const which = el('button', { type: 'button', className: 'quiet-button which', textContent: t('which', { n, of }), title: t('branches') });
  which.dataset.action = 'branches';
  // What is seen is part of the name, for who says what they see.
  which.setAttribute('aria-label', `${which.textContent}, ${t('branches')}`);
  return el('div', { className: 'siblings' }, arrow('previous', 'previous', n === 1), which, arrow('next', 'next', n === of));
}

function question(message, place) {
  const files = (message.files ?? []).map(({ name, text }) => el('details', { className: 'file' },
    el('summary', {}, icon('file'), el('span', { textContent: name })), el('pre', { textContent: text, tabIndex: 0 })));
  const said = message.content === '' ? '' : el('div', { className: 'said', textContent: message.content });
  const node = el('article', { className: 'turn question' },
    el('h2', { className: 'unseen', textContent: t('you') }), ...files, said,
    el('div', { className: 'actions' }, siblings(place), button('edit', 'edit', 'edit')));
  return { node, message, update() {} };
}

class Answer {
  #parts;
  #prose;
  #tokens = null;
  #reasoningShown = 0;

  constructor(message, place) {
    this.message = message;
    const summary = el('summary');
    const thoughts = el('div', { className: 'thoughts' });
    const folded = el('details', { className: 'thinking', hidden: true }, summary, thoughts);
    const prose = el('div', { className: 'prose' });
    const progress = el('progress', { hidden: true });
    const waiting = el('span');
    const now = button('now', 'now', 'answer_now');
    const pulse = el('div', { className: 'pulse' }, el('i', { className: 'ripple' }), waiting, progress, now);
    const why = el('span');
    const problem = el('p', { className: 'problem', hidden: true }, why, button('retry', 'again', 'retry'));
    const figures = el('span', { className: 'figures' });
    const view = button('tokens', 'tokens', 'token_view');
    const actions = el('div', { className: 'actions' }, siblings(place), button('copy', 'copy', 'copy', 'copy_answer'),
      button('again', 'again', 'again'), button('go-on', 'go-on', 'go_on'), button('edit', 'edit', 'edit'), view);
    const foot = el('footer', { className: 'foot' }, actions, figures);
    this.node = el('article', { className: 'turn answer' },
      el('h2', { className: 'unseen', textContent: t('answer') }), folded, prose, pulse, problem, foot);
    this.#parts = { summary, thoughts, folded, prose, progress, waiting, now, pulse, why, problem, figures, foot, view };
    this.#prose = new Prose(prose, dress);
    this.update();
  }

  update() {
    const { message } = this;
    const { pulse, problem, why, foot, figures, view } = this.#parts;
    this.#updateThinking();
    if (isOpen(message)) {
      this.#prose.update(message.content);
      this.#updatePulse();
    } else {
      this.#prose.finish(message.content);
      figures.textContent = figuresOf(message);
      this.#showMiss();
      if (message.error) why.textContent = sentence(message.error);
    }
    this.node.dataset.state = message.state;
    pulse.hidden = !isOpen(message);
    foot.hidden = isOpen(message);
    problem.hidden = message.state !== 'failed';
    const hide = (action, isHidden) => { foot.querySelector(`[data-action=${action}]`).hidden = isHidden; };
    // There is nothing to copy in an answer that never came.
    for (const action of ['copy', 'edit']) hide(action, message.content === '');
    hide('again', message.state === 'failed');
    hide('go-on', message.content === '' || (message.state === 'done' && !message.isCut));
    view.hidden = message.tokens.length === 0;
  }

  /** Shows the tokens in place of the prose, or the prose again. */
  toggleTokens() {
    const { prose, view } = this.#parts;
    if (this.#tokens === null) this.#tokens = new TokenView(this.message);
    const isShown = this.#tokens.node.isConnected;
    if (isShown) this.#tokens.node.replaceWith(prose);
    else prose.replaceWith(this.#tokens.node);
    view.querySelector('span').textContent = t(isShown ? 'token_view' : 'token_view_off');
    if (!isShown) this.#tokens.focus();
  }

  /** Why the server did not know all of the prompt; that it is the first of its kind needs no words. */
  #showMiss() {
    const { foot } = this.#parts;
    const { miss } = this.message;
    foot.querySelector('.miss')?.remove();
    if (!miss || ['first', 'new'].includes(miss.reason)) return;
    const node = el('details', { className: 'miss' }, el('summary', { textContent: t('why') }), el('p', { textContent: t(`why_${miss.reason}`, miss) }));
    const place = (name, text) => [el('dt', { textContent: t(name) }), el('dd', {}, el('span', { textContent: miss.before }), el('mark', { textContent: text }))];
    if (miss.reason === 'differs') node.append(el('dl', {}, ...place('why_before', miss.earlier), ...place('why_now', miss.now)));
    foot.append(node);
  }

  #updateThinking() {
    const { folded, summary, thoughts } = this.#parts;
    const { reasoning, reasoningMs, reasoningTokens: n, state } = this.message;
    folded.hidden = reasoning.trim() === '';
    if (folded.hidden) return;
    const name = state === 'thinking' ? (n > 0 ? 'thinking_tokens' : 'thinking_now') : (n > 0 ? 'thought_tokens' : 'thought');
    const rest = state === 'thinking' ? thoughtRest(this.message) : 0;
    const words = t(name, { time: duration(reasoningMs), n }) + (rest > 0 ? t('thinking_rest', { time: duration(rest) }) : '');
    if (summary.textContent !== words) summary.textContent = words;
    // Only what is new, so that a reader of long thoughts may select some of them meanwhile.
    if (reasoning.length > this.#reasoningShown) thoughts.append(reasoning.slice(this.#reasoningShown));
    this.#reasoningShown = reasoning.length;
  }

  #updatePulse() {
    const { waiting, progress: bar, now } = this.#parts;
    const { state, progress } = this.message;
    const words = { waiting: t('waiting'), reading: progress ? t('reading', progress) : t('waiting') }[state] ?? '';
    if (waiting.textContent !== words) waiting.textContent = words;
    now.hidden = state !== 'thinking';
    bar.hidden = state !== 'reading' || !progress?.total;
    if (!bar.hidden) {
      Object.assign(bar, { max: progress.total, value: progress.read });
      bar.setAttribute('aria-label', words);
    }
  }
}

/** The quiet line below an answer. */
function figuresOf({ figures, state, isCut, firstMs }) {
  const parts = [];
  if (state === 'stopped') parts.push(t('stopped'));
  if (isCut) parts.push(t('cut'));
  if (figures) {
    const { tokens, perSecond, cached, prompt, memoryBytes = 0, diskBytes = 0 } = figures;
    parts.push(tokens === 1 ? t('token') : t('tokens', { n: tokens }));
    // Below ten the first decimal says something.
    if (perSecond > 0) parts.push(t('rate', { n: rounded(perSecond, perSecond < 10 ? 1 : 0) }));
    if (firstMs > 0) parts.push(t('first', { time: shortDuration(firstMs) }));
    if (memoryBytes > 0) parts.push(t('read_memory', { size: size(memoryBytes) }));
    if (diskBytes > 0) parts.push(t('read_disk', { size: size(diskBytes) }));
    if (cached > 0) parts.push(t('cached', { n: cached, prompt }));
  }
  return parts.join(' · ');
}

/** What went wrong, in one sentence: ours where there is one, else the server's. */
export function sentence({ code, message }) {
  const known = ['key', 'busy', 'long', 'unreachable', 'broke'];
  if (known.includes(code)) return t(`error_${code}`);
  const text = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?。]$/.test(text) ? text : `${text}.`;
}
