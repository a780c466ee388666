// The settings of the conversation that is shown, as a form.

import { byId, el } from "./dom.js";
import { recall, remember } from "./recall.js";
import { BUDGETS, problemsOf } from "./request.js";

/** The key that the server wants; empty where it wants none. Kept in the browser, for all conversations. */
export const apiKey = () => recall("key");

export class Settings {
  /** changed: called once the user is through with a change.  keyChanged: called after the key is another. */
  constructor(changed, keyChanged) {
    this.form = byId("options");
    this.think = byId("think");
    this.numbers = [...this.form.querySelectorAll("[type=number]")];
    this.values = null;
    this.changed = changed;
    this.isTold = true; // whether `changed` was called for all that is in `values`
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", (event) => this.#take(event.target));
    this.form.addEventListener("change", () => this.flush());
    this.form.elements.key.addEventListener("change", keyChanged);
    this.think.addEventListener("change", () => {
      this.values.think = this.think.checked;
      changed();
    });
  }

  /** Calls `changed` for what was written and not left yet: letter by letter, all pictures would be kept anew each time. */
  flush() {
    if (this.isTold) return;
    this.isTold = true;
    this.changed();
  }

  /** Shows a conversation's settings, and changes them from now on. */
  edit(values) {
    this.values = values;
    this.think.checked = values.think;
    for (const field of this.form.elements) {
      if (field.name === "key") field.value = apiKey();
      else if (field.type === "checkbox") field.checked = values[field.name];
      else if (field.name) field.value = values[field.name];
    }
    this.#tell();
  }

  /** What is wrong, by field; of numbers in the browser's words. */
  get problems() {
    const wrong = this.numbers.filter((field) => !field.validity.valid);
    const told = wrong.map((field) => [field.name, `${field.labels[0].textContent.trim()}: ${field.validationMessage}`]);
    return { ...problemsOf(this.values), ...Object.fromEntries(told) };
  }

  focus(name) {
    this.form.elements[name].focus();
  }

  #take(field) {
    if (field.name === "key") return remember("key", field.value.trim());
    this.values[field.name] = field.type === "checkbox" ? field.checked : field.value;
    this.isTold = false;
    this.#tell();
  }

  /** Says in words what the values mean, and what is wrong with them. */
  #tell() {
    const { values, problems } = this;
    const budget = BUDGETS[values.image_tokens];
    const words = budget ? `at most ${budget.toLocaleString("en")} tokens` : "the model's own";
    this.form.querySelector("output").textContent = words;
    this.form.elements.image_tokens.setAttribute("aria-valuetext", words);
    for (const name of ["tools", "schema"]) {
      byId(`${name}-problem`).textContent = problems[name] ?? "";
      byId(`${name}-json`).setAttribute("aria-invalid", String(name in problems));
      byId(`${name}-json`).hidden = !values[`${name}_on`];
    }
    for (const field of this.numbers) field.setAttribute("aria-invalid", String(field.name in problems));
    byId("sampling-problem").textContent = this.numbers.map((field) => problems[field.name]).find(Boolean) ?? "";
    const modes = [values.tools_on && "Tools", values.schema_on && "Schema", values.system.trim() && "System prompt"];
    byId("modes").replaceChildren(...modes.filter(Boolean).map((mode) => el("span", { class: "mode" }, mode)));
  }
}
