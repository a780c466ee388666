// Colours for code. The library is large and many conversations hold no code, so it comes when first needed.

import { cleaned } from "./clean.js";

let library = null;

/** Colours an element's text as code of a language; leaves it plain where the language is unknown. */
export async function highlight(element, language) {
  library ??= import("./vendor/highlight.js/highlight.min.js");
  const { default: hljs } = await library;
  if (!hljs.getLanguage(language)) return;
  const { value } = hljs.highlight(element.textContent, { language, ignoreIllegals: true });
  element.replaceChildren(cleaned(value));
}
