// Server-sent events read by hand. The browser's own `EventSource` can neither send a body nor show an error's, and a
// `fetch` can be aborted. Of each event only its data matters here; comments (": keep-alive") fall away as the standard
// (WHATWG HTML, 9.2.6) has it.

/** Longest event, in characters: beyond it the other side is no server of ours. */
const EVENT_CHARS_MAX = 1 << 20;

/** The data of each event of `stream`, a stream of bytes that may be cut anywhere, also within a character. */
export async function* eventData(stream) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return; // An event without its empty line is incomplete and not told.
      rest += decoder.decode(value, { stream: true });
      // A carriage return at the very end may be half of a line's end: it waits for what follows.
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === '') {
          if (data.length > 0) yield data.join('\n');
          data = [];
        } else if (line.startsWith('data:')) {
          data.push(line.slice(line[5] === ' ' ? 6 : 5));
        }
      }
      const held = data.reduce((sum, line) => sum + line.length, rest.length);
      if (held > EVENT_CHARS_MAX) throw new Error(`an event has more than ${EVENT_CHARS_MAX} characters`);
    }
  } finally {
    // Whoever stops listening early lets go of the connection, and so of the model.
    reader.cancel().catch(() => {});
  }
}
