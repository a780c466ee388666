// Keyboard shortcuts. Letters count by their place on the keyboard, since Alt writes other signs on some.

import { byId, el } from "./dom.js";

const MAC = navigator.platform.startsWith("Mac"); // there Alt with a letter writes another: Ctrl is held too

const SHOWN = [
  ["Enter", "send"],
  ["Shift Enter", "new line"],
  ["Esc", "stop the reply, or close what is open"],
  ["/", "to the message field"],
  ["Alt N", "new conversation"],
  ["Alt J / Alt K", "next, previous conversation"],
  ["Alt R", "another reply"],
  ["Alt C", "copy the last reply"],
  ["Alt H", "think, or not"],
  ["Alt B", "show or hide conversations"],
  ["Alt S", "show or hide settings"],
  ["Alt T", "light, dark, or as the system"],
  ["?", "this list"],
];

/** actions: what each key does, by its code. escape: says whether it found something to end. */
export function setUpKeys(actions, escape) {
  const dialog = byId("keys");
  dialog.querySelector("dl").append(
    ...SHOWN.flatMap(([keys, meaning]) => {
      const held = MAC ? keys.replaceAll("Alt", "Ctrl Alt") : keys;
      const caps = held.split(" ").map((key) => (key === "/" && keys !== "/" ? " / " : el("kbd", {}, key)));
      return [el("dt", {}, ...caps), el("dd", {}, meaning)];
    }),
  );
  const help = () => dialog.showModal();
  byId("help").addEventListener("click", help);
  addEventListener("keydown", (event) => {
    if (event.isComposing || event.metaKey || event.ctrlKey !== (MAC && event.altKey)) return;
    if (document.querySelector("dialog[open]")) return; // it has keys of its own
    const writing = event.target.matches?.("textarea, input:not([type=checkbox]):not([type=range]), select");
    const action = event.altKey ? actions[event.code] : writing ? null : { "/": actions.Slash, "?": help }[event.key];
    if (action) {
      event.preventDefault();
      action();
    } else if (event.key === "Escape" && escape()) {
      event.preventDefault();
    }
  });
}
