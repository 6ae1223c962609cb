// What sending would cost, before it is sent: tokens of the prompt, how many of them the server knows from before, how long until the
// first word, and how full the context gets. A server that does not say is not asked again, and nothing is shown.

import { countTokens, plan } from './api.js';
import { read, write } from './storage.js';
import { shortDuration, t } from './strings.js';

/** How long the reader has to pause before the server is asked, in milliseconds. */
const PAUSE = 350;
const UNPLANNED = 'shoal.unplanned';

const byId = (id) => document.getElementById(id);

export class Forecast {
  #wanted;
  #key;
  #timer = 0;
  #asking = new AbortController();
  #shown = null;

  /** `wanted()` says what would be sent: `{ messages, known, isDraft }`, or `null` if nothing would be. */
  constructor(wanted, key) {
    this.#wanted = wanted;
    this.#key = key;
  }

  /** Before long, and once for many calls. */
  soon() {
    clearTimeout(this.#timer);
    this.#asking.abort();
    this.#timer = setTimeout(() => this.#ask(), PAUSE);
  }

  /** Another model answers: what was said of the one before holds no more. */
  forget() {
    write('sessionStorage', UNPLANNED, false);
    this.soon();
  }

  async #ask() {
    this.#asking = new AbortController();
    const { signal } = this.#asking;
    const wanted = this.#wanted();
    this.#shown = null;
    if (wanted) {
      try {
        const prompt = await countTokens(wanted.messages, this.#key(), signal);
        const known = Math.max(0, Math.min(wanted.known, prompt - 1));
        this.#shown = { prompt, known, isDraft: wanted.isDraft, served: await this.#served(prompt, known, signal) };
      } catch {
        // Stopped, or a server that does not say.
      }
    }
    if (!signal.aborted) this.show();
  }

  /** What the planner says of the model that answers; `null` if it says nothing. */
  async #served(prompt, known, signal) {
    if (prompt < 1 || read('sessionStorage', UNPLANNED)) return null;
    const answer = await plan(prompt, known, this.#key(), signal);
    if (answer === null) write('sessionStorage', UNPLANNED, true);
    return answer?.models.find(({ served }) => served) ?? null;
  }

  /** In the language of the moment. */
  show() {
    const [line, gauge] = [byId('forecast'), byId('gauge')];
    const { prompt, known, isDraft, served } = this.#shown ?? {};
    const all = served?.context ?? 0;
    gauge.hidden = !(all > 0);
    if (all > 0) {
      const words = t('gauge', { used: prompt, all });
      Object.assign(gauge, { max: all, high: 0.85 * all, optimum: 0, value: prompt, title: words, textContent: words });
      gauge.setAttribute('aria-label', words);
    }
    line.textContent = !isDraft ? '' : this.#words(prompt, known, served, all);
    line.hidden = line.textContent === '';
  }

  #words(prompt, known, served, all) {
    if (all > 0 && prompt > all) return t('too_long', { all });
    const first = served?.first_token_s;
    if (!Number.isFinite(first)) return t('forecast_bare', { prompt });
    return t('forecast', { prompt, known, time: shortDuration(first * 1000) });
  }
}
