// A conversation on the page: one node for each message. A node is made from its message and brought up to date from it
// (`update`), so that an answer being written, one from storage and one after a change of language are shown by the same
// code. Which actions the last turns offer is the style sheet's matter.

import { isOpen } from './answer.js';
import { el, icon } from './dom.js';
import { Prose } from './prose.js';
import { duration, t } from './strings.js';

/** The node of `message`, and what brings it up to date. */
export function turnOf(message) {
  return message.role === 'user' ? question(message) : new Answer(message);
}

function button(action, iconName, words, labelWords = words) {
  const text = el('span', { textContent: t(words) });
  const node = el('button', { type: 'button', className: 'quiet-button' }, icon(iconName), text);
  node.dataset.action = action;
  if (labelWords !== words) node.setAttribute('aria-label', t(labelWords));
  return node;
}

function question(message) {
  const node = el('article', { className: 'turn question' },
    el('h2', { className: 'unseen', textContent: t('you') }),
    el('div', { className: 'said', textContent: message.content }),
    el('div', { className: 'actions' }, button('edit', 'edit', 'edit')));
  return { node, message, update() {} };
}

class Answer {
  #parts;
  #prose;
  #reasoningShown = 0;

  constructor(message) {
    this.message = message;
    const summary = el('summary');
    const thoughts = el('div', { className: 'thoughts' });
    const folded = el('details', { className: 'thinking', hidden: true }, summary, thoughts);
    const prose = el('div', { className: 'prose' });
    const progress = el('progress', { hidden: true });
    const waiting = el('span');
    const pulse = el('div', { className: 'pulse' }, el('i', { className: 'ripple' }), waiting, progress);
    const why = el('span');
    const problem = el('p', { className: 'problem', hidden: true }, why, button('again', 'again', 'retry'));
    const figures = el('span', { className: 'figures' });
    const actions = el('div', { className: 'actions' },
      button('copy', 'copy', 'copy', 'copy_answer'), button('again', 'again', 'again'));
    const foot = el('footer', { className: 'foot' }, actions, figures);
    this.node = el('article', { className: 'turn answer' },
      el('h2', { className: 'unseen', textContent: t('answer') }), folded, prose, pulse, problem, foot);
    this.#parts = { summary, thoughts, folded, progress, waiting, pulse, why, problem, figures, foot };
    this.#prose = new Prose(prose);
    this.update();
  }

  update() {
    const { message } = this;
    const { pulse, problem, why, foot, figures } = this.#parts;
    this.#updateThinking();
    if (isOpen(message)) {
      this.#prose.update(message.content);
      this.#updatePulse();
    } else {
      this.#prose.finish(message.content);
      figures.textContent = figuresOf(message);
      if (message.error) why.textContent = sentence(message.error);
    }
    this.node.dataset.state = message.state;
    pulse.hidden = !isOpen(message);
    foot.hidden = isOpen(message);
    problem.hidden = message.state !== 'failed';
    // There is nothing to copy in an answer that never came.
    foot.querySelector('[data-action=copy]').hidden = message.content === '';
    foot.querySelector('[data-action=again]').hidden = message.state === 'failed';
  }

  #updateThinking() {
    const { folded, summary, thoughts } = this.#parts;
    const { reasoning, reasoningMs, state } = this.message;
    folded.hidden = reasoning.trim() === '';
    if (folded.hidden) return;
    const words = t(state === 'thinking' ? 'thinking_now' : 'thought', { time: duration(reasoningMs) });
    if (summary.textContent !== words) summary.textContent = words;
    // Only what is new, so that a reader of long thoughts may select some of them meanwhile.
    if (reasoning.length > this.#reasoningShown) thoughts.append(reasoning.slice(this.#reasoningShown));
    this.#reasoningShown = reasoning.length;
  }

  #updatePulse() {
    const { waiting, progress: bar } = this.#parts;
    const { state, progress } = this.message;
    const words = { waiting: t('waiting'), reading: progress ? t('reading', progress) : t('waiting') }[state] ?? '';
    if (waiting.textContent !== words) waiting.textContent = words;
    bar.hidden = state !== 'reading' || !progress?.total;
    if (!bar.hidden) {
      Object.assign(bar, { max: progress.total, value: progress.read });
      bar.setAttribute('aria-label', words);
    }
  }
}

/** The quiet line below an answer. */
function figuresOf({ figures, state, isCut }) {
  const parts = [];
  if (state === 'stopped') parts.push(t('stopped'));
  if (isCut) parts.push(t('cut'));
  if (figures) {
    const { tokens, perSecond, cached, prompt } = figures;
    parts.push(tokens === 1 ? t('token') : t('tokens', { n: tokens }));
    // Below ten the first decimal says something.
    const digits = perSecond < 10 ? 10 : 1;
    if (perSecond > 0) parts.push(t('rate', { n: Math.round(perSecond * digits) / digits }));
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
