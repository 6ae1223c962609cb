// How long a model still thinks, as far as earlier thoughts tell: the usual length of them, less what it has thought by now, at the
// rate of now. Of what the model is about to think nobody knows anything, so with few earlier ones nothing is said, and nothing more
// once this one is longer than they were.

import { isObject } from './storage.js';

/** Most earlier thoughts that count, the newest, and fewest that say something. */
const COUNTED_MAX = 15;
const COUNTED_MIN = 3;
/** Most thoughts of one conversation that are kept for this. */
const KEPT_MAX = 10;
/** What a thought has to have before it has a rate, in tokens and milliseconds. */
const TOKENS_MIN = 10;
const MS_MIN = 1000;

/** The thoughts among `messages` that came to their end by themselves, the newest first: `{ model, tokens }`. */
export function thoughtsOf(messages) {
  // Whoever goes on with an answer or changes it keeps its thoughts, which were thought but once.
  const seen = new Set();
  const found = [];
  for (const { model, content, reasoning, reasoningTokens: tokens, isHurried } of messages) {
    if (!reasoning || seen.has(reasoning)) continue;
    seen.add(reasoning);
    if (model !== '' && content !== '' && tokens > 0 && !isHurried) found.push({ model, tokens });
  }
  return found.slice(-KEPT_MAX).reverse();
}

/** How many tokens `model` usually thinks by the `heads` of a library, the newest first; 0 if they do not say. */
export function usualThought(heads, model) {
  const all = heads.flatMap(({ thoughts }) => (Array.isArray(thoughts) ? thoughts : []));
  const isOne = (thought) => isObject(thought) && thought.model === model && Number.isFinite(thought.tokens);
  const lengths = all.filter(isOne).map(({ tokens }) => tokens).slice(0, COUNTED_MAX).sort((a, b) => a - b);
  if (model === '' || lengths.length < COUNTED_MIN) return 0;
  const half = lengths.length / 2;
  return (lengths[Math.ceil(half) - 1] + lengths[Math.floor(half)]) / 2;
}

/** How much longer `message` is thought about, in milliseconds; 0 if nobody knows. */
export function thoughtRest({ usualThought: usual = 0, reasoningTokens: tokens, reasoningMs: ms }) {
  if (tokens < TOKENS_MIN || ms < MS_MIN || tokens >= usual) return 0;
  return coarse((usual - tokens) * (ms / tokens));
}

/** `ms` in steps that promise no more than is known. */
function coarse(ms) {
  const step = ms < 10_000 ? 1000 : ms < 60_000 ? 5000 : 30_000;
  return Math.ceil(ms / step) * step;
}
