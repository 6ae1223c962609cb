// Keys that do something anywhere on the page. One table says which they are, both to the page and to the panel that lists them.

import { el } from './dom.js';
import { isComposing } from './composer.js';
import { t } from './strings.js';

const isMac = /mac|iphone|ipad/i.test(globalThis.navigator?.platform ?? '');
const MOD = isMac ? '⌘' : 'Ctrl';
const ALT = isMac ? '⌥' : 'Alt';

/** Name of what is done, keys as they are shown, and which press it is; without the last, some other part listens for it. */
const KEYS = [
  ['send', ['Enter']],
  ['line', ['Shift', 'Enter']],
  ['stop', ['Esc']],
  ['new', [MOD, 'Shift', 'O'], ({ code, mod, shiftKey }) => mod && shiftKey && code === 'KeyO'],
  ['search', [MOD, 'K'], ({ code, mod, shiftKey }) => mod && !shiftKey && code === 'KeyK'],
  ['write', ['/'], ({ key, isFree }) => isFree && key === '/'],
  ['edit', [ALT, '↑'], ({ key, altKey }) => altKey && key === 'ArrowUp'],
  ['siblings', [ALT, '← →'], ({ key, altKey }) => altKey && (key === 'ArrowLeft' || key === 'ArrowRight')],
  ['again', [ALT, 'R'], ({ code, altKey }) => altKey && code === 'KeyR'],
  ['branches', [ALT, 'B'], ({ code, altKey }) => altKey && code === 'KeyB'],
  ['tokens', ['← → ↓']],
  ['help', ['?'], ({ key, isFree }) => isFree && key === '?'],
];

/** Calls `actions[name](event)` for each key of the table; the names are those of the table. */
export function wireShortcuts(actions) {
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || isComposing(event) || document.querySelector('dialog[open]')) return;
    const { key, code, altKey, shiftKey } = event;
    // Where text is written, a sign is a sign.
    const isFree = !event.target.matches('input, textarea, select, [contenteditable]') && !event.ctrlKey && !event.metaKey && !altKey;
    const mod = isMac ? event.metaKey : event.ctrlKey;
    const press = { key, code, altKey: altKey && !event.ctrlKey, shiftKey, mod, isFree };
    const [name] = KEYS.find(([, , isIt]) => isIt?.(press)) ?? [];
    if (!actions[name]) return;
    event.preventDefault();
    actions[name](event);
  });
}

/** Opens the list of keys. */
export function openHelp() {
  const dialog = document.getElementById('help');
  dialog.querySelector('dl').replaceChildren(...KEYS.map(([name, keys]) => el('div', {},
    el('dt', {}, ...keys.flatMap((key, i) => [...(i > 0 ? [' + '] : []), el('kbd', { textContent: key })])),
    el('dd', { textContent: t(`help_${name}`) }))));
  dialog.showModal();
}
