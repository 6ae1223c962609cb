// Conversations in the browser's database, IndexedDB: whole ones in `chats`, and what the list shows of each in `heads`, so that the
// list need not read all that was ever said. If there is no database, or it is blocked, memory takes its place until the page goes.

const NAME = 'shoal';
const VERSION = 1;
/** Longest wait for the database, in milliseconds. */
const WAIT_MAX = 3000;

/** A promise of what `request` brings. */
const result = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

export async function openStore() {
  try {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore('chats', { keyPath: 'id' });
      request.result.createObjectStore('heads', { keyPath: 'id' });
    };
    const late = new Promise((_, reject) => { setTimeout(() => reject(new Error('the database does not open')), WAIT_MAX); });
    return new Store(await Promise.race([result(request), late]));
  } catch {
    return new MemoryStore();
  }
}

class Store {
  isLasting = true;
  #database;

  constructor(database) {
    this.#database = database;
    // Another tab has a newer page: it may change the database.
    database.onversionchange = () => database.close();
  }

  heads() {
    return result(this.#database.transaction('heads').objectStore('heads').getAll());
  }

  get(id) {
    return result(this.#database.transaction('chats').objectStore('chats').get(id));
  }

  put(record, head) {
    return this.#change((chats, heads) => { chats.put(record); heads.put(head); });
  }

  remove(id) {
    return this.#change((chats, heads) => { chats.delete(id); heads.delete(id); });
  }

  clear() {
    return this.#change((chats, heads) => { chats.clear(); heads.clear(); });
  }

  /** Lets `visit` see one record after the other until it says `false`. */
  each(visit) {
    const request = this.#database.transaction('chats').objectStore('chats').openCursor();
    return new Promise((resolve, reject) => {
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (cursor === null || visit(cursor.value) === false) resolve();
        else cursor.continue();
      };
    });
  }

  #change(act) {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(['chats', 'heads'], 'readwrite');
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error);
      act(transaction.objectStore('chats'), transaction.objectStore('heads'));
      // At once, as the page may be about to go.
      transaction.commit?.();
    });
  }
}

class MemoryStore {
  isLasting = false;
  #records = new Map();
  #heads = new Map();

  async heads() { return [...this.#heads.values()]; }
  async get(id) { return this.#records.get(id); }
  async put(record, head) { this.#records.set(record.id, structuredClone(record)); this.#heads.set(head.id, head); }
  async remove(id) { this.#records.delete(id); this.#heads.delete(id); }
  async clear() { this.#records.clear(); this.#heads.clear(); }
  async each(visit) { for (const record of this.#records.values()) if (visit(record) === false) return; }
}
