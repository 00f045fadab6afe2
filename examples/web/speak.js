// SPDX-License-Identifier: Apache-2.0
// Speech in the browser: words to token ids, the solver's steps, and three graphs computed by ONNX Runtime.
// Everything comes from the folder made, which make.py fills; nothing else is asked of any server.

import * as ort from "./made/ort.wasm.bundle.min.mjs";

const MELS = 100, HOP = 256, RATE = 24000;
const made = (name) => new URL(`./made/${name}`, import.meta.url).href;

ort.env.wasm.wasmPaths = { wasm: made("ort-wasm-simd-threaded.wasm") };
ort.env.wasm.numThreads = 1; // more need a page that is isolated from others

const floats = (values, dims) => new ort.Tensor("float32", values, dims);
const integers = (values, dims) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), dims);

export class Speaker {
  static async load() {
    const speech = await (await fetch(made("speech.json"))).json();
    const [condition, velocity, vocoder] = await Promise.all(
      ["condition", "velocity", "vocoder"].map((name) => ort.InferenceSession.create(made(`${name}.onnx`))));
    return new Speaker(speech, { condition, velocity, vocoder });
  }

  constructor(speech, graphs) {
    const bytes = Uint8Array.from(atob(speech.voice.features), (character) => character.charCodeAt(0));
    const prompt = new Float32Array(bytes.buffer).map((value) => value * speech.featureScale);
    Object.assign(this, { speech, graphs, prompt, promptFrames: prompt.length / MELS });
  }

  // The token ids of a text, and the words that are not known.
  read(text) {
    const { words, marks } = this.speech, ids = [], unknown = [];
    for (const part of text.toLowerCase().match(/[a-z]+(?:'[a-z]+)?|[,.!?]|[^\s,.!?]+/g) ?? []) {
      if (part in marks) ids.push(marks[part]);
      else if (Object.hasOwn(words, part)) ids.push(...(ids.length ? [marks[" "]] : []), ...words[part]);
      else unknown.push(part);
    }
    if (ids.length && !Object.values(marks).includes(ids.at(-1))) ids.push(marks["."]);
    return { ids, unknown };
  }

  // How many frames a text gets: the voice's pace, more for short texts, whole groups of frames with the voice.
  frames(ids, speed = 1) {
    const length = (all) => all.reduce((sum, id) => sum + (this.speech.durations?.[id] ?? 1), 0);
    const f = Math.fround, pace = f(f(f(this.promptFrames) / f(length(this.speech.voice.ids))) * f(length(ids)));
    const seconds = Math.ceil(pace) * HOP / RATE;
    const slow = seconds < 1.6 ? seconds / (3 * seconds / (1.4 + seconds)) : 1;
    const frames = Math.max(2, Math.ceil(f(pace / f(speed * slow)))), multiple = this.speech.frameMultiple;
    return frames + (multiple - (this.promptFrames + frames) % multiple) % multiple;
  }

  // Samples at 24 kHz of token ids; `noise` stands for the random numbers, a state of all frames with the voice's.
  async speak(ids, { speed = 1, noise = null } = {}) {
    const { speech, promptFrames } = this, total = promptFrames + this.frames(ids, speed), size = total * MELS;
    if (total - promptFrames < ids.length) throw new Error("there are more tokens than frames: lower the speed");
    const tokens = [...speech.voice.ids, ...ids, speech.pad];
    const text = await this.run("condition", {
      tokens: integers(tokens, [1, tokens.length]),
      num_tokens: integers([tokens.length - 1], [1]),
      num_frames: integers([total], [1]),
    });
    const known = new Float32Array(size);
    known.set(this.prompt);
    const x = (noise ?? normal(size)).map((value) => value * speech.temperature), times = speech.times;
    for (let i = 0; i + 1 < times.length; i++) {
      const velocity = await this.run("velocity", {
        t: floats([times[i]], [1]),
        x: floats(x, [1, total, MELS]),
        text: floats(text, [1, total, MELS]),
        speech: floats(known, [1, total, MELS]),
        padding_mask: new ort.Tensor("bool", new Uint8Array(total), [1, total]),
        guidance_scale: floats([speech.guidanceScale], [1]),
      });
      for (let j = 0; j < size; j++) x[j] += (times[i + 1] - times[i]) * velocity[j];
    }
    return this.vocode(x.subarray(promptFrames * MELS));
  }

  // The sound of scaled features (frames, mels).
  async vocode(features) {
    const frames = features.length / MELS, logMel = new Float32Array(features.length);
    const unscaled = (values) => values.map((value) => value / this.speech.featureScale);
    const sharp = postfiltered(unscaled(features), unscaled(this.prompt), this.speech.postfilter);
    for (let i = 0; i < frames; i++)
      for (let j = 0; j < MELS; j++) logMel[j * frames + i] = sharp[i * MELS + j];
    const samples = await this.run("vocoder", { log_mel: floats(logMel, [1, MELS, frames]) });
    return samples.map((value) => Math.min(1, Math.max(-1, value / this.speech.voice.gain)));
  }

  async run(name, inputs) {
    return Object.values(await this.graphs[name].run(inputs))[0].data;
  }
}

// Log-mel features (frames, mels) of speech as they are vocoded; as zipvoice/audio/postfilter.py has it.
function postfiltered(logMel, prompt, filter) {
  const matched = withSpectrumOf(logMel, prompt, filter);
  const sharp = enlarged(matched, smooth(matched, filter.smoothings, false), 0, filter.contrast, filter);
  return enlarged(sharp, smooth(sharp, filter.timeSmoothings, true), filter.firstCrispBand, filter.timeContrast, filter);
}

function withSpectrumOf(logMel, prompt, { matchSpectrum, spectrumSmoothings, fewFrames, quietShare, floor }) {
  const own = louder(logMel, quietShare), spectrum = average(logMel, own), like = average(prompt, louder(prompt, quietShare));
  const difference = spectrum.map((value, j) => like[j] - value);
  const level = difference.reduce((sum, value) => sum + value, 0) / MELS, loud = own.filter(Boolean).length;
  const colour = smooth(difference.map((value) => value - level), spectrumSmoothings, false);
  const share = (matchSpectrum * loud) / (loud + fewFrames);
  return logMel.map((value, k) => Math.max(value + share * colour[k % MELS], floor));
}

// With at least so much contrast to what is smooth, in the bands from `first` on.
function enlarged(logMel, smoothed, first, least, { most, quietShare, floor }) {
  const isLoud = louder(logMel, quietShare);
  const bent = logMel.map((value, k) => (k % MELS < first ? 0 : value - smoothed[k]));
  const counted = bent.filter((_, k) => k % MELS >= first && isLoud[Math.floor(k / MELS)]);
  const own = Math.sqrt(counted.reduce((sum, value) => sum + value * value, 0) / counted.length);
  if (own >= least || own === 0) return logMel;
  const more = Math.min(least / own, most) - 1;
  return logMel.map((value, k) => Math.max(value + more * bent[k], floor));
}

// Which frames are not the quieter ones, by the lower half of their bands.
function louder(logMel, quietShare) {
  const loudness = Float32Array.from({ length: logMel.length / MELS }, (_, i) =>
    logMel.subarray(i * MELS, i * MELS + MELS / 2).reduce((sum, value) => sum + value, 0));
  const least = loudness.toSorted()[Math.ceil(quietShare * (loudness.length - 1))];
  return Array.from(loudness, (value) => value >= least);
}

// The mean of some frames.
function average(logMel, isCounted) {
  const sum = new Float64Array(MELS);
  logMel.forEach((value, k) => isCounted[Math.floor(k / MELS)] && (sum[k % MELS] += value));
  return sum.map((value) => value / isCounted.filter(Boolean).length);
}

// Averaged with the neighbours over time or over bands, 1:2:1; those at the edges are repeated.
function smooth(values, times, overTime) {
  const [step, last] = overTime ? [MELS, values.length / MELS - 1] : [1, MELS - 1];
  for (let n = 0; n < times; n++)
    values = values.map((value, k, row) => {
      const place = overTime ? Math.floor(k / MELS) : k % MELS;
      return (row[place > 0 ? k - step : k] + 2 * value + row[place < last ? k + step : k]) / 4;
    });
  return values;
}

// Normal random numbers, by Box and Muller.
function normal(size) {
  return Float32Array.from({ length: size }, () =>
    Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()));
}
