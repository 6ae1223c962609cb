// The page of models: what answers here, what can be had (shelf.js), and what else would run on this machine and how fast, as the planner has
// it.

import { modelNames, plan } from './api.js';
import { el } from './dom.js';
import { showShelf } from './shelf.js';
import { rounded, shortDuration, size, t } from './strings.js';

/** The prompt that forecasts are made for, in tokens. */
const PROMPT = 512;

const byId = (id) => document.getElementById(id);

/** What the planner says binds a model, and our words for it. */
const BINDS = {
  memory: 'binds_memory', arithmetic: 'binds_arithmetic', attention: 'binds_attention', 'small operations': 'binds_small',
  'the link between devices': 'binds_link', 'the drive': 'binds_drive',
};
const VERDICTS = { fits: 'verdict_fits', streams: 'verdict_streams', no: 'verdict_no' };

/** Opens the panel and fills it from the server; `answers(name)` hears that another model answers now. */
export async function openModels(key, answers) {
  byId('models-note').textContent = '';
  byId('models-list').replaceChildren();
  byId('models').showModal();
  showShelf(key, answers);
  const [names, planned] = await Promise.all([modelNames(key).catch(() => []), plan(PROMPT, 0, key).catch(() => undefined)]);
  const served = names.length > 0 ? `${t('models_served', { names: names.join(', ') })} ` : '';
  const note = planned === undefined ? 'models_failed' : planned === null ? 'models_none' : 'models_note';
  byId('models-note').textContent = served + t(note, { n: PROMPT });
  if (planned) byId('models-list').replaceChildren(table(bestFirst(planned.models)));
}

/** The one that answers, then those that run, then the others; the fastest first. */
export function bestFirst(rows) {
  const speed = ({ decode }) => decode?.expected ?? -1;
  return [...rows].sort((a, b) => b.served - a.served || (a.verdict === 'no') - (b.verdict === 'no') || speed(b) - speed(a));
}

const COLUMNS = ['model', 'verdict', 'speed', 'first_token', 'memory', 'file', 'bound'];

function table(rows) {
  const head = el('tr', {}, ...COLUMNS.map((name) => el('th', { scope: 'col', textContent: t(name) })));
  return el('table', { className: 'models' }, el('thead', {}, head), el('tbody', {}, ...rows.map(line)));
}

function line(row) {
  const name = el('th', { scope: 'row' }, el('span', { textContent: row.model }), el('small', { textContent: row.quantisation }));
  if (row.served) name.append(el('em', { textContent: t('model_here') }));
  const speed = el('td', {}, row.decode ? rounded(row.decode.expected, row.decode.expected < 10 ? 1 : 0) : '–');
  if (row.decode) {
    const [low, high] = [row.decode.low, row.decode.high].map((value) => rounded(value, value < 10 ? 1 : 0));
    speed.append(el('small', { textContent: t('between', { low, high }) }));
  }
  const runs = row.verdict !== 'no';
  const cells = [
    el('td', { textContent: VERDICTS[row.verdict] ? t(VERDICTS[row.verdict]) : row.verdict }), speed,
    el('td', { textContent: Number.isFinite(row.first_token_s) ? shortDuration(row.first_token_s * 1000) : '–' }),
    el('td', { textContent: size(row.memory_bytes) }), el('td', { textContent: size(row.file_bytes) }),
    el('td', { textContent: !runs ? '–' : BINDS[row.binds] ? t(BINDS[row.binds]) : row.binds }),
  ];
  // On a narrow screen each cell says which column it is.
  cells.forEach((cell, i) => { cell.dataset.name = t(COLUMNS[i + 1]); });
  const node = el('tr', { className: runs ? '' : 'runs-not' }, name, ...cells);
  return node;
}
