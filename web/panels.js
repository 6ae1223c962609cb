// The small dialogs: settings, which take hold as they are changed (own.js has the part of the conversation); the key, which is asked for when the server wants one; and the
// question whether something is really meant.

import { set, settings, SYSTEM_CHARS_MAX, TEMPERATURE_MAX, TOKENS_MAX, TOP_P_MAX } from './settings.js';
import { read, write } from './storage.js';

const byId = (id) => document.getElementById(id);
const KEY = 'shoal.key';

const textOf = (field) => field.value;
const numberOf = (field) => (field.value === '' ? null : field.valueAsNumber);
const isOn = (field) => field.checked;

/** What fields that are named take at most. */
const LIMITS = {
  system: { maxLength: SYSTEM_CHARS_MAX }, temperature: { max: TEMPERATURE_MAX }, topP: { max: TOP_P_MAX }, maxTokens: { max: TOKENS_MAX },
};

/** Makes `fields`, pairs of a name and the id of its field, show `valueOf(name)` and tell `take(name, value)` of what is put in. Returns
 *  what shows the values anew. */
export function wireFields(fields, valueOf, take) {
  const show = () => {
    for (const [name, id] of fields) {
      const field = byId(id);
      if (field.type === 'checkbox') field.checked = valueOf(name);
      else field.value = valueOf(name) ?? '';
    }
  };
  for (const [name, id] of fields) {
    const field = byId(id);
    Object.assign(field, LIMITS[name]);
    const read = { checkbox: isOn, number: numberOf }[field.type] ?? textOf;
    field.addEventListener('input', () => {
      // What is half written ("1e") or out of bounds is not taken; the browser says so when the dialog is left.
      if (field.validity.valid) take(name, read(field));
    });
  }
  show();
  return show;
}

/** Makes the settings' fields show and change the settings; `changed` hears the name of each that was. */
export function wireSettings(changed) {
  const fields = [
    ['language', 'language'], ['theme', 'theme'], ['system', 'system'], ['temperature', 'temperature'], ['topP', 'top-p'], ['maxTokens', 'max-tokens'],
    ['prefill', 'prefill'], ['tokens', 'tokens'],
  ];
  const show = wireFields(fields, (name) => settings[name], (name, value) => {
    set(name, value);
    changed(name);
  });
  byId('settings').addEventListener('close', show);
}

let key = read('sessionStorage', KEY);

/** The key to show to the server; an empty one if none was asked for. */
export const apiKey = () => (typeof key === 'string' ? key : '');

let asking = null;

/** Asks for the key; false if the reader has none to give. Several requests that miss it ask once. */
export function askForKey() {
  asking ??= new Promise((resolve) => {
    const dialog = byId('key-dialog');
    const field = byId('key');
    let isGiven = false;
    const take = () => {
      key = field.value.trim();
      write('sessionStorage', KEY, key);
      isGiven = true;
    };
    const form = dialog.querySelector('form');
    form.addEventListener('submit', take, { once: true });
    dialog.addEventListener('close', () => {
      form.removeEventListener('submit', take);
      field.value = '';
      asking = null;
      resolve(isGiven);
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

/** Asks whether the reader means it; `question` says what, `answer` what the button says. */
export function isMeant(question, answer) {
  const dialog = byId('sure');
  byId('sure-question').textContent = question;
  byId('sure-yes').textContent = answer;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

/** A form of a dialog goes nowhere: sent, it closes its dialog. So does each button that says it closes, and a click beside it. */
export function wireDialogs() {
  for (const dialog of document.querySelectorAll('dialog')) {
    dialog.querySelector('form')?.addEventListener('submit', (event) => {
      event.preventDefault();
      dialog.close(event.submitter?.value ?? '');
    });
    dialog.addEventListener('click', ({ target }) => {
      if (target.closest('[data-close]')) dialog.close();
    });
  }
}
