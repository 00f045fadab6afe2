#!/usr/bin/env bash
# Speak the published test dialogues, and count the words that a recogniser gets wrong.
#
#   bash run_eval.sh                                                   the published dialogue model
#   bash run_eval.sh --stage 2 --model exp/zipvoice_dialog_opendialog  a model of your own
#
# --stage 1 --stop-stage 3          first and last stage
# --model zipvoice_dialog           a released model or a model directory; its name names the results
# --num-gpus 1                      GPUs of this machine to speak on
# --vocoder DIR                     instead of the published Vocos
# --dry-run                         print the commands instead of running them
. "$(dirname "$0")/../stages.sh"
options stage=1 stop_stage=3 model=zipvoice_dialog num_gpus=1 vocoder= -- "$@"
results=results/$(basename "$model")

if stage 1 "download the test set"; then
  run hf download k2-fsa/TTS_eval_datasets dialog_testset.tar.gz --repo-type dataset --local-dir download
  run tar -xzf download/dialog_testset.tar.gz -C download
fi

if stage 2 "speak it"; then
  for language in en zh; do
    speak download/dialog_testset/$language/test.tsv "$model" "$results/dialog_$language"
  done
fi

if stage 3 "count the word errors in the English one"; then
  run zipvoice evaluate download/dialog_testset/en/test.tsv "$results/dialog_en" --metrics wer --normalizer dialogue-en
fi
