// The server's API: what is asked of it and how it fails. Every failure is an `ApiError` whose `code` the page has words
// for; only an abort by the reader passes as it is.

import { eventData } from './sse.js';
import { isObject } from './storage.js';

/** `code` is one of key, busy, long, unreachable, broke, or refused; of the last only `message` tells more. */
export class ApiError extends Error {
  constructor(code, message = '') {
    super(message);
    this.code = code;
  }
}

/** What the model is called. */
export async function modelName(key) {
  const response = await ask('/v1/models', key, {});
  const name = (await response.json().catch(() => null))?.data?.[0]?.id;
  return typeof name === 'string' ? name : '';
}

/** The chunks of the answer to `request`, as they come. */
export async function* chat(request, key, signal) {
  const body = { ...request, stream: true, stream_options: { include_usage: true }, return_progress: true };
  const headers = { 'Content-Type': 'application/json' };
  const response = await ask('/v1/chat/completions', key, {
    method: 'POST', headers, body: JSON.stringify(body), signal,
  });
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
  if (status === 401 || code === 'invalid_api_key') return new ApiError('key', message);
  if (status === 429 || code === 'rate_limit_exceeded') return new ApiError('busy', message);
  if (code === 'context_length_exceeded') return new ApiError('long', message);
  return new ApiError('refused', message);
}
