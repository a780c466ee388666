// A reply, put together from the pieces of a stream. Pure: no page, no network.

/** An assistant's message that nothing was said in yet. now: milliseconds, as of performance.now(). */
export function emptyReply(model, json, now) {
  return {
    role: "assistant",
    model,
    json, // whether its text follows a schema
    text: "",
    thoughts: "",
    calls: [], // {id, name, arguments: JSON text, result: text or null while it waits for one}
    finish: null,
    error: null,
    usage: null,
    times: { asked: now, first: null, last: null, thought: null },
  };
}

/** Adds a piece of the stream to the reply. */
export function addPiece(reply, piece, now) {
  if (piece.usage) reply.usage = piece.usage;
  const choice = piece.choices?.[0];
  if (!choice) return;
  const delta = choice.delta ?? {};
  const thought = delta.reasoning ?? delta.reasoning_content; // servers send either, or both
  if (thought || delta.content || delta.tool_calls) {
    reply.times.first ??= now;
    reply.times.last = now;
  }
  if (thought) reply.thoughts += thought;
  if (delta.content || delta.tool_calls) reply.times.thought ??= now;
  if (delta.content) reply.text += delta.content;
  for (const part of delta.tool_calls ?? []) addCall(reply.calls, part);
  if (choice.finish_reason) reply.finish = choice.finish_reason;
}

function addCall(calls, part) {
  const place = part.index ?? calls.length;
  calls[place] ??= { id: "", name: "", arguments: "", result: null };
  const call = calls[place];
  if (part.id) call.id = part.id;
  if (part.function?.name) call.name = part.function.name; // strict servers repeat it in every piece
  call.arguments += part.function?.arguments ?? "";
}

/** The calls that wait for a result. */
export const openCalls = (message) => (message?.calls ?? []).filter((call) => call.result === null);

/** Tokens and speed in words: "128 tokens", "43.1 per second", "first after 0.21 s", "512 read (480 kept)". */
export function figures({ usage, times }) {
  const words = [];
  if (usage) words.push(`${count(usage.completion_tokens)} token${usage.completion_tokens === 1 ? "" : "s"}`);
  const seconds = (times.last - times.first) / 1000;
  if (usage && usage.completion_tokens > 1 && seconds > 0) {
    words.push(`${rate((usage.completion_tokens - 1) / seconds)} per second`);
  }
  if (times.first !== null) words.push(`first after ${((times.first - times.asked) / 1000).toFixed(2)} s`);
  if (usage) {
    const kept = usage.prompt_tokens_details?.cached_tokens;
    words.push(`${count(usage.prompt_tokens)} read${kept ? ` (${count(kept)} kept)` : ""}`);
  }
  return words;
}

const count = (number) => number.toLocaleString("en");
const rate = (number) => (number < 100 ? number.toPrecision(3) : count(Math.round(number)));

/** How long it thought, in words. */
export function thinkingTime({ times, finish, error }, now) {
  const over = times.thought ?? (finish || error ? times.last : null);
  if (over === null && now === undefined) return "Thoughts";
  const seconds = ((over ?? now) - (times.first ?? times.asked)) / 1000;
  return over === null ? `Thinking, ${seconds.toFixed(0)} s` : `Thought for ${seconds.toFixed(1)} s`;
}
