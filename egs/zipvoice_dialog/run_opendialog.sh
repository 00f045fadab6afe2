#!/usr/bin/env bash
# OpenDialog, English and Chinese: the published dialogue model, trained on from the base model.
#
#   bash run_opendialog.sh --corpus /data/OpenDialog            all but speaking
#   bash run_opendialog.sh --stage 7 --list test.tsv            speak
#
# --stage 1 --stop-stage 6          first and last stage
# --corpus download/OpenDialog      the corpus, which has manifest.en.jsonl, manifest.zh.jsonl and audio/
# --num-dev 1000                    dialogues of each language for validation
# --num-gpus 8 --num-jobs 20        GPUs of this machine to train and speak on; processes for features
# --list test.tsv                   what to speak: lines of name, transcript, recording and text, with [S1] and [S2];
#                                   or of name, two transcripts, two recordings and text
# --vocoder DIR                     instead of the published Vocos
# --dry-run                         print the commands instead of running them
# -- OPTIONS                        are added to `zipvoice train`
. "$(dirname "$0")/../stages.sh"
options stage=1 stop_stage=6 corpus=download/OpenDialog num_dev=1000 num_gpus=8 num_jobs=20 list=test.tsv \
  vocoder= -- "$@"
tokenizer=(--tokenizer dialog)

if stage 1 "list the corpus"; then
  run python local/prepare_opendialog.py "$corpus" data/lists --num-dev "$num_dev"
fi

if stage 2 "download the base model, and the dialogue model for its tokens"; then
  fetch zipvoice zipvoice_dialog
fi

if stage 3 "check the recordings, compute tokens and features"; then
  for subset in EN-train EN-dev ZH-train ZH-dev; do
    prepare data/lists/opendialog_$subset.tsv opendialog $subset \
      --tokens download/zipvoice_dialog/tokens.txt --skip-bad-rows
  done
fi

if stage 4 "weigh the languages by their dialogues"; then
  run python local/weigh_by_utterances.py conf/opendialog.json data/opendialog.json
fi

if stage 5 "train"; then
  train data/opendialog.json
fi

if stage 6 "average over the last 10000 steps"; then
  run zipvoice average --exp-dir exp/zipvoice_dialog_opendialog --num 2
fi

if stage 7 "speak"; then
  speak "$list" exp/zipvoice_dialog_opendialog results/opendialog
fi
