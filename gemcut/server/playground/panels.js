// The two panels beside the conversation, and the theme. On narrow screens a panel lies over the conversation.

import { byId } from "./dom.js";
import { remember } from "./recall.js";

const root = document.documentElement;
const narrow = matchMedia("(max-width: 59.99rem)");
const THEMES = { "": "System", light: "Light", dark: "Dark" };

export function setUpPanels() {
  for (const name of ["shelf", "settings"]) byId(`toggle-${name}`).addEventListener("click", () => togglePanel(name));
  for (const button of document.querySelectorAll("[data-close]")) {
    button.addEventListener("click", () => showPanel(button.dataset.close, false));
  }
  document.querySelector("main").addEventListener("pointerdown", (event) => {
    if (narrow.matches && !event.target.closest(".bar")) closePanels();
  });
  narrow.addEventListener("change", () => narrow.matches && closePanels());
  for (const name of ["shelf", "settings"]) mark(name);
  byId("theme").addEventListener("click", nextTheme);
  nameTheme();
}

export const togglePanel = (name) => showPanel(name, root.dataset[name] !== "open");

export function showPanel(name, open) {
  if (open && narrow.matches) closePanels();
  const wasInside = byId(name).contains(document.activeElement);
  root.dataset[name] = open ? "open" : "closed";
  if (!narrow.matches) remember(name, root.dataset[name]);
  mark(name);
  if (open && narrow.matches) byId(name).querySelector("button").focus();
  if (!open && wasInside) byId(`toggle-${name}`).focus();
}

/** Closes what lies over the conversation; says whether anything did. */
export function closePanels() {
  const open = narrow.matches ? ["shelf", "settings"].filter((name) => root.dataset[name] === "open") : [];
  for (const name of open) showPanel(name, false);
  return open.length > 0;
}

/** What is closed can neither be reached by Tab nor read. */
function mark(name) {
  const open = root.dataset[name] === "open";
  byId(name).inert = !open;
  byId(`toggle-${name}`).setAttribute("aria-expanded", String(open));
}

export function nextTheme() {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(root.dataset.theme ?? "") + 1) % names.length];
  if (next) root.dataset.theme = next;
  else delete root.dataset.theme;
  remember("theme", next);
  nameTheme();
}

function nameTheme() {
  const name = THEMES[root.dataset.theme ?? ""];
  byId("theme").querySelector("span").textContent = name;
  byId("theme").setAttribute("aria-label", `Theme: ${name}`);
}
