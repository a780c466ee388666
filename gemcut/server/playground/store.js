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
  constructor(database) {
    this.database = database;
  }

  all() {
    return this.#run("readonly", (table) => table.getAll());
  }

  put(conversation) {
    return this.#run("readwrite", (table) => table.put(conversation));
  }

  remove(id) {
    return this.#run("readwrite", (table) => table.delete(id));
  }

  #run(mode, action) {
    return new Promise((resolve, reject) => {
      const request = action(this.database.transaction(TABLE, mode).objectStore(TABLE));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }
}

class Forgotten {
  async all() {
    return [];
  }

  async put() {}

  async remove() {}
}
