// Colours for code, without holding up whoever reads. What is which part of a language is found in a worker (`highlight-worker.js`). Its answer
// becomes nodes here, some hundred lines at a time and a pause after each; a block of so many lines is laid out by itself:
//
//     code   [ lines ][ lines ] text of the rest
//
// Only spans with a class are made, and text: whatever the answer says, it cannot become more than that.

/** Lines that are laid out together. */
const LINES = 100;
/** What the answer consists of. */
const PIECE = /<span class="([^"]*)">|<\/span>|([^<]+)/g;
const COLOUR = /^hljs-[\w. -]+$/;
const CHARS = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#x27;': '\'' };

let worker = null;
/** Who waits for which answer. */
const waiting = new Map();
let asked = 0;

/** `text` as HTML of spans; `null` if its language is not known. */
function highlighted(text, language) {
  worker ??= started();
  asked += 1;
  const answer = new Promise((resolve, reject) => waiting.set(asked, { resolve, reject }));
  worker.postMessage({ id: asked, text, language });
  return answer;
}

function started() {
  const fresh = new Worker('/assets/highlight-worker.js', { type: 'module' });
  fresh.addEventListener('message', ({ data: { id, html } }) => {
    waiting.get(id)?.resolve(html);
    waiting.delete(id);
  });
  fresh.addEventListener('error', () => {
    // Another may come, such as when the server is there again.
    worker = null;
    for (const { reject } of waiting.values()) reject(new Error('code cannot be coloured'));
    waiting.clear();
  });
  return fresh;
}

/** Colours `code`, a node with nothing but text in `language`, unless its text changes meanwhile. */
export async function colour(code, language) {
  const rest = code.firstChild;
  const html = rest && await highlighted(rest.data, language);
  if (!html) return;
  for (const lines of linesOf(html)) {
    const text = lines.textContent;
    if (rest.parentNode !== code || !rest.data.startsWith(text)) return;
    rest.deleteData(0, text.length);
    rest.before(lines);
    if (rest.length > 0) await new Promise((resolve) => setTimeout(resolve));
  }
  if (rest.length === 0) rest.remove();
}

/** The nodes that `html` asks for, a block for each so many lines. */
function* linesOf(html) {
  let block = null;
  let open = [];
  let count = 0;
  const begin = () => {
    block = span('lines');
    // What goes on from the block before.
    open = open.map((outer) => span(outer.className));
    [block, ...open].reduce((outer, inner) => { outer.append(inner); return inner; });
    count = 0;
  };
  begin();
  for (const [, name, text] of html.matchAll(PIECE)) {
    if (text !== undefined) {
      for (const line of text.replace(/&[#\w]+;/g, (entity) => CHARS[entity] ?? entity).split(/(?<=\n)/)) {
        (open.at(-1) ?? block).append(line);
        if (line.endsWith('\n')) count += 1;
        if (count < LINES) continue;
        yield block;
        begin();
      }
    } else if (name === undefined) {
      open.pop();
    } else {
      const inner = span(COLOUR.test(name) ? name : '');
      (open.at(-1) ?? block).append(inner);
      open.push(inner);
    }
  }
  if (block.textContent !== '') yield block;
}

function span(className) {
  const node = document.createElement('span');
  node.className = className;
  return node;
}
