// The list of conversations.

import { byId, el, iconButton } from "./dom.js";

export class Shelf {
  /** open, remove, rename: take a conversation; rename takes its new title too. */
  constructor({ open, remove, rename }) {
    this.node = byId("conversations");
    this.actions = { open, remove, rename };
  }

  /** running: whether a reply to a conversation is still coming. */
  draw(conversations, current, running) {
    const items = conversations.map((conversation) => this.#item(conversation, conversation === current, running(conversation)));
    this.node.replaceChildren(...items);
  }

  #item(conversation, current, running) {
    const { open, remove } = this.actions;
    const title = conversation.title || "New conversation";
    const name = el(
      "button",
      {
        type: "button",
        class: "name",
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
    const field = el("input", { class: "rename", value: conversation.title, "aria-label": "Title" });
    let over = false;
    const end = (keep) => {
      if (over) return;
      over = true;
      this.actions.rename(conversation, keep ? field.value.trim() : conversation.title);
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") end(true);
      if (event.key === "Escape") end(false);
      event.stopPropagation();
    });
    field.addEventListener("blur", () => end(true));
    item.replaceChildren(field);
    field.select();
  }
}
