// The page as a whole: what the reader does and what the server says meet here. State is the conversation and the settings;
// everything shown is made from them. At most one answer is being written at a time.

import { apply, close, tick } from './answer.js';
import { ApiError, chat, modelName } from './api.js';
import { Composer } from './composer.js';
import { Conversation, KEY } from './conversation.js';
import { copyText } from './dom.js';
import { Pace } from './pace.js';
import { apiKey, askForKey, wireKey, wireSettings } from './panels.js';
import { Follower } from './scroll.js';
import { requestFields, settings } from './settings.js';
import { speak, t } from './strings.js';
import { sentence, turnOf } from './turns.js';

/** How often a conversation is kept while an answer is written, in milliseconds. */
const SAVE_EVERY = 2000;
/** Longest answer that is read out when it is complete, in characters; of a longer one only that it is there. */
const READ_OUT_MAX = 600;
/** How long a button says what it has done, in milliseconds. */
const DONE_SHOWN = 1500;

const byId = (id) => document.getElementById(id);

const conversation = Conversation.load();
let model = '';
let turns = [];
/** The `AbortController` of the answer being written, and what settles when that has ended. */
let live = null;
let ended = Promise.resolve();

speak(settings.language);
const follower = new Follower((isThere) => { byId('latest').hidden = isThere || turns.length === 0; });
const composer = new Composer({ onSend: send, onStop: () => live?.abort() });
const pace = new Pace(() => {
  turns.at(-1)?.update();
  follower.follow();
});

wire();
showAll();
follower.toEnd();
greet();

/** Shows the conversation anew. */
function showAll() {
  turns = conversation.messages.map(turnOf);
  byId('turns').replaceChildren(...turns.map(({ node }) => node));
  showRest();
}

/** Shows what is no turn: the welcome, the model, the notice. */
function showRest() {
  byId('welcome').hidden = turns.length > 0;
  byId('new-chat').disabled = turns.length === 0;
  byId('go-back').hidden = conversation.previous.length === 0;
  byId('model').textContent = model;
  byId('welcome-note').textContent = model === '' ? t('welcome_note_bare') : t('welcome_note', { model });
  byId('notice').hidden = conversation.isKept;
  byId('notice').textContent = conversation.isKept ? '' : t('not_kept');
}

function showTurn(message) {
  const turn = turnOf(message);
  turns.push(turn);
  byId('turns').append(turn.node);
  showRest();
}

function save() {
  conversation.save();
  showRest();
}

/** Says `text` to those who hear the page. */
function say(text) {
  byId('status').textContent = text;
}

/** Asks the server what it serves, and for its key if it wants one. A server that is not there is told of when it is needed. */
async function greet() {
  try {
    model = await modelName(apiKey());
  } catch (error) {
    if (error.code === 'key' && (await askForKey())) return greet();
  }
  showRest();
}

function send(text, isEdit) {
  if (isEdit) {
    conversation.dropLastQuestion();
    showAll();
  }
  conversation.addQuestion(text);
  showTurn(conversation.messages.at(-1));
  ended = answer();
}

/** Lets the model answer the last question. */
async function answer() {
  const message = conversation.addAnswer();
  showTurn(message);
  follower.toEnd();
  say(t('waiting'));
  live = new AbortController();
  setBusy(true);
  save();
  const clock = setInterval(() => { tick(message, performance.now()); pace.soon(); }, 1000);
  const saver = setInterval(save, SAVE_EVERY);
  const { state, error } = await outcome(message, live.signal);
  clearInterval(clock);
  clearInterval(saver);
  close(message, state, performance.now(), error);
  live = null;
  setBusy(false);
  pace.now();
  save();
  tell(message);
}

/** Fills `message` from the server and says how that ended. */
async function outcome(message, signal) {
  try {
    const request = { messages: conversation.toRequest(settings.system), ...requestFields() };
    for await (const chunk of chat(request, apiKey(), signal)) {
      apply(message, chunk, performance.now());
      pace.soon();
    }
    return { state: 'done' };
  } catch (error) {
    if (signal.aborted) return { state: 'stopped' };
    if (!(error instanceof ApiError)) {
      // A fault of this page. The reader may go on all the same.
      console.error(error);
      return { state: 'failed', error: { code: 'broke', message: '' } };
    }
    if (error.code === 'key' && (await askForKey())) {
      greet();
      return outcome(message, signal);
    }
    return { state: 'failed', error: { code: error.code, message: error.message } };
  }
}

/** Tells those who cannot see it how an answer ended; word by word would be noise. */
function tell({ state, error, content }) {
  if (error) return say(sentence(error));
  const end = t(state === 'stopped' ? 'is_stopped' : 'is_complete');
  say(content.length <= READ_OUT_MAX ? `${end} ${turns.at(-1).node.querySelector('.prose').textContent}` : end);
}

function setBusy(isBusy) {
  document.body.dataset.busy = isBusy;
  composer.setBusy(isBusy);
}

/** What buttons in the conversation do. */
const ACTIONS = {
  async copy(button) {
    const { message } = turns.find(({ node }) => node.contains(button));
    confirmCopy(button, await copyText(message.content));
  },
  async 'copy-code'(button) {
    // Without the last end of line: pasted into a shell, it would be obeyed before it is read.
    confirmCopy(button, await copyText(button.closest('.code').querySelector('pre').textContent.replace(/\n$/, '')));
  },
  again() {
    conversation.dropLastAnswer();
    turns.pop().node.remove();
    composer.focus();
    ended = answer();
  },
  edit() {
    composer.edit(conversation.lastQuestion.content);
  },
  idea(button) {
    composer.write(button.textContent);
  },
};

function confirmCopy(button, isCopied) {
  const words = button.querySelector('span');
  words.textContent = t(isCopied ? 'copied' : 'not_copied');
  say(words.textContent);
  setTimeout(() => { words.textContent = t('copy'); }, DONE_SHOWN);
}

/** Leaves the conversation for another: `change` makes it. */
async function switchTo(change) {
  live?.abort();
  // The stopped answer is closed first, or it would be kept as if it were still being written.
  await ended;
  change();
  composer.cancelEdit();
  save();
  showAll();
  follower.toEnd();
  composer.focus();
}

function changed(setting) {
  if (setting === 'theme') {
    if (settings.theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = settings.theme;
  }
  if (setting === 'language') {
    speak(settings.language);
    composer.showWords();
    showAll();
  }
}

function wire() {
  wireSettings(changed);
  wireKey();
  setBusy(false);
  document.querySelector('main').addEventListener('click', ({ target }) => {
    const button = target.closest('[data-action]');
    const isAsking = ['again', 'edit'].includes(button?.dataset.action);
    if (button && !(isAsking && live)) ACTIONS[button.dataset.action](button);
  });
  byId('new-chat').addEventListener('click', () => switchTo(() => conversation.startAnew()));
  byId('go-back').addEventListener('click', () => switchTo(() => conversation.goBack()));
  byId('latest').addEventListener('click', () => follower.toEnd());
  // A longer draft takes from the conversation's room.
  new ResizeObserver(() => follower.follow()).observe(document.querySelector('.dock'));
  addEventListener('pagehide', () => conversation.save());
  // Another tab has changed the conversation: show it, rather than write over it with what is old here.
  addEventListener('storage', ({ key }) => {
    if (key !== KEY || live) return;
    Object.assign(conversation, Conversation.load());
    showAll();
  });
}
