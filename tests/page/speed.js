// How smooth the page stays under a long answer, in milliseconds: `SHOAL_URL=… node speed.js [RUNS] [KIND]`. It judges nothing, as times depend
// on the machine; speed.test.js counts the work instead. KIND is one of `ONE_BLOCK` in long.js for an answer of one block, and SLOWER=4 makes
// the browser that many times slower.
//
// An answer of 20,000 tokens comes with ten of them every 4 ms or so, and then a wheel goes through it for two seconds.

import { browser, played, send, withPage } from './browser.js';
import { eventsOf, LONG, ONE_BLOCK } from './long.js';

const RUNS = Number(process.argv[2] ?? 3);
/** What a wheel moves at each notch, in pixels, and how long until the next, in milliseconds. */
const NOTCH = 400;
const NOTCH_MS = 40;

const play = played({ events: eventsOf(ONE_BLOCK[process.argv[3]] ?? LONG), pause: 1, batch: 10 });

/** Lets the page write down its long tasks, and what its frames take. */
const watched = (page) => page.addInitScript(() => {
  window.long = [];
  new PerformanceObserver((list) => window.long.push(...list.getEntries().map(({ startTime, duration }) => ({ startTime, duration }))))
    .observe({ type: 'longtask', buffered: true });
  window.frames_ = [];
  window.watchFrames = () => {
    let last = performance.now();
    let isOver = false;
    const next = (now) => { window.frames_.push(now - last); last = now; if (!isOver) requestAnimationFrame(next); };
    requestAnimationFrame((now) => { last = now; requestAnimationFrame(next); });
    return () => { isOver = true; };
  };
});

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
const worst = (values) => Math.max(0, ...values);
const round = (value) => Number(value.toFixed(1));

async function run() {
  let figures;
  await withPage({ before: async (page) => { await watched(page); await play(page); } }, async (page) => {
    page.setDefaultTimeout(120_000);
    await page.waitForTimeout(1000);
    const session = await page.context().newCDPSession(page);
    await session.send('Emulation.setCPUThrottlingRate', { rate: Number(process.env.SLOWER ?? 1) });
    const start = await page.evaluate(() => { window.long.length = 0; return performance.now(); });
    await send(page, 'Go');
    // Seldom asked: a question at every frame would be most of the work.
    await page.waitForFunction(() => document.querySelector('.answer').dataset.state === 'done', null, { polling: 300 });
    const { end, writing, after } = await page.evaluate(async (start) => {
      const end = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 3000));
      const of = (from, to) => window.long.filter(({ startTime }) => startTime >= from && startTime < to).map(({ duration }) => duration);
      return { end, writing: of(start, end - 300), after: of(end - 300, Infinity) };
    }, start);
    await page.mouse.move(500, 400);
    await page.evaluate(() => { window.stop = window.watchFrames(); window.long.length = 0; });
    for (let i = 0; i < 2000 / NOTCH_MS; i += 1) {
      await page.mouse.wheel(0, -NOTCH);
      await page.waitForTimeout(NOTCH_MS);
    }
    const { frames, moved, long } = await page.evaluate(() => { window.stop(); return { frames: window.frames_, moved: scrollY, long: window.long.length }; });
    figures = {
      'took, s': round((end - start) / 1000),
      'long tasks while it comes': writing.length, 'worst': round(worst(writing)),
      'long tasks at its end': after.length, 'worst ': round(worst(after)),
      'median frame while scrolling': round(median(frames)), 'frames over 34 ms, %': round((100 * frames.filter((ms) => ms > 34).length) / frames.length),
      'worst frame': round(worst(frames)), 'long tasks while scrolling': long, 'frames': frames.length, 'at': Math.round(moved),
    };
  });
  return figures;
}

const all = [];
for (let i = 0; i < RUNS; i += 1) all.push(await run());
console.table(Object.fromEntries(Object.keys(all[0]).map((name) => [name, { ...all.map((figures) => figures[name]), median: median(all.map((figures) => figures[name])) }])));
await browser.close();
