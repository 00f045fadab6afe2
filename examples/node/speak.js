// SPDX-License-Identifier: Apache-2.0
// Speech by sherpa-onnx from JavaScript. README.md tells what makes the files that it reads.
//
// node speak.js FOLDER ESPEAK_NG_DATA VOICE.wav TRANSCRIPT TEXT OUT.wav

const sherpa = require('sherpa-onnx-node');

const [folder, dataDir, recording, transcript, text, output] = process.argv.slice(2);
const speaker = new sherpa.OfflineTts({
  model: {
    zipvoice: {
      encoder: `${folder}/encoder.onnx`,
      decoder: `${folder}/decoder.onnx`,
      vocoder: `${folder}/vocoder.onnx`,
      tokens: `${folder}/tokens.txt`,
      lexicon: `${folder}/lexicon.txt`,
      dataDir,
      // The numbers of the folder's README.md, here those of zipvoice_small_distill.
      featScale: 0.4,
      tShift: 0.5,
      targetRms: 0.1,
      guidanceScale: 1.5,
    },
    numThreads: 2,
  },
});
const voice = sherpa.readWave(recording);
const generationConfig = new sherpa.GenerationConfig({
  referenceAudio: voice.samples,
  referenceSampleRate: voice.sampleRate,
  referenceText: transcript,
  numSteps: 3,
  speed: 1.0,
});
const sound = speaker.generate({ text, generationConfig });
sherpa.writeWave(output, { samples: sound.samples, sampleRate: sound.sampleRate });
console.log(`${(sound.samples.length / sound.sampleRate).toFixed(2)} s`);
