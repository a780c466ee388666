// One message on the page.

import { CallCard } from "./calls.js";
import { copyText, el, icon, iconButton } from "./dom.js";
import { codeBlock, colour, indented, Prose } from "./markdown.js";
import { figures, thinkingTime } from "./reply.js";

const LOOPBACK = /^(localhost|.+\.localhost|127\.[\d.]+|\[::1\])$/;

/** What the user said. actions: {edit}. */
export function userView(message, actions) {
  const buttons = el("div", { class: "actions" });
  buttons.append(
    iconButton("copy", "Copy message", () => copyText(message.text)),
    iconButton("edit", "Edit and ask again", actions.edit),
  );
  const items = message.media.map((medium) => el("li", {}, mediumView(medium)));
  const media = items.length > 0 && el("ul", { class: "media" }, ...items);
  const said = message.text !== "" && el("div", { class: "said", dir: "auto" }, message.text);
  return el("article", { class: "message user", "aria-label": "You" }, media, said, buttons);
}

/** A picture, sound or video that can be looked at or played. */
export function mediumView({ kind, name, blob }) {
  const url = URL.createObjectURL(blob);
  const tag = { image: "img", audio: "audio", video: "video" }[kind];
  const node = el(tag, kind === "image" ? { src: url, alt: name } : { src: url, controls: true, "aria-label": name });
  if (kind === "image") node.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
  return node;
}

/** What the model says, while it says it and after. actions: {again, answerCall}. */
export class ReplyView {
  constructor(reply, actions) {
    this.reply = reply;
    this.actions = actions;
    this.prose = new Prose();
    this.summary = el("span");
    this.thoughts = el("div", { class: "thought-text", dir: "auto" });
    this.folded = el("details", { class: "thoughts", hidden: true }, el("summary", {}, this.summary), this.thoughts);
    this.calls = el("div", { class: "calls" });
    this.cards = [];
    this.problem = el("p", { class: "problem" });
    this.figures = el("span", { class: "figures" });
    this.foot = el("footer", { hidden: true }, this.#buttons(), this.figures);
    const parts = [this.folded, this.prose.node, this.calls, this.problem, this.foot];
    this.node = el("article", { class: "message reply", "aria-label": reply.model || "Model" }, ...parts);
  }

  /** Shows what is there by now. running: whether more is to come. */
  show(running) {
    const { reply } = this;
    this.node.classList.toggle("running", running);
    this.node.classList.toggle("waiting", running && !reply.text && !reply.thoughts && !reply.calls.length);
    this.node.setAttribute("aria-busy", String(running));
    this.#showThoughts(running);
    if (reply.json) this.#showJson(running);
    else this.prose.show(reply.text, !running);
    this.#showCalls(running);
    this.problem.textContent = running ? "" : this.#problemText();
    this.foot.hidden = running;
    const words = running ? [] : figures(reply);
    this.figures.replaceChildren(...words.flatMap((word, place) => [place ? " · " : "", el("span", {}, word)]));
  }

  #showThoughts(running) {
    const { reply } = this;
    this.folded.hidden = !reply.thoughts;
    this.folded.classList.toggle("busy", running && reply.times.thought === null);
    this.summary.textContent = thinkingTime(reply, running ? performance.now() : undefined);
    if (this.thoughts.textContent !== reply.thoughts) this.thoughts.textContent = reply.thoughts;
  }

  #showJson(running) {
    if (!this.reply.text) return;
    this.prose.node.replaceChildren(codeBlock(running ? this.reply.text : indented(this.reply.text), "json"));
    if (!running) colour(this.prose.node);
  }

  #showCalls(running) {
    this.reply.calls.forEach((call, place) => {
      if (!this.cards[place]) {
        this.cards[place] = new CallCard(call, (result) => this.actions.answerCall(call, result));
        this.calls.append(this.cards[place].node);
      }
      this.cards[place].show(running);
    });
    for (const card of this.cards.splice(this.reply.calls.length)) card.node.remove(); // of calls that were cut off
  }

  #problemText() {
    const { error, finish, text, calls } = this.reply;
    if (error) return error;
    if (finish === "length") return "It ended at the most tokens.";
    return !text && !calls.length ? "It said nothing." : "";
  }

  #buttons() {
    const { reply } = this;
    return el(
      "div",
      { class: "actions" },
      iconButton("copy", "Copy reply", () => copyText(reply.text)),
      iconButton("again", "Another reply", this.actions.again),
    );
  }

  /** The first field for a call's result, to be written into. */
  focusCall() {
    this.calls.querySelector("textarea")?.focus({ preventScroll: true });
  }
}

/** What stands where the page has nothing to show yet. */
export function greeting(model, start) {
  const host = LOOPBACK.test(location.hostname) ? "this machine" : location.host;
  const starts = ["Who are you?", "What is 274 + 389?", "What is Gemma 4?"];
  const buttons = starts.map((text) => el("button", { type: "button", class: "start", onclick: () => start(text) }, text));
  return el(
    "div",
    { class: "greeting" },
    el("img", { src: "icon.svg", alt: "", width: 52, height: 52 }),
    el("h2", {}, model || "gemcut"),
    el("p", {}, `Runs on ${host}. Conversations stay in this browser.`),
    el("div", { class: "starts" }, ...buttons),
  );
}

/** Asks for the reply that a user's message, or a tool's result, still lacks, as after a reload. */
export const unanswered = (again) =>
  el("button", { type: "button", class: "start again", onclick: again }, icon("again"), "Ask for a reply");
