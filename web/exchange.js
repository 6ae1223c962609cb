// Conversations as files: JSON, which can be read in again and has all branches, and Markdown, which has the branch that is shown
// and is for people.

import { fromRecord, toRecord } from './record.js';
import { isObject } from './storage.js';

const FORMAT = 'shoal.conversations';
/** Longest file that is read in, in bytes. */
export const IMPORT_BYTES_MAX = 200_000_000;

export const toJson = (conversations) =>
  JSON.stringify({ format: FORMAT, version: 1, conversations: conversations.map(toRecord) }, null, 1);

/** The conversations in `text`; none if it is no such file. */
export function fromJson(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return [];
  }
  if (!isObject(value) || value.format !== FORMAT || !Array.isArray(value.conversations)) return [];
  return value.conversations.map(fromRecord).filter(Boolean);
}

/** The branch of `conversation` that is shown. `words` are what the speakers are called: `{ user, assistant }`. */
export function toMarkdown(conversation, words) {
  const parts = [`# ${conversation.name}`];
  for (const { role, content, reasoning = '', files = [] } of conversation.path) {
    parts.push(`## ${words[role]}`);
    for (const { name, text } of files) parts.push(`${name}:\n\n${fenced(text)}`);
    if (reasoning.trim() !== '') parts.push(reasoning.trim().replace(/^/gm, '> '));
    if (content.trim() !== '') parts.push(content.trim());
  }
  return `${parts.join('\n\n')}\n`;
}

/** `text` as a block of code, behind a fence that is longer than any in it. */
function fenced(text) {
  const longest = Math.max(2, ...(text.match(/`{3,}/g) ?? []).map(({ length }) => length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}\n${text.replace(/\n$/, '')}\n${fence}`;
}

/** What a file of `name` is called: nothing in it that a file system minds. */
export const fileName = (name, end) => `${name.replace(/[^\p{L}\p{N} _-]+/gu, '').trim().slice(0, 60) || 'shoal'}.${end}`;
