// The text of PDF files: pdf.js, which is loaded when the first such file comes. It reads in a worker of its own, one for each file, that
// can be ended whatever a file makes it do. Pictures, fonts and forms are left alone: nothing is painted here.

import { getDocument, PDFWorker } from './vendor/pdf/pdf.min.mjs';

const READER = '/assets/vendor/pdf/pdf.worker.min.mjs';
const CHARACTERS = new URL('vendor/pdf/cmaps/', import.meta.url).href;

/** The text of the PDF file in `bytes`, page after page, of as many pages as it takes for more than `charsMax` characters. Empty if it has
 *  none, such as one of scanned pages. Throws if it cannot be read, and once `signal` says that it need not be. */
export async function textOfPdf(bytes, charsMax, signal) {
  const thread = new Worker(READER, { type: 'module' });
  const ended = new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
    // It did not come, such as when the server has gone.
    thread.addEventListener('error', () => reject(new Error('the reader of PDF files has failed')));
  });
  try {
    signal.throwIfAborted();
    return await Promise.race([read(bytes, charsMax, new PDFWorker({ port: thread, verbosity: 0 })), ended]);
  } finally {
    thread.terminate();
  }
}

async function read(bytes, charsMax, worker) {
  const { promise } = getDocument({
    data: bytes,
    worker,
    // Old Chinese files name tables of characters that everybody is said to have.
    cMapUrl: CHARACTERS,
    cMapPacked: true,
    useWasm: false,
    useSystemFonts: false,
    disableFontFace: true,
  });
  const file = await promise;
  let text = '';
  for (let n = 1; n <= file.numPages && text.length <= charsMax; n += 1) {
    const page = await file.getPage(n);
    const { items } = await page.getTextContent();
    const words = items.map(({ str, hasEOL }) => (hasEOL ? `${str}\n` : str)).join('').trim();
    if (words !== '') text += `${text === '' ? '' : '\n\n'}${words}`;
    page.cleanup();
  }
  return text;
}
