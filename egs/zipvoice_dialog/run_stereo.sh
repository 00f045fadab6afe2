#!/usr/bin/env bash
# A stereo dialogue model, which gives each speaker a channel, trained on from the published dialogue model.
#
# The corpus is two tables, data/raw/stereo_train.tsv and data/raw/stereo_dev.tsv, with lines of id, text, recording and
# optionally start and end in seconds, with tabs between them. The recordings have [S1] on the left channel and [S2] on
# the right one; a third channel, if there is one, is their mixture. The text has [S1] or [S2] before each turn and
# begins with [S1].
#
#   bash run_stereo.sh                              all but speaking
#   bash run_stereo.sh --stage 5 --list test.tsv    speak
#
# --stage 1 --stop-stage 4          first and last stage
# --num-gpus 4 --num-jobs 20        GPUs of this machine to train and speak on; processes for features
# --list test.tsv                   what to speak: lines of name, transcript, recording and text, with [S1] and [S2];
#                                   or of name, two transcripts, two recordings and text
# --vocoder DIR                     instead of the published Vocos
# --dry-run                         print the commands instead of running them
# -- OPTIONS                        are added to `zipvoice train`
. "$(dirname "$0")/../stages.sh"
options stage=1 stop_stage=4 num_gpus=4 num_jobs=20 list=test.tsv vocoder= -- "$@"
tokenizer=(--tokenizer dialog)

if stage 1 "download the dialogue model"; then
  fetch zipvoice_dialog
fi

if stage 2 "check the corpus, compute tokens and features"; then
  for subset in train dev; do
    prepare data/raw/stereo_$subset.tsv stereo $subset --stereo --tokens download/zipvoice_dialog/tokens.txt
  done
fi

if stage 3 "train"; then
  train conf/stereo.json
fi

if stage 4 "average over the last 10000 steps"; then
  run zipvoice average --exp-dir exp/zipvoice_dialog_stereo --num 2
fi

if stage 5 "speak"; then
  speak "$list" exp/zipvoice_dialog_stereo results/stereo
fi
