// Makes the PNG icons of the page from its SVG one: `node icons.js`. Some systems install a page only with pictures of a size.

import { readFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';

const web = new URL('../../web/', import.meta.url);
const PAPER = '#f8f6f1';

/** File, size in pixels, how much of it the fish fills, and how round the corners are: a maskable one is cut by the system. */
const ICONS = [['icon-192.png', 192, 0.72, 0.22], ['icon-512.png', 512, 0.72, 0.22], ['icon-maskable-512.png', 512, 0.55, 0]];

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] });
const svg = await readFile(new URL('icon.svg', web), 'utf8');
for (const [name, size, share, round] of ICONS) {
  const page = await browser.newPage({ viewport: { width: size, height: size } });
  await page.setContent(`<style>body { margin: 0; } div { display: grid; place-items: center; width: ${size}px; height: ${size}px; background: ${PAPER}; border-radius: ${round * size}px; }
    svg { width: ${share * size}px; }</style><div>${svg}</div>`);
  await page.screenshot({ path: new URL(name, web).pathname, omitBackground: true });
  await page.close();
}
await browser.close();
