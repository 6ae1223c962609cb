// Makes the PNG icons of the page: `node icons.js`. Some systems install a page only with pictures of a size. The fish is the path of
// icon.svg: its curves become short lines, and each pixel takes the colour of as many of its points as lie inside.

import { readFile, writeFile } from 'node:fs/promises';
import { deflateSync } from 'node:zlib';

const web = new URL('../../web/', import.meta.url);
const PAPER = [0xf8, 0xf6, 0xf1];
/** Width and height of the drawing, as icon.svg has it. */
const BOX = 24;
/** Lines to a curve, and points to a pixel in each direction. */
const LINES = 8;
const POINTS = 4;

/** File, size in pixels, how much of it the drawing fills, and the radius of its corners: a maskable one is cut by the system. */
const ICONS = [['icon-192.png', 192, 0.78, 0.22], ['icon-512.png', 512, 0.78, 0.22], ['icon-maskable-512.png', 512, 0.58, 0]];

const svg = await readFile(new URL('icon.svg', web), 'utf8');
const [, colour, drawing] = /fill="#(\w{6})" d="([^"]+)"/.exec(svg);
const ink = [0, 2, 4].map((at) => parseInt(colour.slice(at, at + 2), 16));
const fish = outline(drawing);
for (const [name, size, share, round] of ICONS) await writeFile(new URL(name, web), png(size, painted(size, share, round)));

/** The corners of the shape that the commands M, l, c and z of `path` draw, and L, C as well. */
function outline(path) {
  const words = path.match(/[a-zA-Z]|-?(?:\d+\.?\d*|\.\d+)/g);
  const corners = [];
  let [x, y, command] = [0, 0, ''];
  for (let at = 0; at < words.length;) {
    if (/[a-zA-Z]/.test(words[at])) command = words[at++];
    if (/z/i.test(command)) continue;
    const count = /c/i.test(command) ? 6 : 2;
    const numbers = words.slice(at, at + count).map(Number);
    at += count;
    const isRelative = command === command.toLowerCase();
    const to = numbers.map((number, i) => number + (isRelative ? [x, y][i % 2] : 0));
    if (count === 2) corners.push(to);
    else for (let i = 1; i <= LINES; i += 1) corners.push([0, 1].map((axis) => curve([x, y][axis], to[axis], to[2 + axis], to[4 + axis], i / LINES)));
    [x, y] = to.slice(-2);
  }
  return corners;
}

function curve(a, b, c, d, part) {
  const rest = 1 - part;
  return rest ** 3 * a + 3 * rest ** 2 * part * b + 3 * rest * part ** 2 * c + part ** 3 * d;
}

/** Whether a point lies within the shape: a line to the right crosses its edge an odd number of times. */
function isInside(shape, x, y) {
  let isIn = false;
  for (let i = 0, j = shape.length - 1; i < shape.length; j = i, i += 1) {
    const [[ax, ay], [bx, by]] = [shape[i], shape[j]];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) isIn = !isIn;
  }
  return isIn;
}

/** Rows of red, green, blue and opacity, each behind a byte that says it is not filtered. */
function painted(size, share, round) {
  const rows = Buffer.alloc(size * (1 + 4 * size));
  const [scale, radius] = [BOX / (share * size), round * size];
  const fromMiddle = (at) => Math.max(0, Math.abs(at - size / 2) - (size / 2 - radius));
  const steps = Array.from({ length: POINTS }, (_, i) => (i + 0.5) / POINTS);
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) {
      let [inked, papered] = [0, 0];
      for (const dy of steps) {
        for (const dx of steps) {
          const [px, py] = [x + dx, y + dy];
          if (Math.hypot(fromMiddle(px), fromMiddle(py)) > radius && radius > 0) continue;
          papered += 1;
          if (isInside(fish, (px - size / 2) * scale + BOX / 2, (py - size / 2) * scale + BOX / 2)) inked += 1;
        }
      }
      const part = papered === 0 ? 0 : inked / papered;
      const pixel = [...ink.map((value, i) => Math.round(part * value + (1 - part) * PAPER[i])), Math.round((255 * papered) / POINTS ** 2)];
      rows.set(pixel, y * (1 + 4 * size) + 1 + 4 * x);
    }
  }
  return rows;
}

/** A PNG file (ISO 15948): its head, its pixels, its end. */
function png(size, rows) {
  const part = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(size, 0);
  head.writeUInt32BE(size, 4);
  head.set([8, 6], 8);
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), part('IHDR', head), part('IDAT', deflateSync(rows, { level: 9 })), part('IEND', Buffer.alloc(0))]);
}

function crc32(bytes) {
  let sum = -1;
  for (const byte of bytes) {
    sum ^= byte;
    for (let i = 0; i < 8; i += 1) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}
