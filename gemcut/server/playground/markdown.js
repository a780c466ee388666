// A model's markdown → nodes of the page. Nobody's text is trusted: markdown-it escapes HTML, DOMPurify checks what
// it made, and the page's Content-Security-Policy runs no script and asks no other host, whatever slipped through.

import MarkdownIt from "./vendor/markdown-it/markdown-it.esm.min.mjs";
import { cleaned } from "./clean.js";
import { copyText, el, iconButton } from "./dom.js";
import { highlight } from "./highlight.js";

const markdown = new MarkdownIt({ html: false, linkify: true, breaks: true });
markdown.linkify.set({ fuzzyLink: false, fuzzyEmail: false }); // model.py is a file, not a host in Paraguay

const { escapeHtml } = markdown.utils;
const rules = markdown.renderer.rules;
// A picture's address could carry away what the model knows, so it is only a link.
rules.image = (tokens, place) => {
  const token = tokens[place];
  return `<a href="${escapeHtml(token.attrGet("src"))}">${escapeHtml(token.content || token.attrGet("src"))}</a>`;
};
// Styles within the page are forbidden, and alignment is one.
rules.th_open = rules.td_open = (tokens, place, options, env, self) => {
  const token = tokens[place];
  const side = /text-align:(\w+)/.exec(token.attrGet("style") ?? "")?.[1];
  if (side) token.attrs = [["align", side]];
  return self.renderToken(tokens, place, options);
};

/** Shows a text that grows. Only blocks that changed are drawn anew: the last one, as a rule. */
export class Prose {
  constructor() {
    this.node = el("div", { class: "prose" });
    this.blocks = []; // {html, node}
  }

  /** over: whether the text is whole; code that is still written is not coloured yet. */
  show(text, over) {
    const blocks = blocksOf(text);
    blocks.forEach((html, place) => {
      if (this.blocks[place]?.html === html) return;
      const node = blockNode(html);
      if (this.blocks[place]) this.blocks[place].node.replaceWith(node);
      else this.node.append(node);
      this.blocks[place] = { html, node };
    });
    for (const { node } of this.blocks.splice(blocks.length)) node.remove();
    const finished = over ? this.blocks : this.blocks.slice(0, -1);
    for (const { node } of finished) colour(node);
  }
}

/** The HTML of each outermost block of the text. */
function blocksOf(text) {
  const env = {};
  const blocks = [];
  let open = [];
  for (const token of markdown.parse(text, env)) {
    open.push(token);
    if (token.level === 0 && token.nesting <= 0) {
      blocks.push(markdown.renderer.render(open, markdown.options, env));
      open = [];
    }
  }
  return blocks;
}

function blockNode(html) {
  const node = el("div", { class: "block", dir: "auto" });
  node.append(cleaned(html));
  for (const link of node.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
  }
  for (const table of node.querySelectorAll("table")) table.replaceWith(el("div", { class: "wide" }, table.cloneNode(true)));
  for (const pre of node.querySelectorAll("pre")) pre.replaceWith(codeBlock(pre.textContent, languageOf(pre)));
  return node;
}

const languageOf = (pre) => /language-([\w+#.-]+)/.exec(pre.firstElementChild?.className ?? "")?.[1] ?? "";

/** Code with its language and a button that copies it. */
export function codeBlock(text, language) {
  const code = el("code", { "data-language": language }, text);
  const copy = iconButton("copy", "Copy code", () => copyText(text.replace(/\n$/, "")));
  const head = el("div", { class: "code-head" }, el("span", {}, language), copy);
  return el("div", { class: "code-block", dir: "ltr" }, head, el("pre", { tabindex: "0" }, code));
}

/** JSON on lines of its own; what is none stays as it is. */
export function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** Colours the code within a node, once. */
export function colour(node) {
  for (const code of node.querySelectorAll("code[data-language]")) {
    const language = code.dataset.language;
    delete code.dataset.language;
    if (language) highlight(code, language);
  }
}
