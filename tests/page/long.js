// A long answer of everything that markdown has, and how it comes: what speed.test.js counts and speed.js times.

import { content, ending } from './browser.js';

const PARTS = [
  (n) => `## Part ${n}\n\nThe shoal of part ${n} turns **within a tenth** of a second, see [this page](https://example.com/${n}); its \`lateral line\` feels what the *eyes* do not see, and so `
    + 'the fish in the middle know of the hunter before it is near. '.repeat(6),
  (n) => Array.from({ length: 12 }, (_, i) => `${i + 1}. Fish ${n}.${i} keeps its distance by sight, and at night by **pressure** alone.\n   - the small ones gain the most\n   - the large ones go \`alone\``).join('\n'),
  (n) => `\`\`\`rust\n${Array.from({ length: 40 }, (_, i) => `fn turn_${n}_${i}(shoal: &mut Vec<Fish>, by: f32) -> Option<usize> { shoal.iter().position(|fish| fish.angle > by) } // ${i}`).join('\n')}\n\`\`\``,
  (n) => `| fish | length | place |\n|---|---:|---|\n${Array.from({ length: 20 }, (_, i) => `| minnow ${n}.${i} | ${i} cm | *river* ${i} |`).join('\n')}`,
  (n) => `A fish of length $L_{${n}}$ keeps about $d \\approx 0.9\\,L$, and a school of $n$ turns in\n\n$$\nt_{${n}} = \\tau \\sqrt[3]{\\frac{n}{\\rho}} + \\int_0^d \\frac{\\mathrm{d}x}{v(x)}\n$$`,
  (n) => `> Still water runs deep in part ${n}, but shallow water shimmers.\n\nAnd a last word, ${'with more and more of what was said before, '.repeat(5)}until it ends.`,
];

/** About 80 kB, which is 20,000 tokens. */
export const LONG = Array.from({ length: 60 }, (_, i) => PARTS[i % PARTS.length](i)).join('\n\n');

/** As much in one block that stays open to its end, which is the hardest. */
export const ONE_BLOCK = {
  list: Array.from({ length: 800 }, (_, i) => `${i + 1}. Fish ${i} keeps its distance by *sight*, and at night by **pressure** and its \`lateral line\` alone.`).join('\n'),
  table: `| fish | length | place |\n|---|---:|---|\n${Array.from({ length: 1600 }, (_, i) => `| minnow of the *river* ${i} | ${i} cm | below **bridge** ${i} |`).join('\n')}`,
  code: `\`\`\`rust\n${Array.from({ length: 1300 }, (_, i) => `let turn_${i} = shoal.iter().position(|fish| fish.angle > 0.5); // ${i}`).join('\n')}\n\`\`\``,
  paragraph: Array.from({ length: 1200 }, (_, i) => `The *small* fish ${i} knows of the **hunter** before it is near. `).join(''),
};

/** The tokens of `text`, more or less. */
export const tokensOf = (text) => text.match(/[^]{1,4}/g);

/** The events of `text` as a server tells them, one for each token. */
export const eventsOf = (text) => [...tokensOf(text).map(content), ending()];
