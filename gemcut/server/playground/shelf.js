// The list of conversations.

import { byId, el, iconButton, isEnter } from "./dom.js";

export class Shelf {
  /** open, remove, rename: take a conversation; rename takes its new title too. */
  constructor({ open, remove, rename }) {
    this.node = byId("conversations");
    this.actions = { open, remove, rename };
    this.renaming = false;
  }

  /** running: whether a reply to a conversation is still coming. */
  draw(conversations, current, running) {
    if (this.renaming) return; // it is drawn once that is over
    const rows = [...this.node.children];
    const place = rows.findIndex((row) => row.contains(document.activeElement));
    const items = conversations.map((conversation) => this.#item(conversation, conversation === current, running(conversation)));
    this.node.replaceChildren(...items);
    if (place >= 0) items[Math.min(place, items.length - 1)]?.querySelector(".name").focus();
  }

  #item(conversation, current, running) {
    const { open, remove } = this.actions;
    const title = conversation.title || "New conversation";
    const name = el(
      "button",
      {
        type: "button",
        class: "name",
        dir: "auto",
        "aria-current": current && "page",
        title,
        onclick: () => open(conversation),
        ondblclick: () => this.#rename(item, conversation),
      },
      title,
    );
    const item = el(
      "li",
      { class: running && "running" },
      name,
      iconButton("edit", `Rename ${title}`, () => this.#rename(item, conversation)),
      iconButton("bin", `Delete ${title}`, () => remove(conversation)),
    );
    return item;
  }

  #rename(item, conversation) {
    const field = el("input", { class: "rename", dir: "auto", value: conversation.title, "aria-label": "Title" });
    const end = (keep) => {
      if (!this.renaming) return;
      this.renaming = false;
      this.actions.rename(conversation, keep ? field.value.trim() : conversation.title);
    };
    field.addEventListener("keydown", (event) => {
      if (isEnter(event)) {
        event.preventDefault(); // else the button that gets the focus is pressed by the same key
        end(true);
      }
      if (event.key === "Escape" && !event.isComposing) end(false);
      event.stopPropagation();
    });
    field.addEventListener("blur", () => end(true));
    this.renaming = true;
    item.replaceChildren(field);
    field.focus();
    field.select();
  }
}
