// What the browser keeps beside conversations: the key, the theme, which panels are open. Where it keeps nothing
// (storage may be forbidden, or full), that lasts as long as the page.

const said = new Map(); // on this page

export function recall(name) {
  if (said.has(name)) return said.get(name);
  try {
    return localStorage.getItem(`gemcut.${name}`) ?? "";
  } catch {
    return "";
  }
}

export function remember(name, text) {
  said.set(name, text);
  try {
    localStorage.setItem(`gemcut.${name}`, text);
  } catch {
    // the page has it
  }
}
