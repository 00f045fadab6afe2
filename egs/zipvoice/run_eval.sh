#!/usr/bin/env bash
# Speak the published test sets, and score them as the published figures are.
#
#   bash run_eval.sh                                         the published base model
#   bash run_eval.sh --model zipvoice_distill                the published distilled model
#   bash run_eval.sh --stage 2 --model exp/zipvoice          a model of your own
#
# --stage 1 --stop-stage 3          first and last stage
# --model zipvoice                  a released model or a model directory; its name names the results
# --metrics "sim_o wer utmos"       what to score
# --suite offline                   instead of the one of each set, with models that need no download
# --device cpu                      where to score, cuda for example
# --num-gpus 1                      GPUs of this machine to speak on
# --vocoder DIR                     instead of the published Vocos
# --dry-run                         print the commands instead of running them
. "$(dirname "$0")/../stages.sh"
options stage=1 stop_stage=3 model=zipvoice metrics="sim_o wer utmos" suite= device=cpu num_gpus=1 vocoder= -- "$@"
results=results/$(basename "$model")

librispeech=download/librispeech_pc_testset/test.tsv
seedtts=download/seedtts_testset

if stage 1 "download the test sets and the models that score"; then
  run hf download k2-fsa/TTS_eval_models --local-dir download/TTS_eval_models
  for set in librispeech_pc_testset seedtts_testset; do
    run hf download k2-fsa/TTS_eval_datasets $set.tar.gz --repo-type dataset --local-dir download
    run tar -xzf download/$set.tar.gz -C download
  done
fi

if stage 2 "speak them"; then
  speak $librispeech "$model" "$results/librispeech_pc"
  speak $seedtts/en/test.tsv "$model" "$results/seedtts_en"
  speak $seedtts/zh/test.tsv "$model" "$results/seedtts_zh"
fi

# score SUITE LIST FOLDER [OPTION...]: its scores, then those beside what is published.
score() {
  read -ra names <<< "$metrics"
  run zipvoice evaluate "$2" "$3" --suite "${suite:-$1}" --metrics "${names[@]}" --device "$device" \
    --save "$results/scores" "${@:4}"
  [ -n "$suite" ] || run zipvoice evaluate --reproduce "$results/scores/$(basename "$3").jsonl" --suite "$1"
}

if stage 3 "score them"; then
  # The published word errors are counted against LibriSpeech's transcripts, not the texts with marks that are spoken.
  transcripts=download/librispeech_pc_testset/transcript.tsv
  [ -f $transcripts ] && transcripts=(--transcripts $transcripts) || transcripts=()
  score librispeech-pc $librispeech "$results/librispeech_pc" ${transcripts[@]+"${transcripts[@]}"}
  score seedtts-en $seedtts/en/test.tsv "$results/seedtts_en"
  score seedtts-zh $seedtts/zh/test.tsv "$results/seedtts_zh"
fi
