// Where formulas stand in markdown: `$…$` and `\(…\)` within a line, `$$…$$` and `\[…\]` by themselves or within a line. They become
// code of the class "math", which a model's own HTML cannot have; dress.js gives them their shape.

const INLINE = [
  // As pandoc has it, so that prices stay prices: no space after the first dollar nor before the last, and no digit after that.
  /^\$\$((?:\\[^]|[^\\$])+?)\$\$/,
  /^\$(?![\s$])((?:\\[^]|[^\\$\n])*?[^\s\\$]|(?:\\[^]|[^\\$\n])*?\\[^\s])\$(?!\d)/,
  /^\\\(((?:[^\\\n]|\\[^)\n])+?)\\\)/,
  /^\\\[((?:[^\\]|\\[^\]]){1,5000}?)\\\]/,
];
/** Without an empty line: that ends a paragraph, and so whatever was begun in it. */
const BLOCK = [
  /^ {0,3}\$\$((?:\\[^]|[^\\$\n]|\n(?![ \t]*\n))+?)\$\$[ \t]*(?:\n|$)/,
  /^ {0,3}\\\[((?:[^\\\n]|\\[^\]]|\n(?![ \t]*\n))+?)\\\][ \t]*(?:\n|$)/,
];

function first(patterns, src) {
  for (const pattern of patterns) {
    const found = pattern.exec(src);
    if (found && found[1].trim() !== '') return found;
  }
  return null;
}

function paragraphOf(src) {
  const end = src.indexOf('\n\n');
  return end < 0 ? src : src.slice(0, end);
}

/** The extensions of `marked`, which make HTML with the help of `escape`. */
export const mathsExtensions = (escape) => [
  {
    name: 'formulaBlock',
    level: 'block',
    // Only within the paragraph, or a long text would be searched to its end at each of them.
    start: (src) => /\n {0,3}(?:\$\$|\\\[)/.exec(paragraphOf(src))?.index,
    tokenizer(src) {
      const found = first(BLOCK, src);
      return found ? { type: 'formulaBlock', raw: found[0], text: found[1].trim() } : undefined;
    },
    renderer: ({ text }) => `<p><code class="math display">${escape(text)}</code></p>\n`,
  },
  {
    name: 'formula',
    level: 'inline',
    start: (src) => /\$|\\[([]/.exec(src)?.index,
    tokenizer(src) {
      const found = first(INLINE, src);
      const isDisplay = /^(?:\$\$|\\\[)/.test(src);
      return found ? { type: 'formula', raw: found[0], text: found[1].trim(), isDisplay } : undefined;
    },
    renderer: ({ text, isDisplay }) => `<code class="math${isDisplay ? ' display' : ''}">${escape(text)}</code>`,
  },
];
