// Colours for code: highlight.js with the languages that are asked for, each loaded when it is first needed.

import hljs from './vendor/highlight/core.min.js';

/** Files of languages, and by which names models call them. */
const LANGUAGES = {
  bash: ['sh', 'shell', 'zsh', 'console'],
  c: ['h'],
  cpp: ['c++', 'cc', 'hpp', 'cxx'],
  csharp: ['cs', 'c#'],
  css: [],
  diff: ['patch'],
  go: ['golang'],
  java: [],
  javascript: ['js', 'jsx', 'mjs', 'node'],
  json: ['json5', 'jsonc'],
  markdown: ['md'],
  python: ['py', 'python3'],
  rust: ['rs'],
  sql: ['postgresql', 'sqlite', 'mysql'],
  typescript: ['ts', 'tsx'],
  xml: ['html', 'svg', 'xhtml', 'vue'],
  yaml: ['yml', 'toml'],
};

const fileOf = (name) => Object.keys(LANGUAGES).find((file) => file === name || LANGUAGES[file].includes(name)) ?? null;

/** `text` as HTML of spans; `null` if its language is not known here. */
export async function highlighted(text, name) {
  const language = fileOf(name.toLowerCase());
  if (language === null) return null;
  if (!hljs.getLanguage(language)) {
    const { default: rules } = await import(`./vendor/highlight/${language}.min.js`);
    hljs.registerLanguage(language, rules);
  }
  return hljs.highlight(text, { language, ignoreIllegals: true }).value;
}
