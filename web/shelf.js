// The models that can be had by name: what is on this machine, fetching with its progress, leaving off, deleting, and letting another one
// answer. The server does all of it (/v1/catalogue); here it is asked for, and looked at again while something is on its way.

import { catalogue, catalogueAct, served } from './api.js';
import { el } from './dom.js';
import { isMeant } from './panels.js';
import { duration, percent, size, t } from './strings.js';

/** How often is looked again while a model is fetched, and while one is loaded, in milliseconds. */
const LOOK_EVERY = 700;

const byId = (id) => document.getElementById(id);

let looking = 0;

/** Shows the list in the dialog of models, as long as that is open. `answers(name)` hears that another model answers now. */
export async function showShelf(key, answers) {
  clearTimeout(looking);
  byId('shelf-note').textContent = '';
  await look(key, answers);
}

async function look(key, answers) {
  const entries = await catalogue(key).catch(() => null);
  byId('shelf').hidden = entries === null;
  if (entries === null || !byId('models').open) return;
  draw(entries, (act, entry) => doIt(act, entry, key, answers));
  if (entries.some(({ state }) => state === 'fetching')) looking = setTimeout(() => look(key, answers), LOOK_EVERY);
}

/** What is here comes first, then what is proposed, and the others when they are asked for. */
function draw(entries, act) {
  const isNear = (entry) => entry.state !== 'absent' || entry.proposed || entry.error !== null;
  const row = (entry) => line(entry, act);
  keepingFocus(byId('shelf'), () => {
    byId('shelf-near').replaceChildren(...entries.filter(isNear).map(row));
    byId('shelf-more').replaceChildren(...entries.filter((entry) => !isNear(entry)).map(row));
  });
}

/** Runs `redraw`, which makes the nodes in `root` anew, and gives the focus to the one that stands in the place of who had it. */
function keepingFocus(root, redraw) {
  const { name, act } = root.contains(document.activeElement) ? document.activeElement.dataset : {};
  redraw();
  if (name === undefined) return;
  const ofModel = [...root.querySelectorAll('button')].filter(({ dataset }) => dataset.name === name);
  (ofModel.find(({ dataset }) => dataset.act === act) ?? ofModel[0])?.focus();
}

function line(entry, act) {
  const { name, description, parameters, licence, memory, state, served: isServed, proposed, error } = entry;
  const head = el('p', { className: 'shelf-head' }, el('strong', { textContent: name }));
  if (isServed) head.append(el('em', { textContent: t('model_here') }));
  else if (proposed && state === 'absent') head.append(el('em', { textContent: t('proposed') }));
  const about = el('p', { className: 'note', textContent: [description, parameters, sizeOf(entry), t('needs', { memory }), licence].filter(Boolean).join(' · ') });
  const node = el('li', {}, head, about);
  if (state === 'fetching' || state === 'part') node.append(progress(entry));
  if (error !== null) node.append(el('p', { className: 'note alarm', textContent: error }));
  const buttons = actsOf(entry).map((name) => button(name, entry, act));
  if (buttons.length > 0) node.append(el('div', { className: 'shelf-acts' }, ...buttons));
  return node;
}

const sizeOf = ({ total_bytes: bytes }) => (bytes === null ? '' : size(bytes));

function actsOf({ state, served: isServed }) {
  if (isServed) return [];
  return { absent: ['fetch'], part: ['resume', 'delete'], fetching: ['pause'], here: ['serve', 'delete'] }[state] ?? [];
}

function button(name, entry, act) {
  const node = el('button', { type: 'button', className: name === 'delete' ? 'quiet-button' : 'line-button', textContent: t(`shelf_${name}`) });
  Object.assign(node.dataset, { act: name, name: entry.name });
  node.setAttribute('aria-label', `${node.textContent}: ${entry.name}`);
  node.addEventListener('click', () => act(name, entry));
  return node;
}

/** How much is here, and how long the rest takes. */
function progress({ name, state, here_bytes: here, total_bytes: all, bytes_per_s: rate }) {
  const parts = [all === null ? size(here) : t('shelf_of', { here: size(here), all: size(all), percent: percent(here / all) })];
  if (state === 'fetching' && rate > 0) {
    parts.push(t('shelf_rate', { rate: size(rate) }));
    if (all !== null) parts.push(t('shelf_left', { time: duration(((all - here) / rate) * 1000) }));
  }
  const bar = el('progress', { max: all ?? 1, ...(all !== null && { value: here }) });
  bar.setAttribute('aria-label', name);
  return el('p', { className: 'shelf-progress' }, bar, el('span', { textContent: parts.join(' · ') }));
}

async function doIt(name, entry, key, answers) {
  if (name === 'delete' && !(await isMeant(t('shelf_sure', { name: entry.name, size: size(entry.here_bytes) }), t('shelf_delete')))) return;
  clearTimeout(looking);
  const [method, path] = {
    fetch: ['POST', '/fetch'], resume: ['POST', '/fetch'], pause: ['POST', '/pause'], serve: ['POST', '/serve'], delete: ['DELETE', ''],
  }[name];
  const note = byId('shelf-note');
  note.textContent = '';
  try {
    const before = name === 'serve' ? await served(key) : null;
    await catalogueAct(method, `${encodeURIComponent(entry.name)}${path}`, key);
    if (before) {
      note.textContent = t('shelf_changing', { name: entry.name });
      const now = await another(before, key);
      note.textContent = t(now === entry.name ? 'shelf_changed' : 'shelf_not_changed', { name: entry.name });
      answers(now);
    }
  } catch (error) {
    note.textContent = error.message;
  }
  await look(key, answers);
}

/** The model that answers once it is not that of `before` any more: a server that comes back has begun anew. While none answers, a question waits. */
async function another(before, key) {
  for (;;) {
    await new Promise((resolve) => { setTimeout(resolve, LOOK_EVERY); });
    const now = await served(key).catch(() => null);
    if (now && (now.id !== before.id || now.created !== before.created)) return now.id;
  }
}
