// What a conversation has of its own: its part of the settings dialog, and the mark above its first turn that says that there is such.

import { wireFields } from './panels.js';
import { ownOf, settings } from './settings.js';
import { t } from './strings.js';

const byId = (id) => document.getElementById(id);
const FIELDS = [['system', 'own-system'], ['temperature', 'own-temperature'], ['topP', 'own-top-p'], ['maxTokens', 'own-max-tokens']];
/** How much of the own system prompt the mark says, in characters. */
const MARK_CHARS = 120;

export class Own {
  #own;
  #showFields;

  /** `own()` is what the open conversation has of its own; `take` hears what it is to have. */
  constructor(own, take) {
    this.#own = own;
    this.#showFields = wireFields(FIELDS, (name) => own()[name], (name, value) => take(ownOf({ ...own(), [name]: value })));
    const dialog = byId('settings');
    const open = (isOwn) => {
      this.#choose(isOwn);
      dialog.showModal();
    };
    byId('open-settings').addEventListener('click', () => open(false));
    byId('own').addEventListener('click', () => open(true));
    for (const choice of dialog.querySelectorAll('[name=scope]')) choice.addEventListener('change', () => this.#choose(choice.value === 'chat'));
    byId('own-none').addEventListener('click', () => {
      take({});
      this.#showFields();
      byId('own-system').focus();
    });
  }

  /** Shows the settings of this chat or of all. Those that are not shown are disabled too, so that nothing half written in them holds up
   *  the dialog. */
  #choose(isOwn) {
    byId(isOwn ? 'scope-chat' : 'scope-all').checked = true;
    for (const [id, isShown] of [['for-chat', isOwn], ['for-all', !isOwn]]) Object.assign(byId(id), { hidden: !isShown, disabled: !isShown });
    this.#showFields();
    this.show();
    // An empty field says what holds in its place.
    for (const [name, id] of FIELDS) byId(id).placeholder = settings[name] || t(name === 'system' ? 'own_system_none' : 'by_model');
  }

  /** Says whether the conversation has anything of its own, and what. */
  show() {
    const { system, temperature, topP, maxTokens } = this.#own();
    const values = { temperature, top_p: topP, max_tokens: maxTokens };
    const parts = Object.entries(values).filter(([, value]) => value !== undefined).map(([name, n]) => t('own_value', { name: t(name), n }));
    if (system !== undefined) parts.unshift(system.trim().replace(/\s+/g, ' ').slice(0, MARK_CHARS));
    const hasAny = parts.length > 0;
    byId('own').hidden = !hasAny;
    byId('own-none').hidden = !hasAny || byId('for-chat').hidden;
    document.body.dataset.own = hasAny;
    byId('own-name').textContent = t(system === undefined ? 'own_values' : 'own_system');
    byId('own-what').textContent = parts.join(' · ');
  }
}
