// Pictures of the page, to be looked at: `SHOAL_URL=… SHOTS=FOLDER node pictures.js`. It judges nothing.

import { browser, content, played, reasoning, stored, withPage } from './browser.js';

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
