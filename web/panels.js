// The small dialogs: settings, which take hold as they are changed; the key, which is asked for when the server wants one; and the
// question whether something is really meant.

import { set, settings, SYSTEM_CHARS_MAX, TEMPERATURE_MAX, TOKENS_MAX } from './settings.js';
import { read, write } from './storage.js';

const byId = (id) => document.getElementById(id);
const KEY = 'shoal.key';

/** Makes the settings' fields show and change the settings; `changed` hears the name of each that was. */
export function wireSettings(changed) {
  const dialog = byId('settings');
  const textOf = (field) => field.value;
  const numberOf = (field) => (field.value === '' ? null : field.valueAsNumber);
  const isOn = (field) => field.checked;
  const fields = [
    ['language', byId('language'), textOf],
    ['theme', byId('theme'), textOf],
    ['thinking', byId('thinking'), textOf],
    ['system', byId('system'), textOf],
    ['temperature', byId('temperature'), numberOf],
    ['maxTokens', byId('max-tokens'), numberOf],
    ['prefill', byId('prefill'), isOn],
    ['tokens', byId('tokens'), isOn],
  ];
  byId('system').maxLength = SYSTEM_CHARS_MAX;
  byId('temperature').max = TEMPERATURE_MAX;
  byId('max-tokens').max = TOKENS_MAX;
  const show = () => {
    for (const [name, field, valueOf] of fields) {
      if (valueOf === isOn) field.checked = settings[name];
      else field.value = settings[name] ?? '';
    }
  };
  for (const [name, field, valueOf] of fields) {
    field.addEventListener('input', () => {
      // What is half written ("1e") or out of bounds is not taken; the browser says so when the dialog is left.
      if (!field.validity.valid) return;
      set(name, valueOf(field));
      changed(name);
    });
  }
  show();
  byId('open-settings').addEventListener('click', () => dialog.showModal());
  dialog.addEventListener('close', show);
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
