// The messages of the conversation that is shown.

import { awaitsReply } from "./conversation.js";
import { byId } from "./dom.js";
import { greeting, ReplyView, unanswered, userView } from "./message.js";

const NEAR = 80; // pixels from the end within which the page goes along with what is written

export class Transcript {
  /** actions: {start, edit, again, answerCall}: what the user may do with messages, by their place. */
  constructor(actions) {
    this.actions = actions;
    this.node = byId("transcript");
    this.scroller = byId("scroller");
    this.views = new Map(); // of replies
    this.due = null;
    this.follows = true;
    this.scroller.addEventListener("scroll", () => (this.follows = this.#atEnd()), { passive: true });
  }

  /** Draws a whole conversation. running: whether its last reply is still coming. */
  draw(conversation, running) {
    const { messages } = conversation;
    cancelAnimationFrame(this.due); // of a reply that may not be shown any more
    this.due = null;
    this.views.clear();
    const nodes = messages.map((message, place) => this.#view(message, place, running && place === messages.length - 1));
    if (!messages.length) nodes.push(greeting(conversation.model, this.actions.start));
    else if (awaitsReply(messages) && !running) nodes.push(unanswered(() => this.actions.again(messages.length)));
    this.node.replaceChildren(...nodes);
    this.toEnd();
  }

  /** Shows more of a reply that is coming, at most once for each picture that the screen draws. */
  update(reply, running) {
    if (!this.views.has(reply)) return; // of another conversation
    if (!running) return this.#show(reply, false);
    this.due ??= requestAnimationFrame(() => this.#show(reply, true));
  }

  view(reply) {
    return this.views.get(reply);
  }

  toEnd() {
    this.follows = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #show(reply, running) {
    cancelAnimationFrame(this.due);
    this.due = null;
    this.views.get(reply).show(running);
    if (this.follows) this.toEnd();
  }

  #view(message, place, running) {
    if (message.role === "user") return userView(message, { edit: () => this.actions.edit(place) });
    const view = new ReplyView(message, {
      again: () => this.actions.again(place),
      answerCall: (call, result) => this.actions.answerCall(message, call, result),
    });
    view.show(running);
    this.views.set(message, view);
    return view.node;
  }

  #atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }
}
