// Formulas: KaTeX makes nodes of TeX, with MathML beside them for screen readers. It builds them by itself and not from HTML, and is told
// to trust nothing: no links, no pictures, no classes of the text's choice, no macro that goes on for ever.

import './vendor/katex/katex.min.js';

// It is no module: it leaves its name with the page.
const { katex } = globalThis;

const OPTIONS = { throwOnError: true, trust: false, strict: 'ignore', maxSize: 20, maxExpand: 500 };

const sheet = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: '/assets/vendor/katex/katex.min.css' });
document.head.append(sheet);

/** Shows in place of `code` the formula `text`; what cannot be understood stays as it is. */
export function render(code, text, displayMode) {
  const node = document.createElement('span');
  try {
    katex.render(text, node, { ...OPTIONS, displayMode });
  } catch {
    return;
  }
  node.className = displayMode ? 'formula display' : 'formula';
  const frame = displayMode ? code.closest('pre') ?? code : code;
  frame.replaceWith(node);
}
