// What the reader has chosen. Each value is checked when it is read and when it is set, so the rest of the page may trust
// it. `null` is "not chosen": the field is then left out of a request and the model's own value stands. Some a conversation may
// have of its own, which then holds in it.

import { isObject, read, write } from './storage.js';

const KEY = 'shoal.settings';

export const SYSTEM_CHARS_MAX = 20_000;
export const TEMPERATURE_MAX = 2;
export const TOP_P_MAX = 1;
export const TOKENS_MAX = 1_000_000;
/** How many likely tokens are asked for beside each that is said. */
const OTHERS = 5;

/** What a request says of thinking. */
const THINKING = {
  auto: {}, on: { thinking: { type: 'enabled' } }, low: { reasoning_effort: 'low' }, max: { reasoning_effort: 'max' }, off: { thinking: { type: 'disabled' } },
};

const oneOf = (...choices) => (value) => (choices.includes(value) ? value : choices[0]);
const flag = (value) => value === true;

/** For each setting, what makes any value a good one. */
const CHECKS = {
  // An older page spoke but one Chinese.
  language: (value) => oneOf('auto', 'en', 'zh-Hans', 'zh-Hant')(value === 'zh' ? 'zh-Hans' : value),
  theme: oneOf('system', 'light', 'dark', 'contrast'),
  thinking: oneOf('auto', 'on', 'low', 'max', 'off'),
  system: (value) => (typeof value === 'string' ? value.slice(0, SYSTEM_CHARS_MAX) : ''),
  temperature: (value) => (Number.isFinite(value) && value >= 0 && value <= TEMPERATURE_MAX ? value : null),
  topP: (value) => (Number.isFinite(value) && value > 0 && value <= TOP_P_MAX ? value : null),
  maxTokens: (value) => (Number.isInteger(value) && value >= 1 && value <= TOKENS_MAX ? value : null),
  prefill: flag,
  tokens: flag,
  /** Whether the list of conversations stands beside the conversation where there is room for both. */
  history: flag,
};

const kept = read('localStorage', KEY);

export const settings = check(isObject(kept) ? kept : {});

function check(values) {
  return Object.fromEntries(Object.entries(CHECKS).map(([name, good]) => [name, good(values[name])]));
}

export function set(name, value) {
  settings[name] = CHECKS[name](value);
  write('localStorage', KEY, settings);
}

/** What a conversation may have of its own. */
const OWN = ['system', 'temperature', 'topP', 'maxTokens'];
const isEmpty = (value) => value === null || String(value).trim() === '';

/** Of `values`, whatever they are, what a conversation has of its own; what is empty is as for all, and left out. */
export function ownOf(values) {
  const good = OWN.map((name) => [name, CHECKS[name](isObject(values) ? values[name] : undefined)]);
  return Object.fromEntries(good.filter(([, value]) => !isEmpty(value)));
}

/** The settings as they hold in a conversation that has `own` ones. */
export const settingsWith = (own) => ({ ...settings, ...own });

/** The fields of a request that settings decide, see `settingsWith`. */
export function requestFields({ thinking, temperature, topP, maxTokens, tokens }) {
  const fields = { ...THINKING[thinking] };
  if (temperature !== null) fields.temperature = temperature;
  if (topP !== null) fields.top_p = topP;
  if (maxTokens !== null) fields.max_tokens = maxTokens;
  if (tokens) Object.assign(fields, { logprobs: true, top_logprobs: OTHERS });
  return fields;
}
