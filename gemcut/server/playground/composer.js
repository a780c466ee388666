// The field in which the user writes, and what is attached to it.

import { byId, el, iconButton, isEnter, say } from "./dom.js";
import { mediumView } from "./message.js";
import { toMedium } from "./media.js";

export class Composer {
  /** send: takes text and media.  stop: ends the reply that is coming. */
  constructor(send, stop) {
    this.form = byId("composer");
    this.field = byId("prompt");
    this.media = [];
    this.send = send;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.field.addEventListener("input", () => this.#grow());
    this.field.addEventListener("keydown", (event) => {
      if (!isEnter(event)) return;
      event.preventDefault();
      this.#submit();
    });
    byId("stop").addEventListener("click", stop);
    this.#takeFiles();
  }

  /** Whether a reply is coming: then there is a button that stops it in place of the one that sends. */
  set running(running) {
    byId("send").hidden = running;
    byId("stop").hidden = !running;
  }

  /** Fills the field, as to edit what was said. */
  fill(text, media) {
    this.field.value = text;
    this.media = [...media];
    this.#showMedia();
    this.#grow();
    this.field.focus();
  }

  add(file, name = file.name) {
    try {
      this.media.push(toMedium(file, name));
      this.#showMedia();
      this.field.focus();
    } catch (error) {
      say(error.message);
    }
  }

  #submit() {
    const text = this.field.value.trim();
    if ((!text && !this.media.length) || byId("send").hidden) return;
    if (this.send(text, this.media)) this.fill("", []);
  }

  #grow() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
  }

  #showMedia() {
    const items = this.media.map((medium, place) => {
      const drop = iconButton("close", `Remove ${medium.name}`, () => {
        this.media.splice(place, 1);
        this.#showMedia();
        this.field.focus();
      });
      return el("li", { class: medium.kind }, mediumView(medium), drop);
    });
    byId("attachments").replaceChildren(...items);
  }

  /** Files may be chosen, pasted, or dropped anywhere. */
  #takeFiles() {
    const chooser = byId("files");
    byId("attach").addEventListener("click", () => chooser.click());
    chooser.addEventListener("change", () => {
      for (const file of chooser.files) this.add(file);
      chooser.value = "";
    });
    this.field.addEventListener("paste", (event) => {
      const files = [...event.clipboardData.files];
      if (files.length) event.preventDefault();
      for (const file of files) this.add(file);
    });
    const zone = byId("drop");
    const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
    addEventListener("dragover", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      zone.classList.add("over");
    });
    addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) zone.classList.remove("over");
    });
    addEventListener("drop", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      zone.classList.remove("over");
      for (const file of event.dataTransfer.files) this.add(file);
    });
  }
}
