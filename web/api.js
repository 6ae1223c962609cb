// The server's API: what is asked of it and how it fails. Every failure is an `ApiError` whose `code` the page has words
// for; only an abort by the reader passes as it is.

import { eventData } from './sse.js';
import { isObject } from './storage.js';

/** `code` is one of key, busy, long, unreachable, broke, or refused; of the last only `message` tells more. */
export class ApiError extends Error {
  constructor(code, message = '', status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** What is served, by name. */
export async function modelNames(key) {
  const list = (await json('/v1/models', key))?.data;
  return Array.isArray(list) ? list.map(({ id }) => id).filter((id) => typeof id === 'string') : [];
}

/** The model that answers: its name, and since when. */
export const served = async (key) => (await json('/v1/models', key))?.data?.[0] ?? null;

/** The models that can be had by name, and what is here of them. */
export async function catalogue(key) {
  const list = (await json('/v1/catalogue', key))?.data;
  return Array.isArray(list) ? list : null;
}

/** Does something with a model of the catalogue. */
export const catalogueAct = (method, path, key) => json(`/v1/catalogue/${path}`, key, { method });

/** How many tokens the model would read of `messages`, which may begin with a system prompt. */
export async function countTokens(messages, key, signal) {
  const [first, ...rest] = messages;
  const body = first.role === 'system' ? { system: first.content, messages: rest } : { messages };
  return number((await json('/v1/messages/count_tokens', key, posted(body, signal)))?.input_tokens);
}

/** How many tokens `content` has by itself. */
export async function tokenCount(content, key, signal) {
  return number((await json('/tokenize', key, posted({ content }, signal)))?.tokens?.length);
}

/** What would run here and how fast, for a prompt of so many tokens; `null` if nobody has measured the machine. */
export async function plan(prompt, known, key, signal) {
  try {
    const answer = await json(`/v1/plan?prompt=${prompt}&known=${known}`, key, { signal });
    return Array.isArray(answer?.models) ? answer : null;
  } catch (error) {
    if (error.status === 503 || error.status === 404) return null;
    throw error;
  }
}

/** Lets the model read what `request` says, and answer next to nothing. */
export const readAlong = (request, key, signal) =>
  json('/v1/chat/completions', key, posted({ ...request, max_tokens: 1, stream: false }, signal));

/** The chunks of the answer to `request`, as they come. */
export async function* chat(request, key, signal) {
  const body = { ...request, stream: true, stream_options: { include_usage: true }, return_progress: true };
  const response = await ask('/v1/chat/completions', key, posted(body, signal));
  try {
    for await (const data of eventData(response.body)) {
      if (data === '[DONE]') return;
      const chunk = JSON.parse(data);
      if (!isObject(chunk)) throw new ApiError('broke', 'a chunk is no object');
      if (chunk.error) throw failure(200, chunk);
      yield chunk;
    }
  } catch (error) {
    if (error instanceof ApiError || signal.aborted) throw error;
    throw new ApiError('broke', String(error));
  }
  throw new ApiError('broke', 'the stream ended before the answer did');
}

const posted = (body, signal) => ({
  method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body), signal,
});

const json = async (path, key, options = {}) => (await ask(path, key, options)).json().catch(() => null);

async function ask(path, key, options) {
  const headers = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: 'omit', cache: 'no-store' });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError('unreachable', String(error));
  }
  if (!response.ok) throw failure(response.status, await response.json().catch(() => null));
  return response;
}

function failure(status, body) {
  const message = typeof body?.error?.message === 'string' ? body.error.message : `HTTP ${status}`;
  const code = body?.error?.code;
  if (status === 401 || code === 'invalid_api_key') return new ApiError('key', message, status);
  if (status === 429 || code === 'rate_limit_exceeded') return new ApiError('busy', message, status);
  if (code === 'context_length_exceeded') return new ApiError('long', message, status);
  return new ApiError('refused', message, status);
}

const number = (value) => (Number.isFinite(value) ? value : 0);
