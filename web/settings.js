// What the reader has chosen. Each value is checked when it is read and when it is set, so the rest of the page may trust
// it. `null` is "not chosen": the field is then left out of a request and the model's own value stands.

import { isObject, read, write } from './storage.js';

const KEY = 'shoal.settings';

export const SYSTEM_CHARS_MAX = 20_000;
export const TEMPERATURE_MAX = 2;
export const TOKENS_MAX = 1_000_000;
/** How many likely tokens are asked for beside each that is said. */
const OTHERS = 5;

const oneOf = (...choices) => (value) => (choices.includes(value) ? value : choices[0]);
const flag = (value) => value === true;

/** For each setting, what makes any value a good one. */
const CHECKS = {
  // An older page spoke but one Chinese.
  language: (value) => oneOf('auto', 'en', 'zh-Hans', 'zh-Hant')(value === 'zh' ? 'zh-Hans' : value),
  theme: oneOf('system', 'light', 'dark', 'contrast'),
  thinking: oneOf('auto', 'on', 'off'),
  system: (value) => (typeof value === 'string' ? value.slice(0, SYSTEM_CHARS_MAX) : ''),
  temperature: (value) => (Number.isFinite(value) && value >= 0 && value <= TEMPERATURE_MAX ? value : null),
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

/** The fields of a request that the settings decide. */
export function requestFields() {
  const fields = {};
  if (settings.thinking !== 'auto') {
    fields.thinking = { type: settings.thinking === 'on' ? 'enabled' : 'disabled' };
  }
  if (settings.temperature !== null) fields.temperature = settings.temperature;
  if (settings.maxTokens !== null) fields.max_tokens = settings.maxTokens;
  if (settings.tokens) Object.assign(fields, { logprobs: true, top_logprobs: OTHERS });
  return fields;
}
