// The words of the page in the language of the reader. Nodes of index.html say which words they show: `data-t` for their
// text, `data-t-label` for what a screen reader and a tooltip say, `data-t-placeholder`.

import { EN } from './words-en.js';
import { ZH_HANS } from './words-zh-hans.js';
import { ZH_HANT } from './words-zh-hant.js';

const TABLES = { en: EN, 'zh-Hans': ZH_HANS, 'zh-Hant': ZH_HANT };

export const LANGUAGES = Object.keys(TABLES);

let language = 'en';
let numbers = new Intl.NumberFormat('en');

/** Speaks `choice`, or with 'auto' the first of the browser's languages that is here. */
export function speak(choice) {
  const wanted = choice === 'auto' ? (navigator.languages ?? [navigator.language]) : [choice];
  language = wanted.map(spoken).find(Boolean) ?? 'en';
  numbers = new Intl.NumberFormat(language);
  document.documentElement.lang = language;
  fill(document);
}

/** The language of ours that a `tag` such as zh-TW or en-GB means. */
export function spoken(tag) {
  const parts = tag.toLowerCase().split('-');
  if (parts[0] === 'en') return 'en';
  if (parts[0] !== 'zh') return null;
  if (parts.includes('hans')) return 'zh-Hans';
  return ['hant', 'tw', 'hk', 'mo'].some((part) => parts.includes(part)) ? 'zh-Hant' : 'zh-Hans';
}

/** The words `name`, with `values` filled in. */
export function t(name, values = {}) {
  return TABLES[language][name].replace(/\{(\w+)\}/g, (_, value) =>
    (typeof values[value] === 'number' ? numbers.format(values[value]) : values[value]));
}

/** `value` with at most `digits` after the point. */
export const rounded = (value, digits) => new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);

/** A share of one in percent; what rounds to nothing is said to be little. */
export function percent(share) {
  if (share > 0 && share < 0.001) return `< ${rounded(0.1, 1)} %`;
  return `${rounded(share * 100, share < 0.1 ? 1 : 0)} %`;
}

/** Bytes as people say them. */
export function size(bytes) {
  if (!Number.isFinite(bytes)) return '–';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${rounded(value, value < 10 ? 1 : 0)} ${units[unit]}`;
}

/** A time in words. */
export function duration(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return t('seconds', { s: seconds });
  return t('minutes', { m: Math.floor(seconds / 60), s: seconds % 60 });
}

/** A time in words in which tenths of a second count; less than one of them is said to be that. */
export function shortDuration(ms) {
  if (ms < 50) return `< ${t('seconds', { s: 0.1 })}`;
  return ms < 9950 ? t('seconds', { s: Number((ms / 1000).toFixed(1)) }) : duration(ms);
}

function fill(root) {
  for (const node of root.querySelectorAll('[data-t]')) {
    const words = t(node.dataset.t);
    // What stands there already need not be painted again.
    if (node.textContent !== words) node.textContent = words;
  }
  for (const node of root.querySelectorAll('[data-t-placeholder]')) node.placeholder = t(node.dataset.tPlaceholder);
  for (const node of root.querySelectorAll('[data-t-label]')) label(node, node.dataset.tLabel);
}

/** Gives `node` the words `name` for screen readers, and as a tooltip. */
export function label(node, name, values) {
  node.setAttribute('aria-label', t(name, values));
  node.title = t(name, values);
}
