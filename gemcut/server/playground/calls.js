// A tool's call on the page: what the model wants, and the field in which the user gives the tool's result.

import { el, icon, isEnter } from "./dom.js";
import { codeBlock, colour, indented } from "./markdown.js";

export class CallCard {
  /** answer: takes the result that the user wrote. */
  constructor(call, answer) {
    this.call = call;
    this.name = el("span", { class: "call-name" });
    this.state = el("span", { class: "call-state" });
    this.wanted = el("div");
    this.result = el("div");
    const head = el("header", {}, icon("tool"), this.name, el("span", { class: "stretch" }), this.state);
    this.node = el("section", { class: "call", "aria-label": "Call of a tool" }, head, this.wanted, this.result);
    this.answer = answer;
    this.shown = null;
  }

  /** running: whether its arguments are still written. */
  show(running) {
    const { call } = this;
    this.name.textContent = call.name;
    this.state.textContent = running ? "calling…" : call.result === null ? "waits for you" : "answered";
    this.node.classList.toggle("open", !running && call.result === null);
    const wanted = running ? call.arguments : indented(call.arguments);
    if (this.wanted.dataset.text !== wanted) {
      this.wanted.dataset.text = wanted;
      this.wanted.replaceChildren(codeBlock(wanted, "json"));
      if (!running) colour(this.wanted);
    }
    const showing = running ? "nothing" : call.result === null ? "field" : "result";
    if (showing !== this.shown) this.#showResult(showing);
  }

  #showResult(showing) {
    this.shown = showing;
    if (showing === "nothing") this.result.replaceChildren();
    if (showing === "field") this.result.replaceChildren(this.#field());
    if (showing === "result") {
      const text = el("pre", { tabindex: "0" }, this.call.result);
      this.result.replaceChildren(el("details", { class: "result" }, el("summary", {}, "Result"), text));
    }
  }

  #field() {
    const label = `Result of ${this.call.name}`;
    const field = el("textarea", { rows: 2, class: "code", "aria-label": label, placeholder: "What the tool returns" });
    const send = () => this.answer(field.value);
    field.addEventListener("keydown", (event) => {
      if (!isEnter(event)) return;
      event.preventDefault();
      send();
    });
    return el("div", { class: "answer" }, field, el("button", { type: "button", class: "primary", onclick: send }, "Answer"));
  }
}
