// The playground: joins the parts. What is shown comes from a conversation; what the user does changes it.

import { chat, models } from "./api.js";
import { setUpCode } from "./code.js";
import { Composer } from "./composer.js";
import { ask, awaitsReply, cutFrom, newConversation } from "./conversation.js";
import { announce, byId, copyText, el, say } from "./dom.js";
import { setUpKeys } from "./keys.js";
import { openLibrary } from "./library.js";
import { closePanels, nextTheme, setUpPanels, showPanel, togglePanel } from "./panels.js";
import { setUpRecording } from "./recorder.js";
import { addPiece, emptyReply, openCalls } from "./reply.js";
import { requestBody } from "./request.js";
import { apiKey, Settings } from "./settings.js";
import { Shelf } from "./shelf.js";
import { Transcript } from "./transcript.js";

const library = await openLibrary();
const { all: conversations, running } = library;
let current = conversations[0] ?? newConversation("");

const transcript = new Transcript({ start: (text) => send(text, []), edit, again, answerCall });
const composer = new Composer(send, stop);
const settings = new Settings(settingsChanged, readModels);
const shelf = new Shelf({ open, remove, rename });

setUpPanels();
setUpRecording((file, name) => composer.add(file, name));
setUpCode(nextRequest, () => apiKey() !== "");
setUpKeys(
  {
    Slash: () => composer.field.focus(),
    KeyN: startNew,
    KeyJ: () => step(1),
    KeyK: () => step(-1),
    KeyR: () => current.messages.at(-1)?.role === "assistant" && again(current.messages.length - 1),
    KeyC: () => copyText(current.messages.findLast((message) => message.role === "assistant")?.text ?? ""),
    KeyH: () => byId("think").click(),
    KeyB: () => togglePanel("shelf"),
    KeyS: () => togglePanel("settings"),
    KeyT: nextTheme,
  },
  () => closePanels() || stop(),
);
byId("new").addEventListener("click", startNew);
byId("model").addEventListener("change", (event) => {
  current.model = event.target.value;
  settingsChanged();
  if (!current.messages.length) transcript.draw(current, false);
});
library.watch((conversation) => (conversation === current ? show() : showShelf()));
show();
composer.field.focus();
await readModels();

async function readModels() {
  try {
    const names = await models(apiKey());
    byId("model").replaceChildren(...names.map((name) => el("option", { value: name }, name)));
    if (!names.includes(current.model)) current.model = names[0] ?? "";
    show();
  } catch (error) {
    refused(error);
  }
}

function show() {
  byId("model").value = current.model;
  settings.edit(current.settings);
  transcript.draw(current, running.has(current));
  showShelf();
}

function showShelf() {
  composer.running = running.has(current);
  document.title = current.title ? `${current.title} · gemcut` : "gemcut";
  shelf.draw(conversations, current, (conversation) => running.has(conversation));
}

function open(conversation) {
  settings.flush();
  current = conversation;
  if (!byId("model").querySelector(`option[value="${CSS.escape(current.model)}"]`)) current.model = byId("model").value;
  show();
  closePanels();
  composer.field.focus();
}

function startNew() {
  open(current.messages.length ? newConversation(current.model, current.settings) : current);
}

function step(by) {
  const next = conversations[conversations.indexOf(current) + by];
  if (next) open(next);
}

function remove(conversation) {
  running.get(conversation)?.abort();
  const bringBack = library.remove(conversation);
  if (conversation === current) open(conversations[0] ?? newConversation(conversation.model, conversation.settings));
  else showShelf();
  say("Deleted", () => {
    bringBack();
    open(conversation);
  });
}

function rename(conversation, title) {
  conversation.title = title || conversation.title;
  library.save(conversation);
  showShelf();
}

/** Sends what the user wrote; says whether it could. */
function send(text, media) {
  if (openCalls(current.messages.at(-1)).length) {
    say("First give the results that the model waits for");
    transcript.view(current.messages.at(-1)).focusCall();
    return false;
  }
  if (!settingsAreWhole()) return false;
  ask(current, text, media);
  answer(current);
  return true;
}

function settingsAreWhole() {
  const [field] = Object.keys(settings.problems);
  if (!field) return true;
  showPanel("settings", true);
  settings.focus(field);
  return false;
}

/** Takes back a user's message and all that followed, to be written anew. */
function edit(place) {
  if (running.has(current)) return;
  const { text, media } = takeBack(place);
  show();
  composer.fill(text, media);
}

/** Has the reply at this place made anew. */
function again(place) {
  if (running.has(current) || !settingsAreWhole()) return;
  takeBack(place);
  answer(current);
}

/** Takes a message and all behind it away; where there was any behind it, that can be undone. */
function takeBack(place) {
  const conversation = current;
  const before = conversation.messages.slice();
  if (before.length > place + 1) {
    say("What followed is gone", () => {
      running.get(conversation)?.abort();
      running.delete(conversation);
      conversation.messages = before;
      library.save(conversation);
      open(conversation);
    });
  }
  return cutFrom(conversation, place);
}

/** A tool's result; once none is missing, the model goes on. */
function answerCall(reply, call, result) {
  call.result = result;
  transcript.update(reply, false);
  library.save(current);
  if (openCalls(reply).length) return transcript.view(reply).focusCall();
  if (!settingsAreWhole()) return transcript.draw(current, false); // with a button that asks once they are
  answer(current);
  composer.field.focus();
}

function stop() {
  running.get(current)?.abort();
  return running.has(current);
}

/** Asks the model for the next message of a conversation, and shows it as it comes. */
async function answer(conversation) {
  const control = new AbortController();
  const said = conversation.messages.slice();
  const reply = emptyReply(conversation.model, conversation.settings.schema_on, performance.now());
  conversation.messages.push(reply);
  running.set(conversation, control);
  library.moveUp(conversation);
  if (conversation === current) show();
  try {
    const body = await requestBody({ ...conversation, messages: said });
    for await (const piece of chat(body, apiKey(), control.signal)) {
      addPiece(reply, piece, performance.now());
      transcript.update(reply, true);
    }
  } catch (error) {
    reply.error = error.name === "AbortError" ? "Stopped." : error.message;
    if (error.status === 401) refused(error);
  }
  if (running.get(conversation) === control) running.delete(conversation);
  reply.calls = reply.error ? [] : reply.calls; // a call that was cut off cannot be answered
  keep(conversation, reply);
}

function keep(conversation, reply) {
  if (conversations.includes(conversation)) library.save(conversation);
  transcript.update(reply, false);
  showShelf();
  if (conversation !== current) return;
  if (reply.calls.length && !composer.field.value) transcript.view(reply).focusCall();
  announce(reply.error ?? (reply.calls.length ? "The model calls a tool" : `The reply is there: ${reply.text.slice(0, 200)}`));
}

function settingsChanged() {
  if (current.messages.length) library.save(current);
}

/** The body of what would be asked now, or was asked last; null where the settings forbid it. */
async function nextRequest() {
  if (!settingsAreWhole()) return null;
  const { messages } = current;
  const waits = openCalls(messages.at(-1)).length > 0; // nothing can be asked before these have results
  const { field, media } = composer;
  const text = field.value.trim() || (messages.length || media.length ? "" : "Hello");
  const draft = !waits && (text || media.length) ? [{ role: "user", text, media }] : [];
  const said = draft.length || awaitsReply(messages) ? messages : messages.slice(0, -1);
  return requestBody({ ...current, messages: [...said, ...draft] });
}

function refused(error) {
  say(error.message);
  if (error.status !== 401) return;
  showPanel("settings", true);
  settings.focus("key");
}
