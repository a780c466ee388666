// The settings of the conversation that is shown, as a form.

import { byId, el } from "./dom.js";
import { BUDGETS, problemsOf } from "./request.js";

const KEY = "gemcut.key";

/** The key that the server wants; empty where it wants none. Kept in the browser, for all conversations. */
export const apiKey = () => localStorage.getItem(KEY) ?? "";

export class Settings {
  /** changed: called after the user changed something.  keyChanged: called after the key is another. */
  constructor(changed, keyChanged) {
    this.form = byId("options");
    this.think = byId("think");
    this.values = null;
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", (event) => this.#take(event.target, changed));
    this.form.elements.key.addEventListener("change", keyChanged);
    this.think.addEventListener("input", () => {
      this.values.think = this.think.checked;
      changed();
    });
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

  /** What is wrong, by field. */
  get problems() {
    return problemsOf(this.values);
  }

  askForKey() {
    this.form.elements.key.focus();
  }

  #take(field, changed) {
    if (field.name === "key") return localStorage.setItem(KEY, field.value.trim());
    this.values[field.name] = field.type === "checkbox" ? field.checked : field.value;
    this.#tell();
    return changed();
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
    const modes = [values.tools_on && "Tools", values.schema_on && "Schema", values.system.trim() && "System prompt"];
    byId("modes").replaceChildren(...modes.filter(Boolean).map((mode) => el("span", { class: "mode" }, mode)));
  }
}
