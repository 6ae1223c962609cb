// What the page shows and to whom: hostile text and broken storage, narrow and dark screens, another language, a reader with a keyboard only.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, content, ending, lastAnswer, played, prose, reaches, send, stored, withPage } from './browser.js';

const conversation = (...texts) => ({
  messages: texts.map((text, i) => (i % 2 === 0 ? { role: 'user', content: text } : { role: 'assistant', content: text, state: 'done' })),
});

const HOSTILE = `<img src=x onerror="window.pwned=1"> and <script>window.pwned=2</script>

<script>window.pwned=3</script>

<iframe srcdoc="<script>parent.pwned=4</script>"></iframe><svg onload="window.pwned=5"><style>body{display:none}</style>

<b onclick="window.pwned=6">bold</b> <kbd>ok</kbd> <form action="/v1/models"><input name=body></form>

[script](javascript:window.pwned=7) [data](data:text/html,<script>window.pwned=8</script>) [tab](java&#9;script:window.pwned=9)
[vb](vbscript:x) [relative](/v1/models) [good](https://example.com/a?b=1&c=2 "title") <https://example.org> [mail](mailto:a@example.com)

![remote](https://example.com/pixel.png) ![bad](javascript:window.pwned=10) ![quote](https://example.com/"onload="window.pwned=11)

\`\`\`x"onmouseover="window.pwned=12
<img src=y onerror=window.pwned=13>
\`\`\`

<a href="https://example.com" class="bar-button" id="send" style="position:fixed;inset:0">cover</a>

| <img src=z onerror=window.pwned=14> |
|---|
| [x](javascript:window.pwned=15) |
`;

test('hostile text is harmless', () => withPage({ before: stored(conversation(HOSTILE, HOSTILE)) }, async (page) => {
  await page.waitForTimeout(300);
  for (const link of await page.locator('.prose a').all()) await link.hover();
  assert.equal(await page.evaluate(() => window.pwned), undefined);
  const tags = await page.$$eval('.prose *', (all) => [...new Set(all.map(({ tagName }) => tagName.toLowerCase()))].sort());
  const ours = ['a', 'b', 'button', 'code', 'div', 'kbd', 'p', 'path', 'pre', 'rect', 'span', 'svg', 'table', 'tbody', 'td', 'th', 'thead', 'tr', 'use'];
  assert.deepEqual(tags.filter((tag) => !ours.includes(tag)), []);
  const attributes = await page.$$eval('.prose *', (all) => [...new Set(all.flatMap((node) => node.getAttributeNames()))].sort());
  const known = ['align', 'aria-hidden', 'aria-label', 'class', 'data-action', 'href', 'rel', 'target', 'title', 'type'];
  assert.deepEqual(attributes.filter((name) => !known.includes(name)), []);
  assert.deepEqual(await page.$$eval('.prose a[class]', (all) => all.length), 0, 'nothing dresses up as ours');
  const links = await page.$$eval('.prose a[href]', (all) => all.map((a) => [a.href, a.target, a.rel]));
  assert.ok(links.length >= 4);
  for (const [href, target, rel] of links) {
    assert.match(href, /^(https:\/\/example\.(com|org)[/]|https:\/\/example\.com$|mailto:a@example\.com$)/);
    assert.deepEqual([target, rel], ['_blank', 'noopener noreferrer']);
  }
  assert.equal(await page.locator('.prose a', { hasText: 'remote' }).getAttribute('href'), 'https://example.com/pixel.png');
  assert.ok((await prose(page)).includes('<script>window.pwned=2</script>'), 'what the model wrote is there to read');
  assert.equal(await page.locator('.said').textContent(), HOSTILE);
  assert.equal(await page.locator('.said *').count(), 0, 'what the reader wrote is text');
}));

test('the second gate holds alone', () => withPage({
  // The browser says what it would not run already while DOMPurify reads it.
  allowed: /violates the following Content Security Policy/,
}, async (page) => {
  const html = await page.evaluate(async (hostile) => {
    const { safeNodes } = await import('/assets/markdown.js');
    const frame = document.createElement('div');
    frame.append(safeNodes(hostile));
    document.body.append(frame);
    return frame.innerHTML;
  }, HOSTILE);
  await page.waitForTimeout(200);
  assert.equal(await page.evaluate(() => window.pwned), undefined);
  assert.doesNotMatch(html, /<(img|script|iframe|svg|style|form)|<[^>]*(onerror|onclick|style=|id=|class="bar)/);
}));

test('a thousand quotes in each other are shown', () => withPage({
  before: stored(conversation('x', `${'> '.repeat(5000)}deep`, 'y', `${'['.repeat(20_000)} and ${'*a '.repeat(3000)}`)),
}, async (page) => {
  assert.equal(await page.locator('.turn').count(), 4);
  assert.match(await page.locator('.answer').first().locator('.prose').textContent(), /deep/);
}));

for (const [name, garbage] of Object.entries({
  'no JSON': '{"messages":[', 'another shape': '{"messages":{"0":1},"previous":7}', 'a number': '7', 'wrong messages': '{"messages":[null,{"role":"user","content":{}}]}',
})) {
  test(`storage with ${name} in it stops nobody`, () => withPage({
    before: async (page) => {
      await stored(garbage)(page);
      await page.addInitScript((text) => localStorage.setItem('shoal.settings', text), garbage);
      await played({ events: [content('Yes.'), ending()] })(page);
    },
  }, async (page) => {
    await send(page, 'Hello?');
    await reaches(page, 'done');
    assert.equal(await prose(page), 'Yes.');
  }));
}

const NOT_KEPT = /will not outlive the page/;

test('blocked storage stops nobody, and is said', () => withPage({
  before: async (page) => {
    await page.addInitScript(() => {
      for (const area of ['localStorage', 'sessionStorage']) {
        Object.defineProperty(window, area, { get() { throw new DOMException('blocked', 'SecurityError'); } });
      }
      IDBFactory.prototype.open = () => { throw new DOMException('blocked', 'SecurityError'); };
    });
    await played({ events: [content('Yes.'), ending()] })(page);
  },
}, async (page) => {
  await send(page, 'Hello?');
  await reaches(page, 'done');
  assert.match(await page.innerText('#notice'), NOT_KEPT);
}));

test('full storage stops nobody, and is said', () => withPage({
  before: async (page) => {
    await page.addInitScript(() => { IDBObjectStore.prototype.put = () => { throw new DOMException('full', 'QuotaExceededError'); }; });
    await played({ events: [content('Yes.'), ending()] })(page);
  },
}, async (page) => {
  assert.ok(await page.isHidden('#notice'));
  await send(page, 'Hello?');
  await reaches(page, 'done');
  assert.match(await page.innerText('#notice'), NOT_KEPT);
}));

const WIDE = `${'Unbreakable'.repeat(40)} \`${'code'.repeat(60)}\` https://example.com/${'path/'.repeat(40)}

\`\`\`
${'a long line of code '.repeat(20)}
\`\`\`

|${' a column |'.repeat(12)}
|${'---|'.repeat(12)}
|${` ${'w'.repeat(20)} |`.repeat(12)}

# ${'Heading'.repeat(20)}
`;

const FRAMES = [
  ['light', 'en-GB'], ['dark', 'en-GB'], ['light', 'zh-CN'],
];
for (const [colorScheme, locale] of FRAMES) {
  test(`360 pixels are wide enough (${colorScheme}, ${locale})`, () => withPage({
    viewport: { width: 360, height: 700 }, colorScheme, locale, before: stored(conversation(`x${'y'.repeat(500)}`, WIDE)),
  }, async (page) => {
    const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(await overflow() <= 0, 'a conversation');
    for (const id of ['open-history', 'new-chat', 'open-settings', 'attach', 'send', 'thinking', 'draft']) {
      const box = await page.locator(`#${id}`).boundingBox();
      assert.ok(box.x >= 0 && box.x + box.width <= 360, `${id} is within reach`);
      assert.ok(box.height >= 24, `${id} is high enough for a finger`);
    }
    await page.click('#open-settings');
    assert.ok(await overflow() <= 0, 'the settings');
    assert.ok(await page.$eval('#settings', (dialog) => dialog.scrollWidth <= dialog.clientWidth));
    await page.click('#scope-chat-name');
    await page.fill('#own-system', 'Unbreakable'.repeat(40));
    assert.ok(await page.$eval('#settings', (dialog) => dialog.scrollWidth <= dialog.clientWidth), 'the settings of this chat');
    assert.ok(await overflow() <= 0, 'the mark');
    await page.keyboard.press('Escape');
    await page.click('#new-chat');
    await page.waitForSelector('#welcome', { state: 'visible' });
    assert.ok(await overflow() <= 0, 'the welcome');
  }));
}

/** How bright the page is and its text, 0 to 255. */
const brightness = (page) => page.evaluate(() => {
  const of = (colour) => colour.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part) / 3, 0);
  const style = getComputedStyle(document.documentElement);
  return [of(style.backgroundColor), of(style.color)];
});
const isDark = ([paper, ink]) => paper < 60 && ink > 180;
const isLight = ([paper, ink]) => paper > 220 && ink < 80;

test('light and dark follow the system, and the switch', () => withPage({ colorScheme: 'dark' }, async (page) => {
  assert.ok(isDark(await brightness(page)), 'as the system');
  await page.emulateMedia({ colorScheme: 'light' });
  assert.ok(isLight(await brightness(page)), 'as the system');
  await page.click('#open-settings');
  await page.selectOption('#theme', 'dark');
  assert.ok(isDark(await brightness(page)), 'as chosen');
  await page.reload({ waitUntil: 'commit' });
  await page.waitForFunction(() => document.documentElement.dataset.theme === 'dark');
  assert.ok(isDark(await brightness(page)), 'as chosen before');
  await page.waitForFunction(() => document.body?.dataset.busy === 'false');
  await page.click('#open-settings');
  await page.selectOption('#theme', 'system');
  assert.ok(isLight(await brightness(page)), 'as the system again');
}));

test('every text can be read: contrast of 4.5 at least', async () => {
  for (const [colorScheme, theme] of [['light', 'system'], ['dark', 'system'], ['light', 'contrast'], ['dark', 'contrast']]) {
    await withPage({ colorScheme, before: stored({ theme }, 'shoal.settings') }, async (page) => {
      const ratios = await page.evaluate(() => {
        const probe = document.body.appendChild(document.createElement('i'));
        const luminance = (name) => {
          probe.style.color = `var(--${name})`;
          const parts = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255);
          const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        const pairs = ['ink paper', 'ink sheet', 'ink water', 'quiet paper', 'quiet sheet', 'deep paper', 'on-deep deep', 'alarm paper',
          'code-word sheet', 'code-text sheet', 'code-name sheet', 'code-number sheet'];
        return pairs.map((pair) => [pair, ratio(...pair.split(' ').map(luminance))]);
      });
      for (const [pair, ratio] of ratios) {
        const least = theme === 'contrast' && !pair.startsWith('code') ? 7 : 4.5;
        assert.ok(ratio >= least, `${pair}, ${colorScheme}, ${theme}: ${ratio.toFixed(2)}`);
      }
    });
  }
});

test('it speaks Chinese to a Chinese browser, and what is chosen to any', () => withPage({
  locale: 'zh-CN', before: stored(conversation('你好', '**你好**，世界')),
}, async (page) => {
  assert.equal(await page.getAttribute('html', 'lang'), 'zh-Hans');
  assert.equal(await page.getAttribute('#draft', 'placeholder'), '输入消息');
  assert.equal(await lastAnswer(page).locator('[data-action=copy]').innerText(), '复制');
  await page.click('#open-settings');
  await page.selectOption('#language', 'en');
  assert.equal(await page.getAttribute('html', 'lang'), 'en');
  assert.equal(await page.innerText('#settings-title'), 'Settings');
  assert.equal(await lastAnswer(page).locator('[data-action=copy]').innerText(), 'Copy');
  await page.reload();
  assert.equal(await page.getAttribute('#draft', 'placeholder'), 'Write a message');
}));

test('a keyboard is enough', () => withPage({
  before: async (page) => {
    await stored(conversation('One', 'Two\n\n```\ncode\n```'))(page);
    await played({ events: Array(200).fill(content('word ')), pause: 20 })(page);
  },
}, async (page) => {
  await page.focus('#open-settings');
  const order = [];
  for (let i = 0; i < 11; i += 1) {
    await page.keyboard.press(i === 0 ? 'Shift+Tab' : 'Tab');
    const [name, outline] = await page.evaluate(() => {
      const { id, dataset } = document.activeElement;
      const frame = id === 'draft' ? document.getElementById('composer') : document.activeElement;
      const style = getComputedStyle(frame);
      return [id || dataset.action, style.outlineStyle !== 'none' || style.borderTopColor === getComputedStyle(document.getElementById('send')).backgroundColor];
    });
    order.push(name);
    assert.ok(outline, `${name} shows that it has the focus`);
  }
  assert.deepEqual(order, [
    'new-chat', 'open-settings', 'edit', 'copy-code', 'copy', 'again', 'edit', 'draft', 'attach', 'thinking', 'send',
  ]);

  for (let i = 0; i < 3; i += 1) await page.keyboard.press('Shift+Tab');
  await page.keyboard.type('First line');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('second line');
  assert.equal(await page.locator('.turn').count(), 2, 'Shift+Enter only begins a line');
  for (const composing of [{ isComposing: true }, { keyCode: 229 }]) {
    await page.$eval('#draft', (draft, composing) => draft.dispatchEvent(
      new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, ...composing })), composing);
  }
  assert.equal(await page.locator('.turn').count(), 2, 'the Enter that ends a composition does not send');
  await page.keyboard.press('Enter');
  assert.equal(await page.locator('.said').last().innerText(), 'First line\nsecond line');
  await page.waitForFunction(() => [...document.querySelectorAll('.prose')].at(-1).textContent.length > 20);
  await page.keyboard.type('next');
  await page.keyboard.press('Enter');
  assert.equal(await page.inputValue('#draft'), 'next', 'one question at a time, and nothing typed is lost');
  await page.$eval('#draft', (draft) => draft.dispatchEvent(
    new KeyboardEvent('keydown', { key: 'Escape', bubbles: true, isComposing: true })));
  assert.equal(await lastAnswer(page).getAttribute('data-state'), 'writing', 'an Escape that ends a composition does not stop');
  await page.keyboard.press('Escape');
  await reaches(page, 'stopped');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'draft');

  await page.focus('#open-settings');
  await page.keyboard.press('Enter');
  assert.ok(await page.isVisible('#settings'));
  await page.keyboard.press('Escape');
  assert.ok(await page.isHidden('#settings'));
  assert.equal(await page.evaluate(() => document.activeElement.id), 'open-settings');
}));

test('everything that can be used has a name', () => withPage({
  before: stored(conversation('One', 'Two\n\n```\ncode\n```\n\n- [x] done')),
}, async (page) => {
  const nameless = await page.$$eval('button, select, textarea, input:not([disabled]), dialog, main', (all) => all
    .filter((node) => !(node.getAttribute('aria-label') || node.getAttribute('aria-labelledby') || node.labels?.length || node.textContent.trim()))
    .map(({ outerHTML }) => outerHTML));
  assert.deepEqual(nameless, []);
  assert.deepEqual(await page.$$eval('.turn h2', (all) => all.map(({ textContent }) => textContent)), ['You', 'Answer']);
}));

test('answers and code are copied', () => withPage({
  permissions: ['clipboard-read', 'clipboard-write'], before: stored(conversation('One', 'Some **text**\n\n```sh\nls -l\n```\n')),
}, async (page) => {
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  await page.click('[data-action=copy-code]');
  await page.waitForFunction(() => document.querySelector('[data-action=copy-code]').innerText === 'Copied');
  assert.equal(await clipboard(), 'ls -l');
  await page.click('.foot [data-action=copy]');
  await page.waitForFunction(() => document.getElementById('status').textContent === 'Copied');
  assert.equal(await clipboard(), 'Some **text**\n\n```sh\nls -l\n```\n');
}));

test('the welcome is there before the scripts, where it will stay and in its language', async () => {
  const seen = async (options, open) => {
    let isSeen;
    await withPage({ allowed: /Failed to load resource/, ...options }, async (page) => {
      await page.addInitScript((open) => { for (const area of [localStorage, sessionStorage]) area.setItem('shoal.open', JSON.stringify(open)); }, open);
      await page.route('**/assets/app.js', (route) => route.abort());
      await page.reload({ waitUntil: 'domcontentloaded' });
      isSeen = await page.isVisible('#welcome');
    });
    return isSeen;
  };
  assert.equal(await seen({}, ''), true);
  assert.equal(await seen({}, 'some-id'), false, 'a conversation comes');
  assert.equal(await seen({ locale: 'zh-CN' }, ''), false, 'other words come');
  assert.equal(await seen({ before: stored({ language: 'zh-Hant' }, 'shoal.settings') }, ''), false, 'other words come');
  await withPage({}, async (page) => assert.equal(await page.evaluate(() => document.documentElement.dataset.fresh), undefined));
});

test('nothing of the page is missing', () => withPage({}, async (page) => {
  const { readdir } = await import('node:fs/promises');
  const names = await readdir(new URL('../../web/', import.meta.url), { recursive: true });
  const types = {
    js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml', png: 'image/png', woff2: 'font/woff2', webmanifest: 'application/manifest+json',
  };
  for (const name of names.filter((name) => name.split('.').at(-1) in types)) {
    const response = await page.request.get(`${BASE}/assets/${name}`);
    assert.equal(response.status(), 200, name);
    assert.ok(response.headers()['content-type'].startsWith(types[name.split('.').at(-1)]), name);
  }
}));
