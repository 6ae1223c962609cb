// An answer while it comes: what each chunk of the stream changes in its message. No page, no clock and no network, so
// that a test can play any stream.

/** A message that waits for its first chunk. */
export function emptyAnswer() {
  return {
    role: 'assistant',
    /** Who answers. */
    model: '',
    /** waiting, reading (the prompt), thinking or writing; at the end done, stopped or failed. */
    state: 'waiting',
    content: '',
    reasoning: '',
    /** How long the model thought, in milliseconds, and in tokens: while it thinks, in pieces that came. */
    reasoningMs: 0,
    reasoningTokens: 0,
    /** Whether the reader ended its thoughts. */
    isHurried: false,
    /** How long its first token took, in milliseconds; 0 if it never came. */
    firstMs: 0,
    /** `{ read, total }` tokens of the prompt, while it is read. */
    progress: null,
    /** `{ tokens, perSecond, cached, prompt }`, from the last chunk. */
    figures: null,
    miss: null,
    /** For each token of the content, if they were asked for: `{ bytes, logprob, others: [{ bytes, logprob }] }`. */
    tokens: [],
    /** Whether the limit of tokens ended it. */
    isCut: false,
    /** `{ code, message }` if it failed. */
    error: null,
  };
}

export const isOpen = (message) => ['waiting', 'reading', 'thinking', 'writing'].includes(message.state);

/** Changes `message` by one `chunk` that came at `now` (milliseconds, from any start). */
export function apply(message, chunk, now) {
  const { prompt_progress: progress, usage, timings } = chunk;
  if (typeof chunk.model === 'string') message.model = chunk.model;
  if (progress && ['waiting', 'reading'].includes(message.state)) {
    message.state = 'reading';
    message.progress = { read: number(progress.processed), total: number(progress.total) };
  }
  const choice = chunk.choices?.[0];
  const { reasoning_content: reasoning, content } = choice?.delta ?? {};
  if (typeof reasoning === 'string' && reasoning !== '') {
    if (message.state !== 'thinking') message.thinkingSince = now - message.reasoningMs;
    message.state = 'thinking';
    message.reasoning += reasoning;
    message.reasoningTokens += 1;
    tick(message, now);
  }
  if (typeof content === 'string' && content !== '') {
    tick(message, now);
    message.state = 'writing';
    message.content += content;
  }
  if (Array.isArray(choice?.logprobs?.content)) message.tokens.push(...choice.logprobs.content.map(tokenOf));
  if (choice?.finish_reason === 'length') message.isCut = true;
  if (usage) {
    message.figures = {
      tokens: number(usage.completion_tokens),
      prompt: number(usage.prompt_tokens),
      cached: number(usage.prompt_tokens_details?.cached_tokens ?? timings?.cache_n),
      perSecond: number(timings?.predicted_per_second),
      memoryBytes: number(timings?.memory_bytes_per_token),
      diskBytes: number(timings?.disk_bytes_per_token),
    };
    message.miss = missOf(timings?.cache_miss);
    const thought = number(usage.completion_tokens_details?.reasoning_tokens);
    if (thought > 0) message.reasoningTokens = thought;
  }
}

/** Why a prompt was not known further, of what the server says of it; `null` if it does not. */
export function missOf(miss) {
  if (!['first', 'new', 'differs', 'forgotten', 'answer'].includes(miss?.reason)) return null;
  const text = (name) => (typeof miss[name] === 'string' ? miss[name] : '');
  const { reason, lost_tokens: lost, byte } = miss;
  return { reason, lost: number(lost), byte: number(byte), before: text('before'), earlier: text('earlier'), now: text('now') };
}

const choiceOf = ({ bytes, logprob }) => ({ bytes, logprob });
const tokenOf = (token) => ({ ...choiceOf(token), others: (token.top_logprobs ?? []).map(choiceOf) });

/** Lets the time of thinking go on. */
export function tick(message, now) {
  if (message.state === 'thinking') message.reasoningMs = now - message.thinkingSince;
}

/** Lets `message`, which was stopped in its thoughts, wait for what the model says after them. */
export function reopen(message, now) {
  tick(message, now);
  message.state = 'waiting';
  message.isHurried = true;
  delete message.thinkingSince;
}

/** Ends `message` as done, stopped or failed. */
export function close(message, state, now, error = null) {
  tick(message, now);
  message.state = state;
  message.progress = null;
  message.error = error;
  delete message.thinkingSince;
  delete message.usualThought;
}

const number = (value) => (Number.isFinite(value) ? value : 0);
