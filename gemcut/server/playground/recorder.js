// Sound from the microphone; photos and video from the camera.

import { byId, say } from "./dom.js";

/** take: takes a file that was recorded, and its name. */
export function setUpRecording(take) {
  setUpSound(take);
  setUpCamera(take);
}

function setUpSound(take) {
  const button = byId("record");
  let recording = null;
  const turn = async () => {
    if (recording) return recording.stop();
    const stream = await openDevice({ audio: true });
    if (!stream) return;
    recording = record(stream, (blob) => {
      recording = null;
      press(button, false);
      button.setAttribute("aria-label", "Record sound");
      release(stream);
      take(blob, "Recording");
    });
    press(button, true);
    button.setAttribute("aria-label", "Stop recording");
  };
  button.addEventListener("click", oneAtATime(turn));
}

function setUpCamera(take) {
  const dialog = byId("shot");
  const screen = dialog.querySelector("video");
  const videoButton = byId("shot-video");
  let stream = null;
  let recording = null;
  const show = async () => {
    stream = await openDevice({ video: true, audio: true }, { video: true });
    if (!stream) return;
    screen.srcObject = stream;
    dialog.showModal();
    screen.play().catch(() => {}); // closed before it began
  };
  byId("camera").addEventListener("click", oneAtATime(show));
  dialog.addEventListener("close", () => {
    recording?.stop();
    release(stream);
    screen.srcObject = null;
  });
  byId("shot-close").addEventListener("click", () => dialog.close());
  byId("shot-photo").addEventListener("click", async () => {
    if (!screen.videoWidth) return; // nothing is seen yet
    take(await photoOf(screen), "Photo");
    dialog.close();
  });
  videoButton.addEventListener("click", () => {
    if (recording) return dialog.close();
    press(videoButton, true);
    videoButton.textContent = "Stop";
    recording = record(stream, (blob) => {
      recording = null;
      press(videoButton, false);
      videoButton.textContent = "Record video";
      take(blob, "Video");
    });
  });
}

/** A listener that is deaf while it works: a second click must not open a second microphone, which nobody would close. */
function oneAtATime(work) {
  let working = false;
  return async () => {
    if (working) return;
    working = true;
    try {
      await work();
    } finally {
      working = false;
    }
  };
}

/** The first of the wishes that the browser and the user grant; null where there is none. */
async function openDevice(...wishes) {
  for (const wish of wishes) {
    try {
      return await navigator.mediaDevices.getUserMedia(wish);
    } catch {
      continue;
    }
  }
  say("No microphone or camera can be used here");
  return null;
}

/** Starts a recording; `done` takes its file once it is stopped. */
function record(stream, done) {
  const recorder = new MediaRecorder(stream);
  const pieces = [];
  recorder.addEventListener("dataavailable", (event) => pieces.push(event.data));
  recorder.addEventListener("stop", () => done(new Blob(pieces, { type: recorder.mimeType.split(";")[0] })));
  recorder.start();
  return recorder;
}

function photoOf(screen) {
  const canvas = document.createElement("canvas");
  canvas.width = screen.videoWidth;
  canvas.height = screen.videoHeight;
  canvas.getContext("2d").drawImage(screen, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

function release(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

function press(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}
