// The browser's small storage, which may be full, blocked, or hold anything at all: reading then finds nothing, and writing
// says whether it worked. What is read is unchecked; whoever asked knows what it should look like.

/** The value kept under `key`, or `undefined`. `area` is 'localStorage' or 'sessionStorage': a name, as even touching a
 *  blocked one throws. */
export function read(area, key) {
  try {
    const text = globalThis[area].getItem(key);
    return text === null ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Keeps `value` under `key`; false if the browser would not. */
export function write(area, key, value) {
  try {
    globalThis[area].setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** Forgets what is kept under `key`. */
export function drop(area, key) {
  try {
    globalThis[area].removeItem(key);
  } catch {
    // Blocked, so there is nothing.
  }
}

export const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
