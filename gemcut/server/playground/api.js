// The two routes that the playground talks to: /v1/models and /v1/chat/completions, as OpenAI defines them.

import { eventsOf } from "./sse.js";

/** The server said no, or cannot be reached. status: 0 where it cannot. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const CUT = "The connection ended before the reply did";
const place = (path) => new URL(path, document.baseURI);

/** The names of the models. */
export async function models(key) {
  const response = await ask(place("v1/models"), { headers: headersFor(key) });
  return (await response.json()).data.map((model) => model.id);
}

/** The pieces of a reply as the server sends them. */
export async function* chat(body, key, signal) {
  const headers = { ...headersFor(key), "Content-Type": "application/json" };
  const request = { method: "POST", headers, body: JSON.stringify(body), signal };
  const response = await ask(place("v1/chat/completions"), request);
  try {
    for await (const data of eventsOf(response.body)) {
      if (data === "[DONE]") return;
      const piece = JSON.parse(data);
      if (piece.error) throw new Refused(piece.error.message ?? "The server failed", 500);
      yield piece;
    }
  } catch (error) {
    throw error instanceof TypeError ? new Refused(CUT, 0) : error; // which browsers name as each likes
  }
  throw new Refused(CUT, 0);
}

export const chatUrl = () => place("v1/chat/completions").href;

const headersFor = (key) => (key ? { Authorization: `Bearer ${key}` } : {});

async function ask(url, request) {
  let response;
  try {
    response = await fetch(url, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server cannot be reached", 0);
  }
  if (response.ok) return response;
  const text = await response.text();
  throw new Refused(reason(text) ?? `The server answers ${response.status}`, response.status);
}

function reason(text) {
  try {
    const { error, detail } = JSON.parse(text);
    return error?.message ?? (typeof error === "string" ? error : undefined) ?? detail;
  } catch {
    return undefined;
  }
}
