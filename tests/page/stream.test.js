// The page and every kind of stream: what a test sends is what the page shows, however it comes and wherever it breaks.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { content, ending, lastAnswer, played, prose, reaches, reasoning, send, stored, withPage } from './browser.js';

test('thoughts are folded and timed, and then the answer comes', () => withPage({
  before: played({ events: [reasoning('Let me '), ...Array(12).fill(reasoning('think. ')), content('So: '), content('42.'), ending()], pause: 100 }),
}, async (page) => {
  await send(page, 'Why?');
  const summary = lastAnswer(page).locator('summary');
  await page.waitForFunction(() => /^Thinking, 1 s, \d+ tokens$/.test(document.querySelector('summary')?.textContent));
  assert.ok(await lastAnswer(page).locator('.thoughts').isHidden());
  await summary.click();
  assert.match(await lastAnswer(page).locator('.thoughts').innerText(), /^Let me think\./);
  await reaches(page, 'done');
  const thought = await summary.innerText();
  assert.match(thought, /^Thought for [12] s, 13 tokens$/);
  assert.equal(await lastAnswer(page).locator('.thoughts').textContent(), `Let me ${'think. '.repeat(12)}`);
  assert.equal(await prose(page), 'So: 42.');
  await page.reload();
  assert.equal(await summary.innerText(), thought);
}));

test('it says how far the prompt is read', () => withPage({
  before: played({
    events: [': keep-alive\n\n', { choices: [{ delta: {} }], prompt_progress: { total: 3000, cache: 0, processed: 1500, time_ms: 9 } }], end: 'hold',
  }),
}, async (page) => {
  await send(page, 'Long');
  await reaches(page, 'reading');
  assert.equal((await lastAnswer(page).locator('.pulse').innerText()).trim(), 'Reading the prompt, 1,500 of 3,000');
  assert.deepEqual(await page.$eval('progress', ({ value, max, hidden }) => [value, max, hidden]), [1500, 3000, false]);
  await page.keyboard.press('Escape');
  await reaches(page, 'stopped');
}));

test('an error in mid-stream is one sentence, and a second try is a clean one', () => withPage({
  before: played(
    { events: [content('Half an '), { error: { message: 'the answer ends here: the disk broke', code: null } }] },
    { events: [content('A whole answer.'), ending()] },
  ),
}, async (page) => {
  await send(page, 'Go');
  await reaches(page, 'failed');
  assert.equal(await prose(page), 'Half an');
  assert.equal(await lastAnswer(page).locator('.problem > span').innerText(), 'The answer ends here: the disk broke.');
  await page.reload();
  // It outlives a reload.
  await lastAnswer(page).locator('.problem').waitFor();
}));

test('every failure has its words and its second try', () => withPage({
  allowed: /Failed to load resource/,
  before: played(
    { status: 429, body: { error: { message: 'as many requests run', code: 'rate_limit_exceeded' } } },
    'unreachable',
    { events: [content('Half')], end: 'close' },
    { status: 400, body: { error: { message: 'the prompt has 5000 tokens', code: 'context_length_exceeded' } } },
    { status: 500, body: { error: { message: '<img src=x onerror=alert(1)> `x`: expected y' } } },
    { status: 502, body: 'not what we know' },
    { events: ['data: {"choi\n\n'] },
    { events: ['data: null\n\n'] },
    { events: [content('At last.'), ending()] },
  ),
}, async (page) => {
  await send(page, 'Go');
  const expected = [
    'The server is busy; try again in a moment.', 'The server cannot be reached.', 'The connection broke before the answer was complete.',
    'The conversation is longer than the model can hold; begin a new chat.', '<img src=x onerror=alert(1)> `x`: expected y.', 'HTTP 502.',
    'The connection broke before the answer was complete.', 'The connection broke before the answer was complete.',
  ];
  for (const sentence of expected) {
    await reaches(page, 'failed');
    assert.equal(await lastAnswer(page).locator('.problem > span').innerText(), sentence);
    assert.equal(await page.textContent('#status'), sentence, 'and it is heard');
    await lastAnswer(page).locator('.problem button').click();
    await page.waitForFunction(() => document.body.dataset.busy === 'false');
  }
  await reaches(page, 'done');
  assert.equal(await prose(page), 'At last.');
  assert.equal(await page.locator('.turn').count(), 2);
}));

test('a key is asked for once, shown, and forgotten with the tab', () => withPage({
  before: played(
    { status: 401, body: { error: { message: 'the API key is missing or wrong', code: 'invalid_api_key' } } },
    { events: [content('Yes.'), ending()] },
    { status: 401, body: { error: { message: 'the API key is missing or wrong', code: 'invalid_api_key' } } },
  ),
}, async (page) => {
  await send(page, 'May I?');
  await page.waitForSelector('#key-dialog', { state: 'visible' });
  await page.fill('#key', ' secret ');
  await page.press('#key', 'Enter');
  await reaches(page, 'done');
  assert.deepEqual(await page.evaluate(() => window.asked.map(({ authorization }) => authorization ?? null)), [null, 'Bearer secret']);
  assert.deepEqual(await page.evaluate(() => [sessionStorage.getItem('shoal.key'), JSON.stringify(localStorage).includes('secret')]), ['"secret"', false]);
  await send(page, 'And now?');
  await page.waitForSelector('#key-dialog', { state: 'visible' });
  await page.keyboard.press('Escape');
  await reaches(page, 'failed');
  assert.equal(await lastAnswer(page).locator('.problem > span').innerText(), 'The server asks for an API key.');
}));

const DOCUMENTS = [
  'Plain *words* and **more of them**.\n\nA second paragraph\nwith two lines.\n',
  '1. one\n\n2. two\n\n   still two\n\n20 years later\n\n- a\n  - b\n\n    c\n- d\n\ntext\n',
  'Title\n===\n\n| a | b |\n|---|:-:|\n| 1 | 2 |\n\nafter\n\n```python\ndef f():\n\n    return 1\n```\n\nmore\n\n    indented\n\n    code\n\nend',
  'See [this] and [that][x].\n\n> quote\nlazy\n\n---\n\n[this]: https://example.com/1\n\n[x]: https://example.com/2 "title"\n\n<div>\n\nraw <b>bold</b> &amp; <script>1</script>\n\n</div>\n',
  '第一段，**重点**。\n\n* 项目\n\n\n\n* 又一个\n\n~~~\nunclosed\n\nfence',
  '| fish | *cm* |\n|:--|--:|\n| minnow | 8 |\n| `a|b` | [x](https://example.com) |\n|  |\n| last | **9** | more |\n| <b>open | <i>x |\n| after | it |\n\n- [ ] one\n- [x] two\n  ```\n  code\n\n  more\n  ```\n- three\n  1. a\n  2. b\n\n     c\n- four <b>bold\n- five\n\n3) three\n4) four\n\nend',
  '\tTabs\n\n-\tlist\n\n\tin it\n\nand\ta\ttab\r\nand a return\r\n\r\nend',
];

test('an answer that grew by single letters is the one that is loaded whole', () => withPage({
  before: played(...DOCUMENTS.map((text) => ({ events: [...text].map(content), pause: 0 }))),
}, async (page) => {
  // Every letter is painted, not only those that happen to stand at the end of a pause.
  await page.evaluate(async () => {
    const { Pace } = await import('/assets/pace.js');
    Pace.prototype.soon = function soon() { this.now(); };
  });
  for (const text of DOCUMENTS) {
    await send(page, 'Go');
    await reaches(page, 'done');
    assert.ok(await page.$$eval('.turn', (turns) => turns.length % 2 === 0), text);
  }
  // Code gets its colours a moment later.
  const dressed = () => page.waitForFunction(() => document.querySelector('.language-python .hljs-keyword'));
  await dressed();
  const grown = await page.$$eval('.prose', (all) => all.map(({ innerHTML }) => innerHTML));
  await page.reload();
  await dressed();
  const whole = await page.$$eval('.prose', (all) => all.map(({ innerHTML }) => innerHTML));
  assert.deepEqual(grown, whole);
  assert.equal(grown.length, DOCUMENTS.length);
}));

test('at every letter, what grew is what is shown of so much text at once', () => withPage({}, async (page) => {
  // Definitions that come late change what is settled; the test above has them.
  const documents = DOCUMENTS.filter((text) => !text.includes(']: '));
  const differences = await page.evaluate(async (documents) => {
    const { Prose } = await import('/assets/prose.js');
    const differences = [];
    for (const text of documents) {
      const root = document.createElement('div');
      const prose = new Prose(root);
      for (let length = 1; length <= text.length; length += 1) {
        const whole = document.createElement('div');
        prose.update(text.slice(0, length));
        new Prose(whole).finish(text.slice(0, length));
        if (root.innerHTML !== whole.innerHTML) differences.push([text.slice(0, length), root.innerHTML, whole.innerHTML]);
      }
    }
    return differences;
  }, documents);
  assert.deepEqual(differences.slice(0, 3), []);
}));

test('of a line longer than a chapter what comes is shown at once and understood at its end', () => withPage({}, async (page) => {
  const found = await page.evaluate(async () => {
    const { Prose } = await import('/assets/prose.js');
    const whole = (text) => {
      const root = document.createElement('div');
      new Prose(root).finish(text);
      return root.innerHTML;
    };
    const line = 'A *small* fish **follows** the `next` one. '.repeat(1000);
    const root = document.createElement('div');
    const prose = new Prose(root);
    let shown = 0;
    let cleaned = 0;
    const real = DOMPurify.sanitize;
    DOMPurify.sanitize = (html, options) => { cleaned += html.length; return real(html, options); };
    for (let i = 100; i <= line.length; i += 100) {
      prose.update(line.slice(0, i));
      if (root.textContent.replace(/[*`]/g, '').trim() === line.slice(0, i).replace(/[*`]/g, '').trim()) shown += 1;
    }
    const updates = Math.floor(line.length / 100);
    const whileItComes = cleaned;
    const more = `${line}\n\nAnd *another*.\n`;
    prose.update(more);
    prose.finish(more);
    DOMPurify.sanitize = real;
    // All of a long line at once, after a block that is settled.
    const sudden = document.createElement('div');
    const other = new Prose(sudden);
    other.update('# Fish\n\nA line.\n\n');
    other.update(`# Fish\n\nA line.\n\n${line}`);
    other.update(`# Fish\n\nA line.\n\n${line}and more`);
    // What is shown as it is goes away again also where it changes nothing.
    const spaced = document.createElement('div');
    const third = new Prose(spaced);
    const padded = `${line.slice(0, 15_990)}x${' '.repeat(30)}`;
    third.update(padded.slice(0, 15_991));
    third.update(padded);
    third.finish(padded);
    const isClean = spaced.innerHTML === whole(padded);
    const blocks = [...sudden.children].map(({ textContent }) => textContent.trim().slice(0, 7));
    return { isClean, blocks, shown, updates, share: whileItComes / (16_000 * 160), isSame: root.innerHTML === whole(more) };
  });
  assert.equal(found.shown, found.updates, 'all that has come is there');
  assert.ok(found.isSame && found.isClean);
  assert.deepEqual(found.blocks, ['Fish', 'A line.', 'A small']);
  // Half of the first 16,000 characters for each of 160 updates, and their tags.
  assert.ok(found.share < 1.2, `${found.share}`);
}));

test('what is selected in an open block stays selected while it grows', () => withPage({}, async (page) => {
  const stays = await page.evaluate(async () => {
    const { Prose } = await import('/assets/prose.js');
    const documents = ['```\nfirst line\nsecond', '- first item\n- second', '| a |\n|---|\n| first |\n| sec'];
    return documents.map((text) => {
      const root = document.body.appendChild(document.createElement('div'));
      const prose = new Prose(root);
      prose.update(text);
      const node = document.createTreeWalker(root.querySelector('pre, li, td'), NodeFilter.SHOW_TEXT).nextNode();
      getSelection().setBaseAndExtent(node, 0, node, 5);
      prose.update(`${text} and more\n`);
      return [getSelection().toString(), node.isConnected, root.textContent.includes('and more')];
    });
  });
  assert.deepEqual(stays, Array(3).fill(['first', true, true]));
}));

test('finished blocks are left alone, and a long answer costs its length', () => {
  const paragraph = 'Some words, *some* more `and` a few others that fill the line until it is full.\n\n';
  const events = Array.from({ length: 4000 }, (_, i) => content(i % 2 ? `${paragraph}` : `- item ${i}\n\n`));
  return withPage({ before: played({ events: [...events, ending()], pause: 1 }) }, async (page) => {
    await page.evaluate(() => {
      const real = DOMPurify.sanitize;
      window.sanitised = 0;
      DOMPurify.sanitize = (html, options) => { window.sanitised += html.length; return real(html, options); };
    });
    await send(page, 'Go on');
    await page.waitForFunction(() => document.querySelectorAll('.block').length > 5);
    await page.evaluate(() => { window.first = document.querySelector('.block'); });
    await page.waitForFunction(() => document.querySelector('.answer').dataset.state === 'done', null, { timeout: 60_000 });
    assert.ok(await page.evaluate(() => window.first === document.querySelector('.block')));
    assert.equal(await page.locator('.block').count(), 4000);
    const [sanitised, length] = await page.evaluate(() => [window.sanitised, document.querySelector('.prose').innerHTML.length]);
    assert.ok(sanitised < 2 * length, `${sanitised} characters for ${length}`);
  });
});

test('four times the text takes about four times the time, not sixteen', () => withPage({}, async (page) => {
  const [short, long] = await page.evaluate(async () => {
    const { Prose } = await import('/assets/prose.js');
    const time = (blocks) => {
      const prose = new Prose(document.createElement('div'));
      const start = performance.now();
      for (let i = 0, text = ''; i < blocks; i += 1) prose.update(text += 'Some words, *some* more `and` a few others.\n\n');
      return performance.now() - start;
    };
    const best = (blocks) => Math.min(...[1, 2, 3].map(() => time(blocks)));
    best(200);
    return [best(250), best(1000)];
  });
  assert.ok(long < 8 * short, `${long} ms for four times the text of ${short} ms`);
}));

test('who scrolls up stays there, and may come back', () => withPage({
  before: played({ events: Array(60).fill(content('Another paragraph.\n\n')), pause: 60, end: 'hold' }),
}, async (page) => {
  await send(page, 'Go on');
  const fromEnd = () => page.evaluate(() => document.documentElement.scrollHeight - innerHeight - scrollY);
  await page.waitForFunction(() => document.querySelectorAll('.block').length > 25);
  assert.ok(await fromEnd() < 2, 'it follows');
  assert.ok(await page.isHidden('#latest'));
  await page.mouse.move(500, 300);
  await page.mouse.wheel(0, -200);
  await page.waitForTimeout(300);
  const top = await page.evaluate(() => scrollY);
  const blocks = await page.locator('.block').count();
  await page.waitForFunction((blocks) => document.querySelectorAll('.block').length > blocks + 5, blocks);
  assert.equal(await page.evaluate(() => scrollY), top, 'it stays');
  await page.click('#latest');
  await page.waitForTimeout(300);
  assert.ok(await fromEnd() < 2, 'it follows again');
  // By keyboard the page moves a little at a time, and the first little must count.
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press('ArrowUp');
  await page.waitForTimeout(400);
  assert.ok(await fromEnd() > 10, 'a key lets go as well');
}));

test('a screen reader hears the beginning and the end, not every word', () => withPage({
  before: played({ events: [...Array(30).fill(content('word ')), ending()], pause: 30 }),
}, async (page) => {
  await page.evaluate(() => {
    window.heard = [];
    for (const node of document.querySelectorAll('[aria-live], [role=status], [role=alert], [role=log]')) {
      new MutationObserver(() => window.heard.push(node.textContent)).observe(node, { childList: true, subtree: true, characterData: true });
    }
  });
  await send(page, 'Go');
  await reaches(page, 'done');
  await page.waitForFunction(() => window.heard.length >= 2);
  assert.deepEqual(await page.evaluate(() => window.heard.map((text) => text.trim())), ['Waiting for the model', `The answer is complete. ${'word '.repeat(30).trim()}`]);
}));

test('another tab that changes the conversation is seen', () => withPage({
  before: played({ events: [content('Here.'), ending()] }),
}, async (page) => {
  await send(page, 'Where?');
  await reaches(page, 'done');
  const other = await page.context().newPage();
  await other.goto(page.url());
  await other.waitForFunction(() => document.body.dataset.busy === 'false');
  assert.equal(await other.locator('.said').innerText(), 'Where?', 'a new tab opens what was open last');
  await send(other, 'And now?');
  await page.waitForFunction(() => document.querySelectorAll('.turn').length === 4);
  await other.click('#new-chat');
  await other.waitForSelector('#welcome', { state: 'visible' });
  assert.equal(await page.locator('.turn').count(), 4, 'what another tab looks at is its own matter');
}));

test('a language chosen in mid-answer loses nothing', () => withPage({
  before: (page) => stored({ language: 'en' }, 'shoal.settings')(page).then(() => played({ events: [...'Some **words** in a row.'].map(content), pause: 60 })(page)),
}, async (page) => {
  await send(page, 'Go');
  await page.waitForFunction(() => document.querySelector('.prose').textContent.length > 4);
  await page.click('#open-settings');
  await page.selectOption('#language', 'zh-Hans');
  await page.click('#settings .main-button');
  await reaches(page, 'done');
  assert.equal(await prose(page), 'Some words in a row.');
  assert.equal(await page.locator('.answer').count(), 1);
  assert.equal(await page.getAttribute('#send', 'aria-label'), '发送');
}));
