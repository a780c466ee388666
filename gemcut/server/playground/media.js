// Files that people drop, paste, choose or record.

export const MOST_BYTES = 40 * 2 ** 20; // in base64 that is a third more, and servers refuse more than 64 MB
const RATE_HZ = 16000; // what Gemma hears

/** A medium of a message: {kind, name, blob}. Throws an Error that says why not. */
export function toMedium(file, name = file.name) {
  const kind = file.type.split("/")[0];
  if (!["image", "audio", "video"].includes(kind)) throw new Error(`${name} is no picture, sound or video`);
  if (file.size === 0) throw new Error(`${name} is empty`);
  if (file.size > MOST_BYTES) throw new Error(`${name} is larger than ${MOST_BYTES / 2 ** 20} MB`);
  return { kind, name, blob: file };
}

export function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error("The file cannot be read any more"));
    reader.readAsDataURL(blob);
  });
}

/** The sound in one of the two forms that OpenAI's API knows; others become WAV. Throws an Error that names it. */
export async function wavOrMp3({ name, blob }) {
  if (blob.type === "audio/mpeg" || blob.type === "audio/wav") return blob;
  if (blob.type === "audio/x-wav" || blob.type === "audio/wave") return new Blob([blob], { type: "audio/wav" });
  const context = new OfflineAudioContext(1, 1, RATE_HZ);
  const bytes = await blob.arrayBuffer();
  const sound = await context.decodeAudioData(bytes).catch(() => {
    throw new Error(`This browser cannot read ${name}; give it as WAV or MP3`);
  });
  return wav(mono(sound)); // at RATE_HZ already
}

function mono(sound) {
  const samples = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    sound.getChannelData(channel).forEach((value, place) => (samples[place] += value / sound.numberOfChannels));
  }
  return samples;
}

/** 16-bit PCM at RATE_HZ. */
function wav(samples) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (place, letters) => [...letters].forEach((c, i) => view.setUint8(place + i, c.charCodeAt(0)));
  const header = [[16, 16, 4], [20, 1, 2], [22, 1, 2], [24, RATE_HZ, 4], [28, 2 * RATE_HZ, 4], [32, 2, 2], [34, 16, 2]];
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  for (const [place, value, bytes] of header) view[bytes === 4 ? "setUint32" : "setUint16"](place, value, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, place) => {
    view.setInt16(44 + 2 * place, Math.max(-1, Math.min(1, value)) * 32767, true);
  });
  return new Blob([view], { type: "audio/wav" });
}
