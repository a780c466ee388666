// HTML that libraries made of a model's text, checked before it is on the page.

import DOMPurify from "./vendor/dompurify/purify.es.mjs";

const ALLOWED = {
  ALLOWED_TAGS: (
    "a blockquote br code del em h1 h2 h3 h4 h5 h6 hr li ol p pre s span strong table tbody td th thead tr ul"
  ).split(" "),
  ALLOWED_ATTR: ["href", "align", "start", "class"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ADD_URI_SAFE_ATTR: ["align", "start"], // hold no addresses
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

/** HTML as nodes, with nothing in it that could act. */
export const cleaned = (html) => DOMPurify.sanitize(html, ALLOWED);
