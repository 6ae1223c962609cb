// Text files that go with a message: chosen, dropped or pasted. Each is shown with what it costs in tokens, and leaves when the
// message does.

import { el, icon } from './dom.js';
import { t } from './strings.js';

const FILES_MAX = 20;
const FILE_BYTES_MAX = 2_000_000;

const byId = (id) => document.getElementById(id);

export class Attachments {
  /** `{ name, text, tokens }`; tokens are `null` until the server has counted them. */
  files = [];
  #count;
  #onChange;
  #refuse;

  /** `count(text)` promises how many tokens a text has, `onChange` hears of each change, `refuse(words)` says why a file is not taken. */
  constructor({ count, onChange, refuse }) {
    this.#count = count;
    this.#onChange = onChange;
    this.#refuse = refuse;
    const chooser = byId('files');
    byId('attach').addEventListener('click', () => chooser.click());
    chooser.addEventListener('change', async () => {
      await this.take(chooser.files);
      chooser.value = '';
    });
    byId('draft').addEventListener('paste', (event) => {
      if (event.clipboardData.files.length === 0) return;
      event.preventDefault();
      this.take(event.clipboardData.files);
    });
    this.#wireDrop();
  }

  #wireDrop() {
    const holdsFiles = (event) => event.dataTransfer?.types.includes('Files');
    addEventListener('dragover', (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      document.body.dataset.drop = 'yes';
    });
    const leave = () => delete document.body.dataset.drop;
    addEventListener('dragleave', (event) => { if (event.relatedTarget === null) leave(); });
    addEventListener('drop', (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      leave();
      this.take(event.dataTransfer.files);
    });
  }

  /** Takes those of `list` (of `File`s) that are text. */
  async take(list) {
    for (const file of list) {
      if (this.files.length >= FILES_MAX) this.#refuse(t('files_many', { n: FILES_MAX }));
      else if (file.size > FILE_BYTES_MAX) this.#refuse(t('file_long', { name: file.name, n: FILE_BYTES_MAX / 1000 }));
      else await this.#takeOne(file);
    }
  }

  async #takeOne(file) {
    const text = textOf(await file.arrayBuffer());
    if (text === null) {
      this.#refuse(t('file_not_text', { name: file.name }));
      return;
    }
    const taken = { name: file.name, text, tokens: null };
    this.put([...this.files, taken]);
    // Without its cost, if the server does not say.
    taken.tokens = await this.#count(text).catch(() => null);
    this.show();
  }

  put(files) {
    this.files = files;
    this.show();
    this.#onChange();
  }

  show() {
    const list = byId('attached');
    list.hidden = this.files.length === 0;
    list.replaceChildren(...this.files.map((file) => {
      const away = el('button', { type: 'button', className: 'quiet-button' }, icon('close'));
      away.setAttribute('aria-label', t('detach', { name: file.name }));
      away.addEventListener('click', () => this.put(this.files.filter((other) => other !== file)));
      const cost = el('span', { className: 'quiet', textContent: file.tokens === null ? '' : t('tokens', { n: file.tokens }) });
      return el('li', { className: 'chip' }, icon('file'), el('span', { className: 'chip-name', textContent: file.name }), cost, away);
    }));
  }
}

/** The text in `bytes`; `null` if it is none. */
export function textOf(bytes) {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return text.includes('\0') ? null : text;
  } catch {
    return null;
  }
}
