// A conversation → the body of the request that asks for its next message.

import { dataUrl, wavOrMp3 } from "./media.js";

export const BUDGETS = [null, 70, 140, 280, 560, 1120]; // soft tokens of a picture; null: the model's own
const NUMBERS = ["temperature", "top_p", "top_k", "min_p", "max_tokens", "seed"];

/** What the settings say wrongly, by field; {} where all is well. */
export function problemsOf(settings) {
  const problems = {};
  for (const [field, read] of [["tools", readTools], ["schema", readSchema]]) {
    if (!settings[`${field}_on`]) continue;
    try {
      read(settings[field]);
    } catch (error) {
      problems[field] = error.message;
    }
  }
  return problems;
}

/** The body, in OpenAI's shape. */
export async function requestBody(conversation) {
  const { settings } = conversation;
  const body = { model: conversation.model, messages: [], stream: true, stream_options: { include_usage: true } };
  if (settings.system.trim()) body.messages.push({ role: "system", content: settings.system });
  for (const message of conversation.messages) body.messages.push(...(await written(message, settings)));
  for (const name of NUMBERS) if (settings[name] !== "") body[name] = Number(settings[name]);
  body.chat_template_kwargs = { enable_thinking: settings.think };
  if (settings.tools_on) body.tools = readTools(settings.tools);
  if (settings.schema_on) {
    const json_schema = { name: "reply", strict: true, schema: readSchema(settings.schema) };
    body.response_format = { type: "json_schema", json_schema };
  }
  return body;
}

/** Tools as OpenAI wants them, of a list of such or of the functions alone. */
function readTools(text) {
  const tools = JSON.parse(text);
  if (!Array.isArray(tools)) throw new Error("Give a list of tools: [ … ]");
  return tools.map((tool, place) => {
    const declared = tool?.type === "function" ? tool : { type: "function", function: tool };
    if (!declared.function?.name) throw new Error(`Tool ${place + 1} has no name`);
    return declared;
  });
}

function readSchema(text) {
  const schema = JSON.parse(text);
  if (schema === null || typeof schema !== "object" || Array.isArray(schema)) {
    throw new Error("Give a JSON schema: { … }");
  }
  return schema;
}

/** The messages that one of ours stands for: a reply with calls, and a message for each call's result. */
async function written(message, settings) {
  if (message.role === "user") return [{ role: "user", content: await parts(message, settings) }];
  if (message.error && !message.text && !message.calls.length) return []; // nothing came of it
  const said = { role: "assistant", content: message.text };
  if (!message.calls.length) return [said];
  if (message.thoughts) said.reasoning = message.thoughts; // thoughts matter to a model until its calls are over
  said.tool_calls = message.calls.map((call) => ({
    id: call.id,
    type: "function",
    function: { name: call.name, arguments: call.arguments },
  }));
  const results = message.calls.filter((call) => call.result !== null);
  return [said, ...results.map((call) => ({ role: "tool", tool_call_id: call.id, content: call.result }))];
}

/** Text alone, or parts: pictures before it, sound behind it, as Gemma's model card asks for. */
async function parts(message, settings) {
  if (!message.media.length) return message.text;
  const made = await Promise.all(message.media.map((medium) => part(medium, settings)));
  const text = message.text ? [{ type: "text", text: message.text }] : [];
  const heard = (item) => item.type === "input_audio";
  return [...made.filter((item) => !heard(item)), ...text, ...made.filter(heard)];
}

async function part(medium, settings) {
  const { kind, blob } = medium;
  if (kind === "image") {
    const tokens = BUDGETS[settings.image_tokens];
    const image_url = { url: await dataUrl(blob), ...(tokens ? { max_soft_tokens: tokens } : {}) };
    return { type: "image_url", image_url };
  }
  if (kind === "video") return { type: "video_url", video_url: { url: await dataUrl(blob) } };
  const sound = await wavOrMp3(medium);
  const data = (await dataUrl(sound)).split(",")[1];
  return { type: "input_audio", input_audio: { data, format: sound.type === "audio/mpeg" ? "mp3" : "wav" } };
}
