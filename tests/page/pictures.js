// Pictures of the page, to be looked at: `SHOAL_URL=… SHOTS=FOLDER node pictures.js`. It judges nothing.

import { answering, browser, content, first, played, reasoning, stored, withPage } from './browser.js';

const FOLDER = process.env.SHOTS ?? '.';

const ANSWER = `A shoal is a group of **fish that stay together** for company, and a \`school\` is one that also swims the same way.

## Three things to know

1. They keep their distance by sight and by the *lateral line*.
2. They turn within a tenth of a second, see [this page](https://example.com/shoals).
   - Small fish gain the most.
   - Large ones often go alone.

> Still water runs deep, but shallow water shimmers.

\`\`\`rust
fn main() {
    let shoal = vec!["minnow", "herring", "sprat"]; // a long line that does not fit into the width of a telephone
    println!("{} fish: {shoal:?}", shoal.len());
}
\`\`\`

| fish | length |
|---|---:|
| minnow | 8 cm |
| herring | 40 cm |

A fish of length $L$ keeps its neighbours at about $d \\approx 0.9\\,L$, and a school of $n$ fish turns in

$$
t = \\tau \\sqrt[3]{\\frac{n}{\\rho}} + \\int_0^d \\frac{\\mathrm{d}x}{v(x)}
$$

- [x] seen from above
- [ ] heard

![A picture](https://example.com/shoal.png) would be a link, and Vec<String> stays what it is.`;

const CHINESE = `鱼群是一群**聚在一起**的鱼。\n\n1. 用眼睛和*侧线*保持距离\n2. 不到十分之一秒就能转向\n\n\`\`\`python\nprint("你好，浅水")\n\`\`\`\n\n> 静水流深。`;

const figures = { tokens: 212, perSecond: 41.7, cached: 96, prompt: 120 };
const told = (question, answer) => stored({
  messages: [
    { role: 'user', content: question },
    { role: 'assistant', content: answer, state: 'done', reasoning: 'The reader asks about fish.\nI shall be brief.', reasoningMs: 12_300, figures },
  ],
});
const chance = (text, share, ...others) => ({
  bytes: [...Buffer.from(text)], logprob: Math.log(share),
  others: [[text, share], ...others].map(([other, part]) => ({ bytes: [...Buffer.from(other)], logprob: Math.log(part) })),
});
const TOKENS = [
  chance('Once', 0.97), chance(' upon', 0.99), chance(' a', 0.99), chance(' time', 0.99), chance(' there', 0.71, [',', 0.2]), chance(' was', 0.9), chance(' a', 0.95),
  chance(' small', 0.34, [' little', 0.41], [' fish', 0.12], [' big', 0.06], [' brave', 0.02]), chance(' fish', 0.66), chance(' who', 0.21), chance(' wondered', 0.05), chance(' how', 0.3),
  chance(' deep', 0.4), chance(' the', 0.92), chance(' sea', 0.55), chance(' was', 0.9), chance('.', 0.88),
];
const branched = stored({
  messages: [
    { role: 'user', content: 'Tell me a story about a small fish', parent: null },
    { role: 'assistant', content: 'Once upon a time there was a big fish who swam away.', state: 'done', figures, parent: 0 },
    { role: 'assistant', content: TOKENS.map(({ bytes }) => Buffer.from(bytes).toString()).join(''), state: 'done', figures, tokens: TOKENS, parent: 0 },
    { role: 'user', content: 'And how deep was it?', parent: 2 },
    { role: 'assistant', content: 'Deeper than any fish had ever been.', state: 'done', figures, parent: 3 },
  ],
  previous: [{ role: 'user', content: 'Why is the sea salty?' }, { role: 'assistant', content: 'Rivers bring salt.', state: 'done' }],
});
const rate = (expected) => ({ expected, low: expected * 0.8, high: expected * 1.25 });
const row = (model, quantisation, more) => ({ model, quantisation, served: false, context: 32768, verdict: 'fits', binds: 'memory', ...more });
const planned = answering({
  '/v1/plan': {
    object: 'plan', machine: 'x', models: [
      row('minnow', 'F32', { served: true, context: 4096, decode: rate(412), first_token_s: 0.02, memory_bytes: 6.1e7, file_bytes: 2.1e7, binds: 'small operations' }),
      row('DeepSeek-R1-Distill-Qwen-7B', 'Q4_K_M', { decode: rate(11.4), first_token_s: 6.2, memory_bytes: 5.2e9, file_bytes: 4.7e9 }),
      row('DeepSeek-V2-Lite', 'Q4_K_M', { decode: rate(24.1), first_token_s: 3.1, memory_bytes: 1.1e10, file_bytes: 1.04e10 }),
      row('DeepSeek-V4-Flash', 'MXFP4', { verdict: 'streams', decode: rate(1.7), first_token_s: 41, memory_bytes: 2.8e10, file_bytes: 1.6e11, binds: 'the drive' }),
      row('DeepSeek-V3.2', 'Q4_K_M', { verdict: 'no', decode: null, first_token_s: null, memory_bytes: 3.7e11, file_bytes: 4.04e11 }),
    ],
  },
  '/v1/messages/count_tokens': { input_tokens: 1530 }, '/tokenize': { tokens: Array(812).fill(1) },
});
const had = (name, description, parameters, memory, state, more = {}) => ({
  name, description, parameters, memory, licence: 'MIT', state, here_bytes: 0, total_bytes: null, bytes_per_s: null, error: null, served: false, proposed: false, ...more,
});
const shelf = answering({ '/v1/catalogue': { object: 'list', data: [
  had('smollm2-135m', 'SmolLM2 135M Instruct, Q4_1: small and quick, for trying things out', '135M', '0.2 GiB', 'here', { here_bytes: 9.8e7, total_bytes: 9.8e7 }),
  had('r1-distill-qwen-7b', 'DeepSeek-R1\'s reasoning taught to Qwen-7B, Q4_K_M', '7.6B', '5.5 GiB', 'fetching', { here_bytes: 1.9e9, total_bytes: 4.7e9, bytes_per_s: 3.1e7 }),
  had('r1-distill-llama-8b', 'DeepSeek-R1\'s reasoning taught to Llama-8B, Q4_K_M', '8.0B', '6 GiB', 'absent', { proposed: true }),
] } });
const failed = stored({
  messages: [
    { role: 'user', content: 'And then?' },
    { role: 'assistant', content: 'They turn around, and', state: 'failed', error: { code: 'busy', message: '' } },
  ],
});
const english = told('What is a shoal?\nTell me all of it.', ANSWER);
const phone = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
const top = (page) => page.evaluate(() => scrollTo(0, 0));
const streaming = played({ events: [reasoning('Hm, '), ...ANSWER.match(/[^]{1,6}/g).map(content)], pause: 12, end: 'hold' });
const reading = played({ events: [{ choices: [], prompt_progress: { total: 3120, cache: 0, processed: 1024, time_ms: 1 } }], end: 'hold' });
const ask = async (page) => {
  await page.fill('#draft', 'What is a shoal?');
  await page.keyboard.press('Enter');
  await page.waitForTimeout(1600);
};

const own = async (page) => {
  await page.click('#open-settings');
  await page.click('#scope-chat-name');
  await page.fill('#own-system', 'You are a marine biologist who answers in two sentences and names the Latin species.');
  await page.fill('#own-temperature', '0.2');
};

const PICTURES = {
  'welcome-light': [{}],
  'welcome-phone-chinese': [{ ...phone, locale: 'zh-CN' }],
  'conversation-light': [{ before: english }, async (page) => { await top(page); await page.click('summary'); }],
  'conversation-light-end': [{ before: english }],
  'conversation-dark': [{ before: english, colorScheme: 'dark' }, top],
  'conversation-phone-dark': [{ ...phone, before: english, colorScheme: 'dark' }, top],
  'conversation-chinese': [{ before: told('什么是鱼群？', CHINESE), locale: 'zh-CN' }],
  'failed-phone': [{ ...phone, before: failed }],
  'mid-stream': [{ before: streaming }, ask],
  'mid-stream-phone-dark': [{ ...phone, before: streaming, colorScheme: 'dark' }, ask],
  reading: [{ before: reading }, ask],
  editing: [{ before: english }, (page) => page.click('[data-action=edit]')],
  settings: [{}, (page) => page.click('#open-settings')],
  'settings-phone-dark-chinese': [{ ...phone, colorScheme: 'dark', locale: 'zh-CN' }, (page) => page.click('#open-settings')],
  'own-settings': [{ before: english }, own],
  'own-settings-phone-dark': [{ ...phone, before: english, colorScheme: 'dark' }, own],
  own: [{ before: english }, async (page) => { await own(page); await page.keyboard.press('Escape'); await top(page); }],
  thinking: [{ before: played({ events: Array(60).fill(reasoning('Let me see what keeps a school of fish together. ')), pause: 25, end: 'hold' }) }, async (page) => {
    await page.fill('#draft', 'What is a shoal?');
    await page.keyboard.press('Enter');
    await page.waitForSelector('.thinking summary');
    await page.click('.thinking summary');
    await page.waitForTimeout(1500);
  }],
  'history-desktop': [{ before: branched, viewport: { width: 1300, height: 800 } }, async (page) => { await page.click('#open-history'); await page.locator('.chat-more').last().click(); }],
  'history-phone': [{ ...phone, before: branched }, (page) => page.click('#open-history')],
  tokens: [{ before: branched }, async (page) => { await page.locator('[data-action=tokens]').first().click(); await page.locator('.token').nth(7).hover(); }],
  branches: [{ before: branched }, (page) => page.locator('.which').click()],
  'models-shelf': [{ before: first(planned, shelf) }, async (page) => { await page.click('#model'); await page.waitForSelector('#shelf-near li'); }],
  'first-run': [{ before: shelf }],
  'first-run-phone': [{ ...phone, before: shelf, locale: 'zh-CN' }],
  models: [{ before: planned }, async (page) => { await page.click('#model'); await page.waitForSelector('.models'); }],
  'models-phone-dark': [{ ...phone, before: planned, colorScheme: 'dark' }, async (page) => { await page.click('#model'); await page.waitForSelector('.models'); }],
  composer: [{ before: first(english, planned) }, async (page) => {
    await page.setInputFiles('#files', { name: 'notes-on-fish.md', mimeType: 'text/plain', buffer: Buffer.from('# Fish') });
    await page.fill('#draft', 'What do my notes say about schools?');
    await page.waitForSelector('#forecast', { state: 'visible' });
  }],
  'contrast-dark': [{ before: first(english, planned), colorScheme: 'dark', contrast: 'more' }, top],
  'conversation-chinese-traditional': [{ before: told('什麼是魚群？', CHINESE), locale: 'zh-TW', colorScheme: 'dark' }],
  help: [{}, (page) => page.evaluate(() => document.getElementById('open-help').click())],
  key: [{ before: played({ status: 401, body: {} }), allowed: /401/ }, ask],
};

for (const [name, [options, act = async () => {}]] of Object.entries(PICTURES)) {
  await withPage(options, async (page) => {
    await page.waitForFunction(() => document.getElementById('model').textContent !== '');
    await act(page);
    await page.waitForTimeout(250);
    await page.screenshot({ path: `${FOLDER}/${name}.png` });
  });
}
await browser.close();
