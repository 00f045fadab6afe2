// SPDX-License-Identifier: Apache-2.0
// The page of a speech server: it asks by the same routes as every other client, and shows the sound while it is made.

const $ = (id) => document.getElementById(id);
const FFT_SIZE = 512;
const HOP = 256;
const FLOOR_DB = -80;
const CONSENT = "The speaker agreed on the page of the server.";

// ---------------------------------------------------------------- the server

let key = sessionStorage.getItem("key") ?? "";

async function ask(path, options = {}) {
  const headers = { ...(options.headers ?? {}), ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Error("The server does not answer. Is it still running?");
  }
  if (answer.status === 401) {
    $("key-form").hidden = false;
    $("key").focus();
  }
  if (!answer.ok) throw new Error(await reason(answer));
  return answer;
}

async function reason(answer) {
  try {
    const { error } = await answer.json();
    const wait = answer.headers.get("Retry-After");
    return error.message + (wait ? ` (try again in ${wait} s)` : "");
  } catch {
    return `The server answered ${answer.status} ${answer.statusText}`;
  }
}

const post = (path, body, signal) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });

async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const whole = text.split("\n\n");
    text = whole.pop();
    for (const one of whole) {
      const data = one.split("\n").find((line) => line.startsWith("data: "));
      if (data) yield JSON.parse(data.slice(6));
    }
  }
}

// ---------------------------------------------------------------- sound

const bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

// The head of a wav file as it is streamed: its rate and channels, and where the samples begin.
function wavHead(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const name = (at) => String.fromCharCode(...bytes.subarray(at, at + 4));
  let rate = 24000, channels = 1, at = 12;
  for (; at + 8 <= bytes.length && name(at) !== "data"; at += 8 + view.getUint32(at + 4, true)) {
    if (name(at) === "fmt ") [channels, rate] = [view.getUint16(at + 10, true), view.getUint32(at + 12, true)];
  }
  return { rate, channels, start: at + 8 };
}

function wavFile({ rate, channels, pcm }) {
  const size = pcm.reduce((sum, part) => sum + part.length, 0);
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, word) => [...word].forEach((letter, i) => head.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF"); head.setUint32(4, 36 + size, true); text(8, "WAVEfmt "); head.setUint32(16, 16, true);
  head.setUint16(20, 1, true); head.setUint16(22, channels, true); head.setUint32(24, rate, true);
  head.setUint32(28, rate * channels * 2, true); head.setUint16(32, channels * 2, true); head.setUint16(34, 16, true);
  text(36, "data"); head.setUint32(40, size, true);
  return new Blob([head, ...pcm], { type: "audio/wav" });
}

let context = null;

// Plays parts one behind the other from the first on, while later ones are made.
class LivePlayer {
  constructor(rate) {
    context ??= new AudioContext();
    context.resume();
    this.rate = rate;
    this.next = 0;
    this.sources = new Set();
  }

  add(channels) {
    const buffer = context.createBuffer(channels.length, channels[0].length, this.rate);
    channels.forEach((samples, i) => buffer.copyToChannel(samples, i));
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(context.destination);
    this.next = Math.max(this.next, context.currentTime + 0.05);
    source.start(this.next);
    this.next += buffer.duration;
    this.sources.add(source);
    source.onended = () => this.sources.delete(source);
  }

  stop() {
    this.sources.forEach((source) => source.stop());
    this.sources.clear();
  }
}

// ---------------------------------------------------------------- pictures

const hann = Float32Array.from({ length: FFT_SIZE }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / FFT_SIZE));

// Radix 2, in place.
function fft(real, imaginary) {
  const n = real.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j]] = [real[j], real[i]];
  }
  for (let size = 2; size <= n; size *= 2) {
    for (let k = 0; k < size / 2; k++) {
      const angle = (-2 * Math.PI * k) / size, c = Math.cos(angle), s = Math.sin(angle);
      for (let a = k; a < n; a += size) {
        const b = a + size / 2;
        const re = real[b] * c - imaginary[b] * s, im = real[b] * s + imaginary[b] * c;
        real[b] = real[a] - re; imaginary[b] = imaginary[a] - im;
        real[a] += re; imaginary[a] += im;
      }
    }
  }
}

// Levels (dB below full scale) of one frame, from the lowest frequency up.
function spectrum(samples, start) {
  const real = new Float32Array(FFT_SIZE), imaginary = new Float32Array(FFT_SIZE);
  for (let n = 0; n < FFT_SIZE; n++) real[n] = (samples[start + n] ?? 0) * hann[n];
  fft(real, imaginary);
  const levels = new Float32Array(FFT_SIZE / 2);
  for (let k = 0; k < levels.length; k++) {
    levels[k] = 20 * Math.log10((Math.hypot(real[k], imaginary[k]) * 4) / FFT_SIZE + 1e-6);
  }
  return levels;
}

const COLOURS = [[13, 8, 135], [126, 3, 168], [204, 71, 120], [248, 149, 64], [240, 249, 33]];

function colour(level) {
  const place = Math.min(1, Math.max(0, 1 - level / FLOOR_DB)) * (COLOURS.length - 1);
  const i = Math.min(COLOURS.length - 2, Math.floor(place)), share = place - i;
  return COLOURS[i].map((from, channel) => from + (COLOURS[i + 1][channel] - from) * share);
}

function canvasOf(id) {
  const canvas = $(id), scale = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
  canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale));
  return [canvas.getContext("2d"), canvas.width, canvas.height];
}

function draw({ samples, rate, chunks }) {
  const style = getComputedStyle(document.documentElement);
  drawWave(samples, chunks, style.getPropertyValue("--wave"), style.getPropertyValue("--mark"));
  drawSpectrogram(samples);
  const seconds = samples.length / rate;
  $("caption").textContent =
    `${seconds.toFixed(2)} s in ${chunks.length} ${chunks.length === 1 ? "chunk" : "chunks"}; spectrogram 0 to ${rate / 2000} kHz`;
}

function drawWave(samples, chunks, wave, mark) {
  const [pen, width, height] = canvasOf("wave");
  const each = samples.length / width, peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0.05);
  pen.fillStyle = wave;
  for (let x = 0; x < width; x++) {
    let low = 0, high = 0;
    for (let n = Math.floor(x * each); n < (x + 1) * each && n < samples.length; n++) {
      low = Math.min(low, samples[n]);
      high = Math.max(high, samples[n]);
    }
    pen.fillRect(x, ((1 - high / peak) * height) / 2, 1, Math.max(1, ((high - low) / peak) * (height / 2)));
  }
  pen.fillStyle = mark;
  chunks.slice(1).forEach((start) => pen.fillRect(Math.round(start / each), 0, 2, height));
}

function drawSpectrogram(samples) {
  const [pen, width, height] = canvasOf("spectrogram");
  const frames = Math.max(1, Math.min(width, Math.floor(samples.length / HOP)));
  const image = new ImageData(frames, FFT_SIZE / 2);
  for (let x = 0; x < frames; x++) {
    const levels = spectrum(samples, Math.floor((x * samples.length) / frames));
    levels.forEach((level, k) => image.data.set([...colour(level), 255], 4 * ((levels.length - 1 - k) * frames + x)));
  }
  const small = new OffscreenCanvas(frames, FFT_SIZE / 2);
  small.getContext("2d").putImageData(image, 0, 0);
  pen.drawImage(small, 0, 0, width, height);
}

// ---------------------------------------------------------------- speaking

let running = null; // what can be stopped: { abort, player }
let shown = null; // what the pictures show

function fail(problem) {
  $("error").textContent = problem.message;
  $("error").hidden = false;
}

function asked() {
  const number = (id) => ($(id).value === "" ? undefined : Number($(id).value));
  return { speed: number("speed"), num_steps: number("steps"), seed: number("seed"), response_format: "wav", stream_format: "sse" };
}

function request() {
  if ($("tab-dialogue").getAttribute("aria-selected") !== "true") {
    const input = $("text").value;
    if (!input.trim()) throw new Error("There is nothing to say: write a text first.");
    return ["v1/audio/speech", { input, voice: $("voice").value, ...asked() }];
  }
  const turns = [...$("turns").children].map((turn) => ({
    voice: $(turn.className === "second" ? "voice-b" : "voice-a").value,
    text: turn.querySelector("textarea").value,
  }));
  if (turns.some((turn) => !turn.text.trim())) throw new Error("A turn has no text: write what is said, or take the turn away.");
  return ["v1/audio/dialogue", { turns, ...asked() }];
}

// A button that cannot be pressed keeps the focus, as one that is disabled does not.
const enable = (id, on) => $(id).setAttribute("aria-disabled", String(!on));

async function speak() {
  if ($("speak").getAttribute("aria-disabled") === "true") return;
  stop();
  $("error").hidden = true;
  const abort = new AbortController(), started = performance.now();
  const mine = { abort, player: null };
  running = mine;
  enable("speak", false);
  enable("stop", true);
  if ($("result").contains(document.activeElement)) $("speak").focus();
  $("result").hidden = $("picture").hidden = true;
  $("told").textContent = "…";
  try {
    const [path, body] = request();
    const sound = { rate: 24000, channels: 1, pcm: [], samples: new Float32Array(0), chunks: [] };
    let first = null, head = null;
    for await (const event of events(await post(path, body, abort.signal))) {
      if (event.type === "speech.audio.error") throw new Error(event.error.message);
      if (event.type !== "speech.audio.delta") continue;
      let bytes = bytesOf(event.audio);
      if (!head) {
        head = wavHead(bytes);
        Object.assign(sound, { rate: head.rate, channels: head.channels });
        bytes = bytes.slice(head.start);
        mine.player = new LivePlayer(head.rate);
      }
      if (!bytes.length) continue;
      first ??= performance.now();
      const parts = add(sound, bytes);
      mine.player.add(parts);
      $("picture").hidden = false;
      draw((shown = sound));
      $("told").textContent = `Speaking; first sound after ${((first - started) / 1000).toFixed(2)} s.`;
    }
    if (!sound.pcm.length) throw new Error("The server sent no sound.");
    finish(sound, started, first);
  } catch (problem) {
    if (problem.name === "AbortError") $("told").textContent = "Stopped.";
    else {
      $("told").textContent = "";
      mine.player?.stop();
      fail(problem);
    }
  } finally {
    enable("speak", true);
    if (running === mine && !mine.player) enable("stop", false);
  }
}

// Takes in 16 bit samples; gives those of each channel.
function add(sound, bytes) {
  sound.pcm.push(bytes);
  const whole = new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1);
  const length = Math.floor(whole.length / sound.channels);
  const parts = Array.from({ length: sound.channels }, (_, channel) =>
    Float32Array.from({ length }, (_, n) => whole[n * sound.channels + channel] / 32768));
  sound.chunks.push(sound.samples.length);
  const longer = new Float32Array(sound.samples.length + length);
  longer.set(sound.samples);
  longer.set(parts[0], sound.samples.length);
  sound.samples = longer;
  return parts;
}

function finish(sound, started, first) {
  const seconds = sound.samples.length / sound.rate, took = (performance.now() - started) / 1000;
  $("told").textContent =
    `${seconds.toFixed(2)} s of speech in ${took.toFixed(2)} s, the first sound after ${((first - started) / 1000).toFixed(2)} s.`;
  const address = URL.createObjectURL(wavFile(sound));
  if ($("player").src) URL.revokeObjectURL($("player").src);
  $("player").src = $("download").href = address;
  $("result").hidden = false;
}

function stop() {
  running?.abort.abort();
  running?.player?.stop();
  $("player").pause();
  running = null;
  enable("stop", false);
}

// ---------------------------------------------------------------- voices

async function listVoices() {
  const { voices } = await (await ask("v1/audio/voices")).json();
  for (const id of ["voice", "voice-a", "voice-b"]) {
    const chosen = $(id).value;
    $(id).replaceChildren(...voices.map(({ id }) => new Option(id, id)));
    if (voices.some((voice) => voice.id === chosen)) $(id).value = chosen;
    else if (id === "voice-b" && voices.length > 1) $(id).selectedIndex = 1;
  }
  $("voices").replaceChildren(...voices.map(voiceRow));
}

function button(text, label, action) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "quiet";
  made.textContent = text;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", action);
  return made;
}

function voiceRow({ id, uploaded }) {
  const row = document.createElement("li"), name = document.createElement("span");
  name.textContent = id;
  row.append(name, button("Hear", `Hear ${id}`, () => hear(id)));
  if (uploaded) row.append(button("Delete", `Delete ${id}`, () => remove(id)));
  return row;
}

const told = (action) => async (...given) => {
  $("error").hidden = true;
  try {
    await action(...given);
  } catch (problem) {
    if (problem.name !== "AbortError") fail(problem); // what was stopped is no mistake
  }
};

const hear = told(async (id) => {
  stop();
  const mine = { abort: new AbortController(), player: null };
  running = mine;
  enable("stop", true);
  const path = `v1/audio/voices/${encodeURIComponent(id)}/preview?response_format=wav`;
  const sound = await ask(path, { signal: mine.abort.signal }).then((answer) => answer.blob()).catch((problem) => {
    if (running === mine) stop();
    throw problem;
  });
  const address = URL.createObjectURL(sound), player = new Audio(address);
  player.onended = () => URL.revokeObjectURL(address);
  mine.player = { stop: () => player.pause() };
  await player.play();
});

const remove = told(async (id) => {
  if (!confirm(`Delete the voice ${id} from the server?`)) return;
  await ask(`v1/audio/voices/${encodeURIComponent(id)}`, { method: "DELETE" });
  await listVoices();
  $("voices").querySelector("button").focus(); // the one that was pressed is gone
  $("told").textContent = `${id} is deleted.`;
});

let recorder = null, recording = null, isAsking = false;

async function microphone() {
  if (!navigator.mediaDevices) throw new Error("Browsers let pages record on https and on localhost only; choose a file instead.");
  return navigator.mediaDevices.getUserMedia({ audio: true }).catch(() => {
    throw new Error("The browser did not give the microphone; allow it, or choose a file instead.");
  });
}

const record = told(async () => {
  if (recorder) return recorder.stop();
  if (isAsking) return;
  isAsking = true;
  const stream = await microphone().finally(() => (isAsking = false));
  const parts = [];
  recorder = new MediaRecorder(stream);
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.onstop = told(async () => {
    stream.getTracks().forEach((track) => track.stop());
    const type = recorder.mimeType;
    recorder = null;
    $("record").textContent = "Record";
    $("record").setAttribute("aria-pressed", "false");
    await keep(new Blob(parts, { type }));
  });
  recorder.start();
  $("record").textContent = "Stop recording";
  $("record").setAttribute("aria-pressed", "true");
});

// A recording becomes a wav, which every server reads.
async function keep(blob) {
  context ??= new AudioContext();
  const decoded = await context.decodeAudioData(await blob.arrayBuffer()), samples = decoded.getChannelData(0);
  const pcm = Int16Array.from(samples, (sample) => Math.round(Math.max(-1, Math.min(1, sample)) * 32767));
  recording = wavFile({ rate: decoded.sampleRate, channels: 1, pcm: [new Uint8Array(pcm.buffer)] });
  $("file").value = "";
  $("recorded").src = URL.createObjectURL(recording);
  $("recorded").hidden = false;
}

const keepVoice = told(async (event) => {
  event.preventDefault();
  const sample = $("file").files[0] ?? recording;
  if (!sample) throw new Error("There is no recording yet: choose a file, or record one.");
  const form = new FormData();
  form.append("audio_sample", sample, sample.name ?? "recording.wav");
  form.append("name", $("name").value);
  form.append("ref_text", $("transcript").value);
  form.append("consent", CONSENT);
  const { voice } = await (await ask("v1/audio/voices", { method: "POST", body: form })).json();
  event.target.reset();
  recording = null;
  $("recorded").hidden = true;
  await listVoices();
  $("voice").value = voice.id;
  $("told").textContent = `${voice.id} is kept on the server.`;
});

// ---------------------------------------------------------------- the page

function addTurn(text = "") {
  const second = $("turns").children.length % 2 === 1;
  const turn = document.createElement("li"), mark = document.createElement("b"), field = document.createElement("textarea");
  turn.className = second ? "second" : "first";
  mark.textContent = second ? "2" : "1";
  field.rows = 2;
  field.value = text;
  field.setAttribute("aria-label", `What the ${turn.className} voice says`);
  turn.append(mark, field, button("×", "Remove this turn", () => {
    const turns = [...$("turns").querySelectorAll("textarea")].filter((other) => other !== field).map((other) => other.value);
    $("turns").replaceChildren();
    turns.forEach(addTurn);
    $("add-turn").focus();
  }));
  $("turns").append(turn);
}

const tabs = [...document.querySelectorAll("[role=tab]")];

function choose(tab) {
  for (const other of tabs) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
    $(other.getAttribute("aria-controls")).hidden = other !== tab;
  }
  $("speak").hidden = $("knobs").hidden = $("keys").hidden = tab.id === "tab-voices";
}

const connect = told(async () => {
  $("server").textContent = "";
  await listVoices();
  const { data } = await (await ask("v1/models")).json();
  $("server").textContent = data[0].id;
  if (data[0].variant.startsWith("zipvoice_dialog")) {
    $("tab-text").hidden = true;
    choose($("tab-dialogue"));
  }
  if ($("key-form").contains(document.activeElement)) tabs.find((tab) => tab.tabIndex === 0).focus();
  $("key-form").hidden = true;
});

tabs.forEach((tab, i) => {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    let next = tabs[(i + step + tabs.length) % tabs.length];
    if (next.hidden) next = tabs[(i + 2 * step + tabs.length) % tabs.length];
    choose(next);
    next.focus();
  });
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !$("speak").hidden) speak();
  if (event.key === "Escape") stop();
});
$("speak").addEventListener("click", speak);
$("stop").addEventListener("click", stop);
$("hear-voice").addEventListener("click", () => hear($("voice").value));
$("record").addEventListener("click", record);
$("voice-form").addEventListener("submit", keepVoice);
$("add-turn").addEventListener("click", () => addTurn());
$("dice").addEventListener("click", () => ($("seed").value = Math.floor(Math.random() * 1e6)));
$("speed").addEventListener("input", () => ($("speed-value").textContent = Number($("speed").value).toFixed(2)));
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value;
  sessionStorage.setItem("key", key);
  connect();
});
window.addEventListener("resize", () => shown && draw(shown));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => shown && draw(shown));
addTurn("Have you heard? Machines can hold a conversation now.");
addTurn("Yes, and they take turns better than we do.");
connect();
