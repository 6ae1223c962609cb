// Two helpers that make nodes, and two that take text out of the page.

/** An element with `properties` (of the DOM, not attributes) and `children`. */
export function el(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** A picture from the sheet in index.html. It says nothing to a screen reader: whatever holds it has words. */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Copies `text`; false if the browser would not. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Over plain HTTP from another machine there is no clipboard, only this older way.
    const area = el('textarea', { value: text, className: 'unseen', readOnly: true });
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const worked = document.execCommand('copy');
    area.remove();
    focused?.focus();
    return worked;
  }
}

/** Gives the reader a file. */
export function saveFile(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  el('a', { href: address, download: name }).click();
  // The browser has to have begun to read it.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
