// How often the page is painted while an answer comes: tokens may come a thousand a second, eyes and batteries are served by
// twelve.

/** Shortest time between two updates, in milliseconds. */
const PAUSE_MIN = 80;
/** An update that took long is followed by a pause this many times as long, so that the page stays free for the reader. */
const PAUSE_SHARE = 4;

export class Pace {
  #update;
  #timer = 0;
  #pause = PAUSE_MIN;

  constructor(update) {
    this.#update = update;
  }

  /** Updates before long; many calls make one update. */
  soon() {
    this.#timer ||= setTimeout(() => this.now(), this.#pause);
  }

  now() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const start = performance.now();
    this.#update();
    this.#pause = Math.max(PAUSE_MIN, PAUSE_SHARE * (performance.now() - start));
  }
}
