// SPDX-License-Identifier: Apache-2.0
// Speech by sherpa-onnx 2 from C. README.md tells how to compile it, and what makes the files that it reads.
//
// speak FOLDER REQUEST VOICE.wav OUT.wav

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sherpa-onnx/c-api/c-api.h"

// What request.py writes: a line of numbers, the tokens of the transcript, those of each part of the text.
typedef struct {
  float feat_scale, t_shift, target_rms, guidance_scale;
  int num_steps;
  char **tokens;  // of all lists, one after the other
  int32_t num_tokens;
  int32_t *lengths;  // of each list
  int32_t num_lists;
} Request;

static void end(const char *what, const char *name) {
  fprintf(stderr, "%s %s\n", what, name);
  exit(1);
}

static void *grown(void *array, size_t size) {
  array = realloc(array, size);
  if (!array) end("no memory for", "tokens");
  return array;
}

static void add_list(Request *request, char *line) {
  int32_t before = request->num_tokens;
  for (char *token = strtok(line, " \r\n"); token; token = strtok(NULL, " \r\n")) {
    request->tokens = grown(request->tokens, (request->num_tokens + 1) * sizeof *request->tokens);
    request->tokens[request->num_tokens++] = strdup(token);
  }
  if (request->num_tokens == before) return;
  request->lengths = grown(request->lengths, (request->num_lists + 1) * sizeof *request->lengths);
  request->lengths[request->num_lists++] = request->num_tokens - before;
}

static Request read_request(const char *path) {
  Request request = {0};
  char *line = NULL;
  size_t size = 0;
  FILE *file = fopen(path, "r");
  if (!file) end("cannot read", path);
  if (getline(&line, &size, file) < 0 ||
      sscanf(line, "%f %f %f %f %d", &request.feat_scale, &request.t_shift, &request.target_rms,
             &request.guidance_scale, &request.num_steps) != 5)
    end("no request of request.py:", path);
  while (getline(&line, &size, file) >= 0) add_list(&request, line);
  if (request.num_lists < 2) end("no transcript and text in", path);
  free(line);
  fclose(file);
  return request;
}

static const SherpaOnnxOfflineTts *load(const char *folder, const Request *request) {
  char encoder[4096], decoder[4096], vocoder[4096], tokens[4096];
  snprintf(encoder, sizeof encoder, "%s/encoder.onnx", folder);
  snprintf(decoder, sizeof decoder, "%s/decoder.onnx", folder);
  snprintf(vocoder, sizeof vocoder, "%s/vocoder.onnx", folder);
  snprintf(tokens, sizeof tokens, "%s/tokens.txt", folder);
  SherpaOnnxOfflineTtsConfig config = {0};
  config.model.num_threads = 2;
  config.model.zipvoice = (SherpaOnnxOfflineTtsZipvoiceModelConfig){
      .tokens = tokens,
      .encoder = encoder,
      .decoder = decoder,
      .vocoder = vocoder,
      .feat_scale = request->feat_scale,
      .t_shift = request->t_shift,
      .target_rms = request->target_rms,
      .guidance_scale = request->guidance_scale,
  };
  const SherpaOnnxOfflineTts *speaker = SherpaOnnxCreateOfflineTts(&config);
  if (!speaker) end("sherpa-onnx does not take", folder);
  return speaker;
}

int main(int argc, char **argv) {
  if (argc != 5) end("usage:", "speak FOLDER REQUEST VOICE.wav OUT.wav");
  Request request = read_request(argv[2]);
  const SherpaOnnxWave *voice = SherpaOnnxReadWave(argv[3]);
  if (!voice) end("cannot read", argv[3]);
  const SherpaOnnxOfflineTts *speaker = load(argv[1], &request);

  SherpaOnnxGenerationConfig config = {0};
  config.silence_scale = 1;  // silences stay as long as they are
  config.speed = 1;
  config.reference_audio = voice->samples;
  config.reference_audio_len = voice->num_samples;
  config.reference_sample_rate = voice->sample_rate;
  config.reference_text = "by tokens";  // may not be empty
  config.num_steps = request.num_steps;
  config.tokens = (const char *const *)request.tokens;
  config.tokens_lens = request.lengths;
  config.tokens_num_sentences = request.num_lists;
  const SherpaOnnxGeneratedAudio *sound =
      SherpaOnnxOfflineTtsGenerateWithConfig(speaker, "by tokens", &config, NULL, NULL);
  if (!sound || sound->n == 0) end("sherpa-onnx made no sound of", argv[2]);
  if (!SherpaOnnxWriteWave(sound->samples, sound->n, sound->sample_rate, argv[4])) end("cannot write", argv[4]);
  printf("%.2f s\n", (double)sound->n / sound->sample_rate);

  SherpaOnnxDestroyOfflineTtsGeneratedAudio(sound);
  SherpaOnnxDestroyOfflineTts(speaker);
  SherpaOnnxFreeWave(voice);
  return 0;
}
