// What is done to a block of an answer once it is complete: code gets its colours, formulas their shape. Both need libraries that
// most conversations do without, so those are loaded when the first such block comes; until then, and if they cannot be, the block
// stays as it is, which is to be read as well.

/** Longest code and longest formula that are dressed, in characters. */
const CODE_MAX = 100_000;
const FORMULA_MAX = 5000;

/** Dresses `block`, a node of a `Prose`. */
export async function dress(block) {
  const codes = [...block.querySelectorAll('pre > code[class^="language-"]')];
  const formulas = [...block.querySelectorAll('code.math')];
  try {
    if (codes.length > 0) await colour(codes);
    if (formulas.length > 0) await shape(formulas);
  } catch (error) {
    // The file did not come, such as when the server has gone.
    console.info(error);
  }
}

async function colour(codes) {
  const colours = await import('./colours.js');
  for (const code of codes) {
    const isPlain = code.childNodes.length === 1 && code.firstChild.nodeType === Node.TEXT_NODE;
    const language = /language-(\S+)/.exec(code.className)?.[1] ?? '';
    if (isPlain && code.firstChild.length <= CODE_MAX) await colours.colour(code, language);
  }
}

async function shape(formulas) {
  const { render } = await import('./formula.js');
  for (const code of formulas) {
    const text = code.textContent;
    if (text.length <= FORMULA_MAX && code.isConnected) render(code, text, code.classList.contains('display'));
  }
}
