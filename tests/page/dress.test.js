// Code gets its colours and formulas their shape, both only when they come, and neither opens a door for what a model writes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { content, ending, lastAnswer, played, prose, reaches, send, stored, withPage } from './browser.js';

const answered = (text) => stored({ messages: [{ role: 'user', content: 'x' }, { role: 'assistant', content: text, state: 'done' }] });

test('code is coloured, and copied as it was', () => withPage({
  permissions: ['clipboard-read', 'clipboard-write'], before: answered('```rust\nfn main() { /* 鱼 */ let x = "<b>"; }\n```\n\n```unheard-of\nlet x\n```\n'),
}, async (page) => {
  await page.waitForSelector('.language-rust .hljs-keyword');
  assert.equal(await page.locator('.language-rust .hljs-string').innerText(), '"<b>"');
  assert.equal(await page.locator('.language-rust').textContent(), 'fn main() { /* 鱼 */ let x = "<b>"; }\n');
  assert.equal(await page.locator('.language-unheard-of span').count(), 0);
  await page.locator('[data-action=copy-code]').first().click();
  await page.waitForFunction(() => document.querySelector('[data-action=copy-code]').innerText === 'Copied');
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'fn main() { /* 鱼 */ let x = "<b>"; }');
}));

test('long code is coloured a part at a time, and stays what it was', () => {
  const lines = Array.from({ length: 950 }, (_, i) => `let x${i} = "<${i}>"; // ${i}`);
  // One comment from one part into the next.
  lines.splice(95, 0, '/* begins', ...Array(9).fill('goes on'), 'ends */');
  const code = `${lines.join('\n')}\n`;
  return withPage({ before: answered(`\`\`\`js\n${code}\`\`\`\n`) }, async (page) => {
    await page.waitForFunction(() => document.querySelectorAll('.language-js > .lines').length === 10 && document.querySelector('.language-js').childNodes.length === 10);
    const { text, chosen, comment, height, lineHeight } = await page.evaluate(() => {
      const code = document.querySelector('.language-js');
      getSelection().selectAllChildren(code);
      const comment = [...code.querySelectorAll('.lines > .hljs-comment')].filter(({ textContent }) => !textContent.startsWith('//')).map(({ textContent }) => textContent);
      return { text: code.textContent, chosen: getSelection().toString(), comment, height: code.getBoundingClientRect().height, lineHeight: code.querySelector('.hljs-keyword').getClientRects()[0].height };
    });
    assert.equal(text, code);
    assert.equal(chosen.trimEnd(), code.trimEnd(), 'what is chosen with a mouse');
    assert.deepEqual(comment.map((part) => part.split('\n')[0]), ['/* begins', 'goes on']);
    assert.equal(comment.join('').split('\n').length, 11);
    assert.ok(height < 961 * lineHeight * 2, 'no line is there twice');
  });
});

test('every language that is offered is there', () => withPage({}, async (page) => {
  const found = await page.evaluate(async () => {
    const { highlighted } = await import('/assets/highlight.js');
    const names = ['sh', 'c', 'c++', 'c#', 'css', 'diff', 'go', 'java', 'js', 'json', 'md', 'py', 'rs', 'sql', 'ts', 'html', 'yml'];
    return Promise.all(names.map(async (name) => [name, typeof await highlighted('x', name)]));
  });
  assert.deepEqual(found.filter(([, kind]) => kind !== 'string'), []);
}));

test('formulas get their shape, within a line and by themselves', () => withPage({
  before: answered('It is $E = mc^2$, costs $5 or $10, and \\(a_1\\).\n\n$$\n\\sum_{i=1}^n \\sqrt{i} \\over 2\n$$\n\nThen\n\\[ x < y \\]\nend, `$code$`, and $\\unknowncommand$.'),
}, async (page) => {
  await page.waitForSelector('.katex');
  await page.waitForFunction(() => document.querySelectorAll('.formula').length === 4);
  assert.equal(await page.locator('.formula.display').count(), 2);
  assert.match(await prose(page), /costs \$5 or \$10/);
  assert.equal(await page.locator('.prose code.math').innerText(), '\\unknowncommand', 'what is not understood stays as it is');
  assert.equal(await page.locator('.formula math').count(), 4, 'for screen readers');
  await page.evaluate(() => document.fonts.ready);
  assert.ok(await page.evaluate(() => [...document.fonts].some(({ family, status }) => family.includes('KaTeX_Main') && status === 'loaded')), 'with fonts of ours');
}));

test('neither is loaded for who needs none', () => withPage({ before: answered('Plain *words*, at $5.') }, async (page) => {
  await page.waitForTimeout(300);
  const loaded = await page.evaluate(() => performance.getEntriesByType('resource').map(({ name }) => name).filter((name) => /highlight|katex|formula/.test(name)));
  assert.deepEqual(loaded, []);
}));

test('a formula that comes letter by letter is shaped once, and earlier blocks stay', () => withPage({
  before: played({ events: [...'First.\n\n$$\nx^2\n$$\n\n```js\nlet x = 1;\n```\n\nAnd $y$ at the end.\n\nMore.'].map(content).concat(ending()), pause: 5 }),
}, async (page) => {
  await send(page, 'Go');
  await page.waitForSelector('.formula.display .katex');
  await page.evaluate(() => { window.formula = document.querySelector('.formula.display'); });
  await reaches(page, 'done');
  await page.waitForFunction(() => document.querySelectorAll('.formula').length === 2 && document.querySelector('.hljs-keyword'));
  assert.ok(await page.evaluate(() => window.formula === document.querySelector('.formula.display')));
  assert.ok(!(await lastAnswer(page).innerText()).includes('$'));
}));

const HOSTILE = `$\\href{javascript:window.pwned=1}{x}$ $\\url{javascript:window.pwned=2}$ $\\includegraphics{https://example.com/x.png}$
$\\htmlClass{send}{x}$ $\\htmlStyle{position:fixed}{x}$ $\\htmlId{send}{x}$ $\\htmlData{action=again}{x}$ $\\text{<img src=x onerror=window.pwned=3>}$

$$\\def\\x{\\x\\x}\\x$$

$$\\rule{99999em}{99999em}$$

$<img src=x onerror=window.pwned=4>$

\`\`\`html
<img src=x onerror=window.pwned=5><span class="bar-button" onclick="window.pwned=6">x</span>
\`\`\`

<code class="math">\\href{javascript:window.pwned=7}{x}</code> <span class="hljs-x send">y</span>
`;

test('hostile formulas and code are harmless', () => withPage({ before: answered(HOSTILE) }, async (page) => {
  await page.waitForSelector('.katex');
  await page.waitForSelector('.language-html .hljs-tag');
  await page.waitForTimeout(300);
  assert.equal(await page.evaluate(() => window.pwned), undefined);
  assert.equal(await page.locator('.prose :is(a, img, iframe, script, [onclick], [onerror], [id], .send, .bar-button)').count(), 0);
  assert.equal(await page.locator('.prose [data-action=again]').count(), 0);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing is wider than the page');
}));
