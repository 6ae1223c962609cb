// Where the reader writes: a field that grows with its text, files beside it, and one button that sends, or stops while an answer is
// written. Enter sends, but not the Enter that ends the composition of a character (Chinese, Japanese, Korean input).

import { Attachments } from './attachments.js';
import { set, settings } from './settings.js';
import { label, t } from './strings.js';

/** How long a model thinks only V4 can be told; others think as they like, or not at all. The server does not say which has degrees, so
 *  that is left to its name. */
const DEGREES = ['low', 'max'];
const hasDegrees = (model) => /(?:^|[^a-z])v4(?![0-9])/i.test(model);

const byId = (id) => document.getElementById(id);

export class Composer {
  #draft = byId('draft');
  #send = byId('send');
  #isBusy = false;
  /** The message that is being changed, and what stood here before: `{ text, files }`. */
  #edited = null;
  #setAside = null;
  #onType;
  #files;

  /** `onSend(text, files, edited)` is told what to send and in place of which message, `onStop` that the reader has had enough,
   *  `onType` that what stands here has changed. `count` and `refuse` are for files, see there. */
  constructor({ onSend, onStop, onType, count, refuse }) {
    this.#onType = onType;
    this.#files = new Attachments({ count, refuse, onChange: onType });
    const send = () => {
      const { text, files } = this;
      if ((text === '' && files.length === 0) || this.#isBusy) return;
      if (this.#files.isReading) {
        refuse(t('file_wait'));
        return;
      }
      const edited = this.#edited;
      this.#leaveEditing({ text: '', files: [] });
      onSend(text, files, edited);
    };
    byId('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.#isBusy) onStop();
      else send();
    });
    this.#draft.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || isComposing(event)) return;
      event.preventDefault();
      send();
    });
    this.#draft.addEventListener('input', () => {
      this.#fit();
      onType();
    });
    byId('thinking').addEventListener('input', ({ target }) => set('thinking', target.value));
    byId('cancel-edit').addEventListener('click', () => this.cancelEdit());
    document.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || event.defaultPrevented || isComposing(event) || document.querySelector('dialog[open]')) return;
      if (this.#isBusy) onStop();
      else this.cancelEdit();
    });
    // Where a finger writes, focus would bring up the keyboard before anyone has looked around.
    if (matchMedia('(pointer: fine)').matches) this.focus();
  }

  get text() {
    return this.#draft.value.trim();
  }

  get files() {
    return this.#files.files.map(({ name, text }) => ({ name, text }));
  }

  /** The message that is being changed, if one is. */
  get edited() {
    return this.#edited;
  }

  focus() {
    this.#draft.focus({ preventScroll: true });
  }

  /** Puts `text` into the field for the reader to go on with. */
  write(text) {
    this.#draft.value = text;
    this.#fit();
    this.focus();
    this.#onType();
  }

  /** Lets the reader change `message`; what stood in the field comes back afterwards. */
  edit(message) {
    if (this.#edited === null) this.#setAside = { text: this.#draft.value, files: this.#files.files };
    this.#edited = message;
    byId('editing').hidden = false;
    this.showWords();
    this.#files.put((message.files ?? []).map((file) => ({ ...file, tokens: null })));
    this.write(message.content);
  }

  cancelEdit() {
    if (this.#edited === null) return;
    this.#leaveEditing(this.#setAside);
    this.focus();
  }

  #leaveEditing({ text, files }) {
    this.#edited = null;
    byId('editing').hidden = true;
    this.#draft.value = text;
    this.#fit();
    this.#files.put(files);
  }

  setBusy(isBusy) {
    this.#isBusy = isBusy;
    this.showWords();
    this.#send.querySelector('use').setAttribute('href', isBusy ? '#i-stop' : '#i-send');
  }

  /** Offers what `model` can be told of thinking, and shows what it is told. */
  showThinking(model) {
    const field = byId('thinking');
    const isOffered = (value) => hasDegrees(model) || !DEGREES.includes(value);
    for (const option of field.options) option.hidden = option.disabled = !isOffered(option.value);
    field.value = isOffered(settings.thinking) ? settings.thinking : 'on';
  }

  /** In the language of the moment. */
  showWords() {
    const name = this.#isBusy ? 'stop' : 'send';
    this.#send.dataset.tLabel = name;
    label(this.#send, name);
    if (this.#edited) byId('editing-what').textContent = t(this.#edited.role === 'user' ? 'editing_question' : 'editing_answer');
    this.#files.show();
  }

  #fit() {
    // Browsers that know `field-sizing` (style.css) do it themselves.
    if (CSS.supports('field-sizing', 'content')) return;
    this.#draft.style.height = 'auto';
    this.#draft.style.height = `${this.#draft.scrollHeight}px`;
  }
}

/** Safari ends the composition before it tells of the key, and then only the code 229 gives it away. */
export const isComposing = (event) => event.isComposing || event.keyCode === 229;
