// Elements without HTML: what is text stays text, whatever stands in it.

export const byId = (id) => document.getElementById(id);

/** A new element. attributes: strings are set as attributes, functions as listeners ("onclick"), true as "". */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child != null && child !== false));
  return node;
}

/** One of the drawings at the end of index.html. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** A button that shows an icon and is called by a name. */
export function iconButton(name, label, onclick) {
  return el("button", { type: "button", class: "quiet icon", "aria-label": label, title: label, onclick }, icon(name));
}

/** Tells something in a line that comes and goes, and that screen readers say. undo: takes it back, where that can be. */
export function say(text, undo) {
  const line = byId("said");
  const place = document.querySelector("dialog[open]") ?? document.body; // behind an open dialog nobody sees or hears it
  if (line.parentNode !== place) place.append(line);
  const hide = () => {
    line.classList.remove("shown");
    line.querySelector("button")?.remove(); // what is not seen must not be reached by Tab
  };
  const button = el("button", { type: "button", onclick: () => hide(undo()) }, "Undo");
  line.replaceChildren(text, ...(undo ? [button] : []));
  line.classList.add("shown");
  clearTimeout(say.timer);
  say.timer = setTimeout(hide, undo ? 8000 : 3500);
}

/** Tells screen readers only. */
export function announce(text) {
  byId("heard").textContent = text;
}

/** Whether a key ends what is written: Enter without Shift, unless an input method takes it (Safari's says so by 229). */
export const isEnter = (event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229;

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    say("The browser does not allow copying here");
  }
}
