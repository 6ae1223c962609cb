// Reading along: while the reader pauses, the server already reads what stands there, so that after Send only the rest is new to it. As
// soon as the text changes the reading is stopped; what was read of the common beginning stays known.

import { readAlong } from './api.js';

/** How long the reader has to pause, in milliseconds. */
const PAUSE = 900;

export class Prefill {
  #request;
  #key;
  #timer = 0;
  #reading = null;

  /** `request()` says what would be sent, or `null`. */
  constructor(request, key) {
    this.#request = request;
    this.#key = key;
  }

  /** What stands there has changed. */
  typed() {
    this.stop();
    this.#timer = setTimeout(() => this.#read(), PAUSE);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#reading?.abort();
    this.#reading = null;
  }

  async #read() {
    const request = this.#request();
    if (request === null) return;
    this.#reading = new AbortController();
    // It may fail, and nobody needs to know.
    await readAlong(request, this.#key(), this.#reading.signal).catch(() => {});
  }
}
