// Markdown to nodes that are safe to show. Two gates, one behind the other: `marked` is told to show the model's HTML as
// the text it is, and whatever it makes goes through DOMPurify, which leaves a short list of tags. This is the only file where
// text becomes nodes.

import { mathsExtensions } from './maths.js';
import { Marked } from './vendor/marked.esm.js';
import './vendor/purify.min.js';

// It is no module: it leaves its name with the page.
const { DOMPurify } = globalThis;

/** HTML that models write for want of markdown, and that says nothing but how text looks. */
const PLAIN_TAG = /^<\/?(?:b|br|del|em|i|ins|kbd|mark|s|small|strong|sub|sup|u)\s*\/?>$/i;

const SAFE = {
  ALLOWED_TAGS: [
    'a', 'b', 'blockquote', 'br', 'code', 'del', 'em', 'h3', 'h4', 'h5', 'h6', 'hr', 'i', 'input', 'ins', 'kbd', 'li', 'mark',
    'ol', 'p', 'pre', 's', 'small', 'strong', 'sub', 'sup', 'table', 'tbody', 'td', 'th', 'thead', 'tr', 'u', 'ul',
  ],
  ALLOWED_ATTR: ['align', 'checked', 'class', 'disabled', 'href', 'start', 'title', 'type'],
  // Only these two may hold anything; an address must be one of the web or of mail.
  ADD_URI_SAFE_ATTR: ['align', 'start', 'type'],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

DOMPurify.addHook('uponSanitizeAttribute', (node, attribute) => {
  // The class of code names its language. Anywhere else it would only dress text up as part of the page.
  if (attribute.attrName === 'class' && node.nodeName !== 'CODE') attribute.keepAttr = false;
});
DOMPurify.addHook('afterSanitizeAttributes', (node) => {
  if (node.nodeName !== 'A') return;
  node.setAttribute('target', '_blank');
  node.setAttribute('rel', 'noopener noreferrer');
});

const escape = (text) =>
  text.replace(/[&<>"']/g, (char) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[char]);

const marked = new Marked({
  gfm: true,
  renderer: {
    html({ text, block }) {
      if (PLAIN_TAG.test(text.trim())) return text;
      return block ? `<p>${escape(text.trim())}</p>` : escape(text);
    },
    // A picture from elsewhere would tell that it was looked at, so it is a link.
    image({ href, text }) {
      return `<a href="${escape(href)}">${escape(text || href)}</a>`;
    },
    // The page's own headings are the first two.
    heading({ tokens, depth }) {
      const level = Math.min(depth + 2, 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>\n`;
    },
  },
});
marked.use({ extensions: mathsExtensions(escape) });

/** The blocks of `text`: markdown's top level, without what shows nothing. Each says where it begins in `text`; `null` if
 *  the parser has changed the text so that nobody knows. */
export function blocksOf(text) {
  const tokens = marked.lexer(text);
  const blocks = [];
  let start = 0;
  for (const token of tokens) {
    if (start !== null && !text.startsWith(token.raw, start)) start = null;
    if (token.type !== 'space' && token.type !== 'def') blocks.push({ token, start, html: htmlOf(token, tokens.links) });
    if (start !== null) start += token.raw.length;
  }
  return blocks;
}

/** The HTML of a list or a table in parts that stand by themselves, items or rows: `{ open, parts, close }`. `null` if `block` is
 *  something else, or has HTML of the model's that may reach from one part into the next. */
export function partsOf({ token, html }) {
  const name = { list: 'items', table: 'rows' }[token.type];
  if (!name || token[name].length === 0 || /<\/?[a-z]/i.test(token.raw)) return null;
  const [open] = token.type === 'list' ? /^<[^>]*>\n/.exec(html) : /^[^]*?<tbody>/.exec(html);
  const close = token.type === 'list' ? `</${token.ordered ? 'ol' : 'ul'}>\n` : '</tbody></table>\n';
  const parts = token[name].map((part) => htmlOf({ ...token, [name]: [part] }, token.links).slice(open.length, -close.length));
  return open + parts.join('') + close === html ? { open, parts, close } : null;
}

const htmlOf = (token, links) => marked.parser(Object.assign([token], { links }));

/** The nodes of `html`, as far as they are harmless. */
export const safeNodes = (html) => DOMPurify.sanitize(html, SAFE);
