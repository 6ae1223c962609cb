// The two dialogs: settings, which take hold as they are changed, and the key, which is asked for when the server wants one.

import { set, settings, SYSTEM_CHARS_MAX, TEMPERATURE_MAX, TOKENS_MAX } from './settings.js';
import { read, write } from './storage.js';

const byId = (id) => document.getElementById(id);
const KEY = 'shoal.key';

/** Makes the settings' fields show and change the settings; `changed` hears the name of each that was. */
export function wireSettings(changed) {
  const dialog = byId('settings');
  const fields = [
    ['language', byId('language'), (field) => field.value],
    ['theme', byId('theme'), (field) => field.value],
    ['thinking', byId('thinking'), (field) => field.value],
    ['system', byId('system'), (field) => field.value],
    ['temperature', byId('temperature'), numberOf],
    ['maxTokens', byId('max-tokens'), numberOf],
  ];
  byId('system').maxLength = SYSTEM_CHARS_MAX;
  byId('temperature').max = TEMPERATURE_MAX;
  byId('max-tokens').max = TOKENS_MAX;
  for (const [name, field, valueOf] of fields) {
    field.value = settings[name] ?? '';
    field.addEventListener('input', () => {
      // What is half written ("1e") or out of bounds is not taken; the browser says so when the dialog is left.
      if (!field.validity.valid) return;
      set(name, valueOf(field));
      changed(name);
    });
  }
  byId('open-settings').addEventListener('click', () => dialog.showModal());
  closeOnSubmit(dialog);
  dialog.addEventListener('close', () => {
    for (const [name, field] of fields) field.value = settings[name] ?? '';
  });
}

const numberOf = (field) => (field.value === '' ? null : field.valueAsNumber);

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
    byId('key-cancel').onclick = () => dialog.close();
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

export const wireKey = () => closeOnSubmit(byId('key-dialog'));

/** A form of a dialog goes nowhere: sent, it closes its dialog. */
function closeOnSubmit(dialog) {
  dialog.querySelector('form').addEventListener('submit', (event) => {
    event.preventDefault();
    dialog.close();
  });
}
