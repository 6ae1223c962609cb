// The page as a whole: what the reader does and what the server says meet here. State is the conversation and the settings;
// everything shown is made from them. At most one answer is being written at a time.

import { apply, close, emptyAnswer, reopen, tick } from './answer.js';
import { ApiError, catalogue, chat, modelNames, tokenCount } from './api.js';
import { Branches } from './branches.js';
import { Composer } from './composer.js';
import { begunBy, Conversation } from './conversation.js';
import { copyText } from './dom.js';
import { Forecast } from './forecast.js';
import { History } from './history.js';
import { Library } from './library.js';
import { openModels } from './models.js';
import { keepOffline } from './offline.js';
import { Own } from './own.js';
import { Pace } from './pace.js';
import { apiKey, askForKey, wireDialogs, wireSettings } from './panels.js';
import { Prefill } from './prefill.js';
import { Follower } from './scroll.js';
import { requestFields, settings, settingsWith } from './settings.js';
import { openHelp, wireShortcuts } from './shortcuts.js';
import { speak, t } from './strings.js';
import { usualThought } from './thoughts.js';
import { sentence, turnOf } from './turns.js';

/** How often a conversation is kept while an answer is written, in milliseconds. */
const SAVE_EVERY = 2000;
/** Longest answer that is read out when it is complete, in characters; of a longer one only that it is there. */
const READ_OUT_MAX = 600;
/** How long a button says what it has done, and the page what has happened, in milliseconds. */
const DONE_SHOWN = 1500;
const NEWS_SHOWN = 6000;
/** The name of the model inside the program. */
const BUILT_IN = 'minnow';
/** Why an answer is stopped if its thoughts are to end and it is to go on. */
const NOW = 'now';

const byId = (id) => document.getElementById(id);

let conversation = new Conversation();
let model = '';
/** What to have first, as the catalogue has it; `null` if there is nothing to propose. */
let proposal = null;
/** What is shown of the branch: for each message its turn, see turns.js. */
let turns = [];
/** The `AbortController` of the answer being written, and what settles when that has ended. */
let live = null;
let ended = Promise.resolve();
let news = 0;

speak(settings.language);
const library = await Library.open(changedElsewhere);
const follower = new Follower((isThere) => { byId('latest').hidden = isThere || turns.length === 0; });
const composer = new Composer({
  onSend: send,
  onStop: () => live?.abort(),
  onType: typed,
  count: (text) => tokenCount(text, apiKey()),
  refuse: (words) => say(words, true),
});
const forecast = new Forecast(wanted, apiKey);
const prefill = new Prefill(() => (settings.prefill && wanted()?.isDraft ? { messages: wanted().messages, ...requestFields(held()) } : null), apiKey);
const history = new History(library, () => conversation, {
  open: (id) => switchTo(() => library.load(id)),
  changed: () => showRest(),
  gone: () => switchTo(() => null),
  say,
});
const branches = new Branches(choose);
const own = new Own(() => conversation.own, changedOwn);
const pace = new Pace(() => {
  turns.at(-1)?.update();
  follower.follow();
});

wire();
conversation = (await library.load(library.wasOpen)) ?? conversation;
showPath();
follower.toEnd();
history.show();
forecast.soon();
setBusy(false);
greet();
keepOffline();

/** Shows the branch; turns that are there already stay, unless all words are to be said anew. */
function showPath(isAnew = false) {
  const shown = isAnew ? [] : turns;
  turns = conversation.path.map((message, i) => {
    const family = conversation.siblings(message);
    const place = { n: family.indexOf(message) + 1, of: family.length };
    const old = shown[i];
    if (old?.message === message && old.place.n === place.n && old.place.of === place.of) return old;
    return Object.assign(turnOf(message, place), { place });
  });
  const root = byId('turns');
  turns.forEach(({ node }, i) => { if (root.children[i] !== node) root.insertBefore(node, root.children[i] ?? null); });
  while (root.children.length > turns.length) root.lastChild.remove();
  showRest();
}

/** Shows what is no turn: the welcome, the model, the notice. */
function showRest() {
  byId('welcome').hidden = turns.length > 0;
  delete document.documentElement.dataset.fresh;
  byId('new-chat').disabled = turns.length === 0;
  byId('model').textContent = model;
  composer.showThinking(model);
  byId('model').hidden = model === '';
  byId('model').setAttribute('aria-label', `${t('models')}: ${model}`);
  byId('welcome-note').textContent = model === '' ? t('welcome_note_bare') : t('welcome_note', { model });
  own.show();
  byId('first-run').hidden = proposal === null;
  if (proposal) {
    byId('first-run-words').textContent = t(proposal.state === 'here' ? 'first_run_here' : 'first_run', proposal);
  }
  document.title = turns.length > 0 ? `${conversation.name} · shoal` : 'shoal';
  if (news === 0) showNotice(library.isKept ? '' : t('not_kept'));
}

function showNotice(words) {
  byId('notice').hidden = words === '';
  byId('notice').textContent = words;
}

async function save() {
  const isNew = !library.heads.has(conversation.id);
  library.wasOpen = conversation.messages.length > 0 ? conversation.id : '';
  await library.save(conversation);
  if (isNew) history.show();
  showRest();
}

/** Says `text` to those who hear the page, and with `isSeen` to those who see it. */
function say(text, isSeen = false) {
  byId('status').textContent = text;
  if (!isSeen) return;
  clearTimeout(news);
  showNotice(text);
  news = setTimeout(() => { news = 0; showRest(); }, NEWS_SHOWN);
}

/** Asks the server what it serves, and for its key if it wants one. A server that is not there is told of when it is needed. */
async function greet() {
  try {
    [model = ''] = await modelNames(apiKey());
    proposal = model === BUILT_IN ? await proposed() : null;
  } catch (error) {
    if (error.code === 'key' && (await askForKey())) return greet();
  }
  showRest();
}

/** The model that this machine should have first, for who has none but the one in the program. */
const proposed = async () => (await catalogue(apiKey()).catch(() => null))?.find((entry) => entry.proposed) ?? null;

/** Opens the page of models; another one may answer after that. */
function showModels() {
  openModels(apiKey(), (name) => {
    model = name;
    proposal = null;
    forecast.forget();
    showRest();
  });
}

/** What stands in the composer has changed. */
function typed() {
  forecast.soon();
  if (settings.prefill && !live) prefill.typed();
}

/** The settings as they hold in this conversation. */
const held = () => settingsWith(conversation.own);

/** What would be sent now, and how much of it the server knows from the last answer; `null` if there is nothing or no turn for it. */
function wanted() {
  const { text, files, edited } = composer;
  const isDraft = (text !== '' || files.length > 0) && edited?.role !== 'assistant';
  const before = edited ? conversation.pathTo(conversation.parentOf(edited)) : conversation.path;
  const messages = conversation.toRequest(held().system, isDraft ? [...before, { role: 'user', content: text, files }] : before);
  if (live || !messages.some(({ role }) => role !== 'system')) return null;
  const { figures, reasoning } = before.findLast((message) => message.figures) ?? {};
  // What the model thought is not told again, so there the known part ends.
  const known = figures ? figures.prompt + (reasoning === '' ? figures.tokens : 0) : 0;
  return { messages, known, isDraft };
}

function send(text, files, edited) {
  prefill.stop();
  const before = edited ? conversation.parentOf(edited) : conversation.last;
  if (edited?.role === 'assistant') {
    const { reasoning, reasoningMs, reasoningTokens } = edited;
    conversation.addAnswer(before, { content: text, state: 'done', reasoning, reasoningMs, reasoningTokens });
    showPath();
    save();
    return;
  }
  ended = answer(conversation.addQuestion(text, files, before));
}

/** Lets the model answer `question`, beginning with what `begun` has, or into `message` if there is one already. */
async function answer(question, begun = {}, message = conversation.addAnswer(question, begun)) {
  showPath();
  follower.toEnd();
  say(t('waiting'));
  live = new AbortController();
  setBusy(true);
  save();
  const clock = setInterval(() => { tick(message, performance.now()); pace.soon(); }, 1000);
  const saver = setInterval(save, SAVE_EVERY);
  const { state, error } = await outcome(message);
  clearInterval(clock);
  clearInterval(saver);
  close(message, state, performance.now(), error);
  live = null;
  setBusy(false);
  conversation.changed = Date.now();
  const isSaved = save();
  pace.now();
  tell(message);
  forecast.soon();
  await isSaved;
  history.show();
}

/** Fills `message` from the server and says how that ended. */
async function outcome(message) {
  const { signal } = live;
  const start = performance.now();
  try {
    const asked = conversation.toRequest(held().system, conversation.pathTo(conversation.parentOf(message)));
    if (message.content !== '' || message.reasoning !== '') asked.push(begunBy(message));
    for await (const chunk of chat({ messages: asked, ...requestFields(held()) }, apiKey(), signal)) {
      apply(message, chunk, performance.now());
      if (message.firstMs === 0 && ['thinking', 'writing'].includes(message.state)) {
        message.firstMs = performance.now() - start;
        message.usualThought = usualThought(library.newest, message.model);
      }
      pace.soon();
    }
    return { state: 'done' };
  } catch (error) {
    if (signal.aborted && signal.reason === NOW) {
      reopen(message, performance.now());
      live = new AbortController();
      return outcome(message);
    }
    if (signal.aborted) return { state: 'stopped' };
    if (!(error instanceof ApiError)) {
      // A fault of this page. The reader may go on all the same.
      console.error(error);
      return { state: 'failed', error: { code: 'broke', message: '' } };
    }
    if (error.code === 'key' && (await askForKey())) {
      greet();
      return outcome(message);
    }
    return { state: 'failed', error: { code: error.code, message: error.message } };
  }
}

/** Tells those who cannot see it how an answer ended; word by word would be noise. */
function tell({ state, error, content }) {
  if (error) return say(sentence(error));
  const end = t(state === 'stopped' ? 'is_stopped' : 'is_complete');
  say(content.length <= READ_OUT_MAX ? `${end} ${turns.at(-1).node.querySelector('.prose')?.textContent ?? ''}` : end);
}

function setBusy(isBusy) {
  document.body.dataset.busy = isBusy;
  composer.setBusy(isBusy);
}

/** What buttons in the conversation do. */
const ACTIONS = {
  async copy(button, { message }) {
    confirmCopy(button, await copyText(message.content));
  },
  async 'copy-code'(button) {
    // Without the last end of line: pasted into a shell, it would be obeyed before it is read.
    confirmCopy(button, await copyText(button.closest('.code').querySelector('pre').textContent.replace(/\n$/, '')));
  },
  idea(button) {
    composer.write(button.textContent);
  },
  models: showModels,
  now() {
    live?.abort(NOW);
  },
  tokens(_, turn) {
    turn.toggleTokens();
  },
  branches(_, turn) {
    branches.open(conversation, turn?.message);
  },
};

/** What buttons do that only one may do at a time: none of it while an answer is written. */
const ASKING = {
  again(_, { message }) {
    composer.focus();
    ended = answer(conversation.parentOf(message));
  },
  retry(_, { message }) {
    composer.focus();
    // An answer that never came is no version to keep.
    const isEmpty = message.content === '' && message.reasoning === '';
    if (isEmpty) ended = answer(null, {}, Object.assign(message, emptyAnswer()));
    else ended = answer(conversation.parentOf(message));
  },
  'go-on'(_, { message }) {
    const { content, reasoning, reasoningMs, reasoningTokens } = message;
    composer.focus();
    ended = answer(conversation.parentOf(message), { content, reasoning, reasoningMs, reasoningTokens });
  },
  branch(button, { message }) {
    const { reasoning, reasoningMs, reasoningTokens } = message;
    composer.focus();
    ended = answer(conversation.parentOf(message), { content: button.dataset.begin, reasoning, reasoningMs, reasoningTokens });
  },
  edit(_, { message }) {
    composer.edit(message);
  },
  previous: (_, { message }) => step(message, -1),
  next: (_, { message }) => step(message, 1),
};

function step(message, by) {
  const family = conversation.siblings(message);
  const other = family[family.indexOf(message) + by];
  if (!other) return;
  choose(other);
  // The same arrow again, or where there are no more, the other one.
  const { node } = turns.find((turn) => turn.message === other);
  const arrows = ['next', 'previous'].map((name) => node.querySelector(`[data-action=${name}]`));
  (by > 0 ? arrows : arrows.reverse()).find((arrow) => arrow && !arrow.disabled)?.focus();
}

function choose(message) {
  if (live) return;
  composer.cancelEdit();
  conversation.choose(message);
  showPath();
  save();
  forecast.soon();
}

function confirmCopy(button, isCopied) {
  const words = button.querySelector('span');
  words.textContent = t(isCopied ? 'copied' : 'not_copied');
  say(words.textContent);
  setTimeout(() => { words.textContent = t('copy'); }, DONE_SHOWN);
}

/** Leaves the conversation for the one that `load()` brings, or a new one. */
async function switchTo(load) {
  live?.abort();
  // The stopped answer is closed first, or it would be kept as if it were still being written.
  await ended;
  composer.cancelEdit();
  conversation = (await load()) ?? new Conversation();
  library.wasOpen = conversation.messages.length > 0 ? conversation.id : '';
  showPath(true);
  history.show();
  follower.toEnd();
  forecast.soon();
  composer.focus();
}

/** Another tab has changed the conversation `id`, or with an empty one all: show it, rather than write over it with what is old here. */
async function changedElsewhere(id) {
  if ((id === conversation.id || id === '') && !live && conversation.messages.length > 0) {
    conversation = (await library.load(conversation.id)) ?? new Conversation();
    showPath(true);
  }
  history.show();
}

function changed(setting) {
  if (setting === 'theme') globalThis.paintTheme(settings.theme);
  if (setting === 'system') forecast.soon();
  if (setting === 'language') {
    speak(settings.language);
    composer.showWords();
    history.show();
    forecast.show();
    showPath(true);
  }
}

/** The conversation is to have `values` of its own. */
function changedOwn(values) {
  conversation.own = values;
  showRest();
  save();
  forecast.soon();
}

function wire() {
  wireDialogs();
  wireSettings(changed);
  document.querySelector('main').addEventListener('click', ({ target }) => {
    const button = target.closest('[data-action]');
    if (button) act(button.dataset.action, turns.find(({ node }) => node.contains(button)), button);
  });
  const startAnew = () => switchTo(() => null);
  const lastOf = (role) => turns.findLast(({ message }) => message.role === role);
  byId('new-chat').addEventListener('click', startAnew);
  byId('latest').addEventListener('click', () => follower.toEnd());
  byId('model').addEventListener('click', showModels);
  byId('open-models').addEventListener('click', showModels);
  byId('open-help').addEventListener('click', openHelp);
  wireShortcuts({
    new: startAnew,
    search: () => history.search(),
    write: () => composer.focus(),
    help: openHelp,
    branches: () => branches.open(conversation),
    edit: () => act('edit', lastOf('user')),
    again: () => act('again', lastOf('assistant')),
    siblings: ({ key }) => act(key === 'ArrowLeft' ? 'previous' : 'next', lastOf('assistant')),
  });
  // A longer draft takes from the conversation's room.
  new ResizeObserver(() => follower.follow()).observe(document.querySelector('.dock'));
  addEventListener('pagehide', save);
}

function act(action, turn, button) {
  if (ACTIONS[action]) ACTIONS[action](button, turn);
  // Where a key asks there may be no such turn.
  else if (!live && turn) ASKING[action]?.(button, turn);
}
