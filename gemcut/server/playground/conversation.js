// What a conversation is, and what may be done to it. Pure: no page, no network.

import { openCalls } from "./reply.js";

const NO_SETTINGS = {
  system: "",
  think: false,
  image_tokens: 0, // place in BUDGETS
  temperature: "",
  top_p: "",
  top_k: "",
  min_p: "",
  max_tokens: "",
  seed: "",
  tools_on: false,
  tools: JSON.stringify(
    [
      {
        name: "get_weather",
        description: "The weather in a city.",
        parameters: {
          type: "object",
          properties: { city: { type: "string", description: "The city's name." } },
          required: ["city"],
        },
      },
    ],
    null,
    2,
  ),
  schema_on: false,
  schema: JSON.stringify(
    {
      type: "object",
      properties: { name: { type: "string" }, age: { type: "integer" } },
      required: ["name", "age"],
      additionalProperties: false,
    },
    null,
    2,
  ),
};

/** A new one, with the settings of the one before it. */
export function newConversation(model, settings = {}) {
  const now = Date.now();
  const id = crypto.randomUUID?.() ?? `${now}-${Math.random()}`; // randomUUID is for https and localhost only
  return { id, created: now, changed: now, title: "", model, messages: [], settings: { ...NO_SETTINGS, ...settings } };
}

/** Adds what the user says. */
export function ask(conversation, text, media) {
  conversation.messages.push({ role: "user", text, media });
  conversation.title ||= titleOf(text, media);
}

/** Takes away a message and everything after it; gives it back. */
export function cutFrom(conversation, place) {
  return conversation.messages.splice(place)[0];
}

/** Whether the model is to speak next: the user did last, or gave the last result that it waited for. */
export function awaitsReply(messages) {
  const last = messages.at(-1);
  if (last?.role !== "assistant") return last !== undefined;
  return last.calls.length > 0 && openCalls(last).length === 0;
}

function titleOf(text, media) {
  const line = [...(text.trim().split("\n")[0] || media[0]?.name || "")]; // whole characters, not halves of pairs
  return line.length > 60 ? `${line.slice(0, 57).join("")}…` : line.join("");
}
