// A long answer costs its length: work is counted here, as time would depend on the machine; speed.js takes the time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { played, send, withPage } from './browser.js';
import { eventsOf, LONG, ONE_BLOCK } from './long.js';

/** How many times as much may be made as is there in the end. */
const WORK_MAX = 3;

const ANSWERS = { 'everything that markdown has': LONG, 'one list': ONE_BLOCK.list, 'one table': ONE_BLOCK.table, 'one block of code': ONE_BLOCK.code };
for (const [name, text] of Object.entries(ANSWERS)) {
  test(`20,000 tokens are made into nodes about once: ${name}`, () => withPage({ before: played({ events: eventsOf(text), pause: 1, batch: 30 }) }, async (page) => {
    await page.evaluate(() => {
      window.made = 0;
      window.sanitised = 0;
      const sizeOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? 1 + node.querySelectorAll('*').length : 1);
      new MutationObserver((changes) => {
        for (const { addedNodes } of changes) for (const node of addedNodes) window.made += sizeOf(node);
      }).observe(document.getElementById('turns'), { childList: true, subtree: true });
      const real = DOMPurify.sanitize;
      DOMPurify.sanitize = (html, options) => { window.sanitised += html.length; return real(html, options); };
    });
    await send(page, 'Go');
    // Of the first update that has anything some must stay to the end.
    await page.waitForFunction(() => document.querySelector('.prose :is(p, li, tr, code)'));
    await page.evaluate(() => { window.first = document.querySelector('.prose :is(p, li, tr, code)'); });
    await page.waitForFunction(() => document.querySelector('.answer').dataset.state === 'done', null, { polling: 300, timeout: 90_000 });
    await page.waitForFunction(() => document.querySelectorAll('.prose code.math, .prose .language-rust:not(:has(span))').length === 0, null, { polling: 300, timeout: 30_000 });
    const { made, sanitised, nodes, length, isFirst } = await page.evaluate(() => ({
      made: window.made, sanitised: window.sanitised, isFirst: window.first.isConnected,
      nodes: document.querySelectorAll('#turns *').length, length: document.querySelector('.prose').innerHTML.length,
    }));
    assert.ok(made < WORK_MAX * nodes, `${made} nodes for ${nodes}`);
    assert.ok(sanitised < WORK_MAX * length, `${sanitised} characters for ${length}`);
    assert.ok(isFirst, 'what is complete stays');
  }));
}
