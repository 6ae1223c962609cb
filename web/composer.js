// Where the reader writes: a field that grows with its text, and one button that sends, or stops while an answer is written.
// Enter sends, but not the Enter that ends the composition of a character (Chinese, Japanese, Korean input).

import { label } from './strings.js';

const byId = (id) => document.getElementById(id);

export class Composer {
  #draft = byId('draft');
  #send = byId('send');
  #isBusy = false;
  #isEditing = false;
  #setAside = '';

  /** `onSend(text, isEdit)` is told what to send, `onStop` that the reader has had enough. */
  constructor({ onSend, onStop }) {
    const send = () => {
      const text = this.#draft.value.trim();
      if (text === '' || this.#isBusy) return;
      const isEdit = this.#isEditing;
      this.#leaveEditing('');
      onSend(text, isEdit);
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
    this.#draft.addEventListener('input', () => this.#fit());
    byId('cancel-edit').addEventListener('click', () => this.cancelEdit());
    document.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape' || isComposing(event) || document.querySelector('dialog[open]')) return;
      if (this.#isBusy) onStop();
      else this.cancelEdit();
    });
    // Where a finger writes, focus would bring up the keyboard before anyone has looked around.
    if (matchMedia('(pointer: fine)').matches) this.focus();
  }

  focus() {
    this.#draft.focus({ preventScroll: true });
  }

  /** Puts `text` into the field for the reader to go on with. */
  write(text) {
    this.#draft.value = text;
    this.#fit();
    this.focus();
  }

  /** Lets the reader change `text`, which was sent before; what stood in the field comes back afterwards. */
  edit(text) {
    if (!this.#isEditing) this.#setAside = this.#draft.value;
    this.#isEditing = true;
    byId('editing').hidden = false;
    this.write(text);
  }

  cancelEdit() {
    if (!this.#isEditing) return;
    this.#leaveEditing(this.#setAside);
    this.focus();
  }

  #leaveEditing(text) {
    this.#isEditing = false;
    byId('editing').hidden = true;
    this.#draft.value = text;
    this.#fit();
  }

  setBusy(isBusy) {
    this.#isBusy = isBusy;
    this.showWords();
    this.#send.querySelector('use').setAttribute('href', isBusy ? '#i-stop' : '#i-send');
  }

  /** In the language of the moment. */
  showWords() {
    const name = this.#isBusy ? 'stop' : 'send';
    this.#send.dataset.tLabel = name;
    label(this.#send, name);
  }

  #fit() {
    // Browsers that know `field-sizing` (style.css) do it themselves.
    if (CSS.supports('field-sizing', 'content')) return;
    this.#draft.style.height = 'auto';
    this.#draft.style.height = `${this.#draft.scrollHeight}px`;
  }
}

/** Safari ends the composition before it tells of the key, and then only the code 229 gives it away. */
const isComposing = (event) => event.isComposing || event.keyCode === 229;
