// Files that go with a message, as text: chosen, dropped or pasted. Each is shown with what it costs in tokens, and leaves when the
// message does. Of a PDF file it is the text on its pages, which takes a while to be read.

import { el, icon } from './dom.js';
import { t } from './strings.js';

const FILES_MAX = 20;
const FILE_BYTES_MAX = 2_000_000;
/** Most of it is pictures and fonts. */
const PDF_BYTES_MAX = 50_000_000;

const byId = (id) => document.getElementById(id);

export class Attachments {
  /** `{ name, text, tokens }`; tokens are `null` until the server has counted them. */
  files = [];
  /** Those that are being read: `{ name, stop }`, with what ends it. */
  #coming = [];
  #lists = 0;
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

  /** Whether files are still being read. */
  get isReading() {
    return this.#lists > 0;
  }

  /** Takes those of `list` (of `File`s) that are text or have text. */
  async take(list) {
    this.#lists += 1;
    try {
      for (const file of list) {
        const bytesMax = isCalledPdf(file) ? PDF_BYTES_MAX : FILE_BYTES_MAX;
        if (this.files.length + this.#coming.length >= FILES_MAX) this.#refuse(t('files_many', { n: FILES_MAX }));
        else if (file.size > bytesMax) this.#refuse(t('file_long', { name: file.name, n: bytesMax / 1000 }));
        else await this.#takeOne(file);
      }
    } finally {
      this.#lists -= 1;
    }
  }

  async #takeOne(file) {
    const text = isCalledPdf(file) ? await this.#pdfText(file) : textOf(await file.arrayBuffer());
    if (text === undefined) return;
    if (text === null) {
      this.#refuse(t('file_not_text', { name: file.name }));
      return;
    }
    const taken = { name: file.name, text, tokens: null };
    this.put([...this.files, taken]);
    // Without its cost, if the server does not say.
    this.#count(text).catch(() => null).then((tokens) => {
      taken.tokens = tokens;
      this.show();
    });
  }

  /** The text of a PDF file; `undefined` if the reader has been told that it has none to be had, or has taken the file away. */
  async #pdfText(file) {
    const ended = new AbortController();
    const coming = { name: file.name, stop: () => ended.abort() };
    this.#coming.push(coming);
    this.show();
    try {
      const { textOfPdf } = await import('./pdf-text.js');
      const text = await textOfPdf(new Uint8Array(await file.arrayBuffer()), FILE_BYTES_MAX, ended.signal);
      if (ended.signal.aborted) return undefined;
      if (text.length > FILE_BYTES_MAX) this.#refuse(t('file_long', { name: file.name, n: FILE_BYTES_MAX / 1000 }));
      else if (text === '') this.#refuse(t('pdf_without_text', { name: file.name }));
      else return text;
    } catch (error) {
      console.info(error);
      if (!ended.signal.aborted) this.#refuse(t(error?.name === 'PasswordException' ? 'pdf_locked' : 'pdf_unreadable', { name: file.name }));
    } finally {
      this.#coming = this.#coming.filter((other) => other !== coming);
      this.show();
    }
    return undefined;
  }

  put(files) {
    this.files = files;
    this.show();
    this.#onChange();
  }

  show() {
    const list = byId('attached');
    list.hidden = this.files.length + this.#coming.length === 0;
    list.replaceChildren(
      ...this.files.map((file) => chip(
        file.name,
        file.tokens === null ? '' : t('tokens', { n: file.tokens }),
        () => this.put(this.files.filter((other) => other !== file)),
      )),
      ...this.#coming.map(({ name, stop }) => chip(name, t('file_reading'), stop)),
    );
  }
}

/** A file by its name, what is said of it, and a button that takes it away. */
function chip(name, said, onAway) {
  const away = el('button', { type: 'button', className: 'quiet-button' }, icon('close'));
  away.setAttribute('aria-label', t('detach', { name }));
  away.addEventListener('click', onAway);
  return el('li', { className: 'chip' }, icon('file'), el('span', { className: 'chip-name', textContent: name }), el('span', { className: 'quiet', textContent: said }), away);
}

const isCalledPdf = ({ name, type }) => type === 'application/pdf' || /\.pdf$/i.test(name);

/** The text in `bytes`; `null` if it is none. */
export function textOf(bytes) {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return text.includes('\0') ? null : text;
  } catch {
    return null;
  }
}
