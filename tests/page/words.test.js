// The page's words and files, without a page: every language says everything, every word that is used is there, what is painted first is small,
// and the worker for offline use knows what that is.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { spoken } from '../../web/strings.js';
import { EN } from '../../web/words-en.js';
import { ZH_HANS } from '../../web/words-zh-hans.js';
import { ZH_HANT } from '../../web/words-zh-hant.js';

const web = new URL('../../web/', import.meta.url);
const source = (name) => readFile(new URL(name, web), 'utf8');
const ours = (await readdir(web)).filter((name) => /\.(js|html)$/.test(name));

/** Most bytes that are needed before the page can be used, compressed. */
const FIRST_PAINT_MAX = 150_000;

test('all languages say everything, with the same blanks', () => {
  const blanks = (words) => [...words.matchAll(/\{\w+\}/g)].map(String).sort();
  for (const table of [ZH_HANS, ZH_HANT]) {
    assert.deepEqual(Object.keys(table), Object.keys(EN));
    for (const [name, words] of Object.entries(EN)) assert.deepEqual(blanks(table[name]), blanks(words), name);
  }
});

test('simplified words are simplified, and traditional ones traditional', () => {
  assert.doesNotMatch(JSON.stringify(ZH_HANS), /[這個從裡沒對話應當還過說頁體機壓縮設語請發與無]/);
  assert.doesNotMatch(JSON.stringify(ZH_HANT), /[这个从里没对话应当还过说页体机压缩设语请发与无]/u);
});

test('every word that is used is there, and every word is used', async () => {
  const names = new Set(Object.keys(EN));
  const texts = await Promise.all(ours.filter((name) => !name.startsWith('words-')).map(source));
  for (const [i, text] of texts.entries()) {
    const used = [...text.matchAll(/\bt\('(\w+)'|data-t(?:-label|-placeholder)?="(\w+)"/g)].map(([, a, b]) => a ?? b);
    assert.deepEqual(used.filter((name) => !names.has(name)), [], ours[i]);
  }
  const all = texts.join('\n');
  const built = /^(error|help|editing|shelf|why)_/;
  const idle = [...names].filter((name) => !built.test(name) && !new RegExp(`['"]${name}['"]`).test(all));
  assert.deepEqual(idle, []);
});

test('a browser\'s language is one of ours', () => {
  const tags = ['zh', 'zh-CN', 'zh-Hans-HK', 'zh-TW', 'zh-HK', 'zh-Hant', 'zh-Hant-MO', 'en', 'en-GB', 'fr'];
  assert.deepEqual(tags.map(spoken), ['zh-Hans', 'zh-Hans', 'zh-Hans', 'zh-Hant', 'zh-Hant', 'zh-Hant', 'zh-Hant', 'en', 'en', null]);
});

test('what the page says before its scripts have come is what they say in English', async () => {
  const html = await source('index.html');
  const early = [...html.matchAll(/ data-t="(\w+)"[^>]*>([^<]+)</g)];
  assert.ok(early.length > 20);
  for (const [, name, words] of early) assert.equal(words.replace(/&amp;/g, '&'), EN[name], name);
  for (const [, name, words] of html.matchAll(/ data-t-label="(\w+)" aria-label="([^"]*)"/g)) assert.equal(words, EN[name], name);
});

/** The modules that `names` import, and so on. */
async function withImports(names) {
  const all = [...names];
  for (const name of all) {
    if (!name.endsWith('.js')) continue;
    const imports = (await source(name)).matchAll(/^(?:import|export)\s[^'"]*?['"]\.\/([^'"]+)['"]/gm);
    for (const [, other] of imports) if (!all.includes(other)) all.push(other);
  }
  return all;
}

const named = (html, pattern) => [...html.matchAll(pattern)].map(([, name]) => name);

/** The files that the page asks for before anybody does anything. */
async function firstFiles() {
  const html = await source('index.html');
  return withImports(named(html, /(?:stylesheet" href|<script[^>]* src)="\/assets\/([^"]+)"/g));
}

test('the page asks at once for all modules that it begins with, and for no others', async () => {
  const asked = named(await source('index.html'), /<link rel="modulepreload"[^>]* href="\/assets\/([^"]+)"/g);
  const needed = (await withImports(['app.js'])).filter((name) => name !== 'app.js');
  assert.deepEqual(asked, needed.sort());
});

test('what is needed at once is small', async (context) => {
  const sizes = await Promise.all(['index.html', ...(await firstFiles())].map(async (name) => gzipSync(await source(name)).length));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  context.diagnostic(`${sizes.length} files, ${total} bytes compressed`);
  assert.ok(total < FIRST_PAINT_MAX, `${total} bytes`);
});

test('the worker keeps all that is needed at once, and nothing that is not there', async () => {
  const list = /const SHELL = \[([^]*?)\n\];/.exec(await source('sw.js'))[1];
  const kept = [...list.matchAll(/'(\w[\w./-]*)'/g)].map(([, name]) => name);
  for (const name of await firstFiles()) assert.ok(kept.includes(name), name);
  await Promise.all(kept.map(source));
});

test('others\' files are as they were published', async () => {
  const { createHash } = await import('node:crypto');
  const rows = (await source('README.md')).matchAll(/^\| `(vendor\/[^`]+)` \|.*\| `([0-9a-f]{64})` \|$/gm);
  const hashes = new Map([...rows].map(([, name, hash]) => [name, hash]));
  const files = (await readdir(new URL('vendor/', web), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && !entry.name.startsWith('LICENSE')).map((entry) => `${entry.parentPath ?? entry.path}/${entry.name}`.replace(/^.*\/vendor\/+/, 'vendor/'));
  assert.deepEqual(files.sort(), [...hashes.keys()].sort());
  for (const name of files) assert.equal(createHash('sha256').update(await readFile(new URL(name, web))).digest('hex'), hashes.get(name), name);
});
