// The next request as a program that makes it: for bash or zsh, and for Python with OpenAI's package.

import { chatUrl } from "./api.js";

const KEY = "GEMCUT_API_KEY"; // the environment's variable that holds the key: code is shown to others, and keys are not
const EXTRAS = ["chat_template_kwargs", "top_k", "min_p"]; // which OpenAI's package has no parameters for

/** Each takes a request's body, and whether the server wants a key. */
export const snippets = { curl, python };

/** Through standard input, since a program's arguments are too short for pictures. */
function curl(body, isLocked) {
  const lines = [`curl ${quoted(chatUrl())}`, `  -H 'Content-Type: application/json'`];
  if (isLocked) lines.push(`  -H "Authorization: Bearer $${KEY}"`);
  lines.push(`  --data-binary @- <<< ${quoted(JSON.stringify(body, null, 2))}`);
  return lines.join(" \\\n");
}

/** A shell's word that means this text, whatever is in it. */
const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function python(body, isLocked) {
  const { stream, stream_options, ...rest } = body;
  const named = Object.entries(rest).filter(([name]) => !EXTRAS.includes(name));
  const extra = Object.fromEntries(Object.entries(rest).filter(([name]) => EXTRAS.includes(name)));
  const lines = named.map(([name, value]) => `    ${name}=${literal(value, 1)},`);
  if (Object.keys(extra).length) lines.push(`    extra_body=${literal(extra, 1)},`);
  const key = isLocked ? `os.environ["${KEY}"]` : literal("none");
  return [
    ...(isLocked ? ["import os", ""] : []),
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${literal(chatUrl().replace(/\/chat\/completions$/, ""))}, api_key=${key})`,
    "reply = client.chat.completions.create(",
    ...lines,
    ")",
    "print(reply.choices[0].message.content)",
    "",
  ].join("\n");
}

/** A value as Python writes it. depth: how far it is indented. */
function literal(value, depth = 0) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value !== "object") return JSON.stringify(value); // JSON's strings and numbers are Python's too
  const inner = "    ".repeat(depth + 1);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const items = Array.isArray(value)
    ? value.map((item) => literal(item, depth + 1))
    : Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${literal(item, depth + 1)}`);
  if (!items.length) return open + close;
  return `${open}\n${items.map((item) => `${inner}${item},\n`).join("")}${"    ".repeat(depth)}${close}`;
}

/** The same to look at: data of media cut short. */
export const shortened = (text) =>
  text.replace(/((?:base64,|"data": ")[\w+/=]{24})([\w+/=]{200,})/g, (_, start, rest) => `${start}… (${rest.length} more)`);
