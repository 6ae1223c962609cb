// Which words two texts share: Myers' shortest edit script (An O(ND) difference algorithm, 1986) over words, after what is the same at
// both ends has been taken off.
//
//     frontier[k] is how far down diagonal k = x - y one gets with `d` edits. Each round takes one edit more and goes on along
//     equal words, until one diagonal reaches both ends. The frontiers of all rounds, walked backwards, are the edits.

/** Most edits that are looked for. Texts that differ more are shown as one taken away and one put in. */
const EDITS_MAX = 1000;

/** The words of `text`, and what is between them. */
export function wordsOf(text) {
  if (!globalThis.Intl?.Segmenter) return text.match(/\s+|[^\s]+/g) ?? [];
  return Array.from(new Intl.Segmenter(undefined, { granularity: 'word' }).segment(text), ({ segment }) => segment);
}

/** The parts of `a` and `b` in order: `{ kind: 'same' | 'less' | 'more', text }`; "less" is in `a` alone, "more" in `b` alone. */
export function diff(a, b) {
  const [x, y] = [wordsOf(a), wordsOf(b)];
  let start = 0;
  while (start < x.length && start < y.length && x[start] === y[start]) start += 1;
  let end = 0;
  while (end < x.length - start && end < y.length - start && x.at(-1 - end) === y.at(-1 - end)) end += 1;
  const parts = [];
  const put = (kind, text) => {
    if (text === '') return;
    if (parts.at(-1)?.kind === kind) parts.at(-1).text += text;
    else parts.push({ kind, text });
  };
  put('same', x.slice(0, start).join(''));
  for (const [kind, word] of edits(x.slice(start, x.length - end), y.slice(start, y.length - end))) put(kind, word);
  put('same', x.slice(x.length - end).join(''));
  return parts;
}

function edits(x, y) {
  const rounds = [];
  let frontier = new Map([[1, 0]]);
  for (let d = 0; d <= Math.min(EDITS_MAX, x.length + y.length); d += 1) {
    const next = new Map();
    for (let k = -d; k <= d; k += 2) {
      let at = k === -d || (k !== d && (frontier.get(k - 1) ?? -1) < (frontier.get(k + 1) ?? -1)) ? frontier.get(k + 1) : frontier.get(k - 1) + 1;
      while (at < x.length && at - k < y.length && x[at] === y[at - k]) at += 1;
      next.set(k, at);
      if (at >= x.length && at - k >= y.length) return walkBack([...rounds, frontier], x, y);
    }
    rounds.push(frontier);
    frontier = next;
  }
  return [...x.map((word) => ['less', word]), ...y.map((word) => ['more', word])];
}

/** The edits, from the frontiers that each round began with. */
function walkBack(rounds, x, y) {
  const found = [];
  let [at, down] = [x.length, y.length];
  for (let d = rounds.length - 1; d >= 0; d -= 1) {
    const frontier = rounds[d];
    const k = at - down;
    const isMore = k === -d || (k !== d && (frontier.get(k - 1) ?? -1) < (frontier.get(k + 1) ?? -1));
    const from = d === 0 ? 0 : frontier.get(isMore ? k + 1 : k - 1);
    const fromDown = d === 0 ? 0 : from - (isMore ? k + 1 : k - 1);
    while (at > from && down > fromDown) {
      at -= 1;
      down -= 1;
      found.push(['same', x[at]]);
    }
    if (d === 0) break;
    found.push(isMore ? ['more', y[fromDown]] : ['less', x[from]]);
    [at, down] = [from, fromDown];
  }
  return found.reverse();
}
