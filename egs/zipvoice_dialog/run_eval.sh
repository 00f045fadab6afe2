#!/usr/bin/env bash
# Speak the published test dialogues, and score them as the published figures are.
#
#   bash run_eval.sh                                                   the published dialogue model
#   bash run_eval.sh --stage 2 --model exp/zipvoice_dialog_opendialog  a model of your own
#
# --stage 1 --stop-stage 3          first and last stage
# --model zipvoice_dialog           a released model or a model directory; its name names the results
# --metrics "cpsim wer utmos"       what to score; cpwer is added for English
# --suite offline                   instead of the one of each language, with models that need no download
# --device cpu                      where to score, cuda for example
# --num-gpus 1                      GPUs of this machine to speak on
# --vocoder DIR                     instead of the published Vocos
# --dry-run                         print the commands instead of running them
. "$(dirname "$0")/../stages.sh"
options stage=1 stop_stage=3 model=zipvoice_dialog metrics="cpsim wer utmos" suite= device=cpu num_gpus=1 vocoder= -- "$@"
results=results/$(basename "$model")

if stage 1 "download the test set and the models that score"; then
  run hf download k2-fsa/TTS_eval_models --local-dir download/TTS_eval_models
  run hf download k2-fsa/TTS_eval_datasets dialog_testset.tar.gz --repo-type dataset --local-dir download
  run tar -xzf download/dialog_testset.tar.gz -C download
fi

if stage 2 "speak it"; then
  for language in en zh; do
    speak download/dialog_testset/$language/test.tsv "$model" "$results/dialog_$language"
  done
fi

if stage 3 "score it"; then
  read -ra names <<< "$metrics"
  for language in en zh; do
    extra=()
    [ $language = zh ] || [ -n "$suite" ] || extra=(cpwer)
    run zipvoice evaluate download/dialog_testset/$language/test.tsv "$results/dialog_$language" \
      --suite "${suite:-dialogue-$language}" --metrics "${names[@]}" ${extra[@]+"${extra[@]}"} --device "$device" \
      --save "$results/scores"
  done
  [ -n "$suite" ] || run zipvoice evaluate --reproduce "$results/scores/dialog_en.jsonl" --suite dialogue-en
fi
