// Conversations, kept in this browser's IndexedDB: their pictures and sounds are too large for localStorage.

const DATABASE = "gemcut";
const TABLE = "conversations";

/** Opens the store. Where the browser keeps nothing (private windows of some), it lives as long as the page. */
export async function openStore() {
  try {
    return new Kept(await open());
  } catch {
    return new Forgotten();
  }
}

function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

class Kept {
  lasts = true;

  constructor(database) {
    this.database = database;
    this.tabs = new BroadcastChannel(DATABASE); // other tabs with this page hear which conversation is another now
  }

  all() {
    return this.#run("readonly", (table) => table.getAll());
  }

  async put(conversation) {
    await this.#run("readwrite", (table) => table.put(conversation));
    this.tabs.postMessage(conversation.id);
  }

  async remove(id) {
    await this.#run("readwrite", (table) => table.delete(id));
    this.tabs.postMessage(id);
  }

  /** changed: takes the id of a conversation that another tab kept or deleted, and the conversation if it is there. */
  watch(changed) {
    this.tabs.onmessage = async ({ data: id }) => changed(id, await this.#run("readonly", (table) => table.get(id)));
  }

  /** Over once it is on the disk: a browser may find only then that there is no room. */
  #run(mode, action) {
    return new Promise((resolve, reject) => {
      const transaction = this.database.transaction(TABLE, mode);
      const request = action(transaction.objectStore(TABLE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error ?? request.error);
    });
  }
}

class Forgotten {
  lasts = false;

  async all() {
    return [];
  }

  async put() {}

  async remove() {}

  watch() {}
}
