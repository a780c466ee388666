// The conversations of this browser, the latest first: kept in its store, and the same in all its tabs.

import { say } from "./dom.js";
import { openStore } from "./store.js";

export async function openLibrary() {
  const store = await openStore();
  if (!store.lasts) say("This browser keeps nothing: conversations end with this page");
  const kept = await store.all().catch((error) => {
    say(`Earlier conversations cannot be read: ${error.message}`); // the page is of use without them
    return [];
  });
  return new Library(store, kept);
}

class Library {
  constructor(store, conversations) {
    this.store = store;
    this.all = conversations.sort(latestFirst);
    this.running = new Map(); // conversation -> AbortController of the reply that is coming
  }

  /** Keeps a conversation. A reply that is still coming is not kept: half a call cannot be answered. */
  save(conversation) {
    const { messages } = conversation;
    const whole = this.running.has(conversation) ? messages.slice(0, -1) : messages;
    this.store.put({ ...conversation, messages: whole }).catch(notKept);
  }

  /** The conversation is the latest now, and kept. */
  moveUp(conversation) {
    const place = this.all.indexOf(conversation);
    if (place >= 0) this.all.splice(place, 1);
    this.all.unshift(conversation);
    conversation.changed = Date.now();
    this.save(conversation);
  }

  /** Deletes a conversation; gives what brings it back. */
  remove(conversation) {
    const place = this.all.indexOf(conversation);
    this.all.splice(place, 1);
    this.store.remove(conversation.id).catch(notKept);
    return () => {
      this.all.splice(place, 0, conversation);
      this.save(conversation);
    };
  }

  /** Follows what other tabs keep and delete. changed: takes the conversation that is another now; null for a deleted one. */
  watch(changed) {
    this.store.watch((id, kept) => {
      const place = this.all.findIndex((conversation) => conversation.id === id);
      const ours = this.all[place];
      if (this.running.has(ours)) return; // what comes here is the later
      if (ours && !kept) this.all.splice(place, 1);
      else if (ours) Object.assign(ours, kept);
      else if (kept) this.all.push(kept);
      this.all.sort(latestFirst);
      changed(kept ? (ours ?? kept) : null);
    });
  }
}

const latestFirst = (a, b) => b.changed - a.changed;

function notKept(error) {
  say(`Not kept: ${error.name === "QuotaExceededError" ? "this browser has no room left for it" : error.message}`);
}
