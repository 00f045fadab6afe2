#!/usr/bin/env bash
# A vocoder of your own, from scratch or from another one, compared with Griffin-Lim.
#
# The recordings are listed in data/train.tsv, data/dev.tsv and data/test.tsv, with lines of id, text and recording, with
# tabs between them. Only the comparison looks at the text.
#
#   bash run.sh                                          all of it, with the published sizes, on a GPU
#   bash run.sh --conf conf/small.json --exp exp/small   a small one, on a CPU
#
# --stage 1 --stop-stage 3                first and last stage
# --conf conf/vocos.json                  what to train
# --exp exp/vocos                         folder of the run, as in that file
# --num-gpus 1                            GPUs of this machine to train on, each with batches of its own
# --dry-run                               print the commands instead of running them
# -- OPTIONS                              are added to `zipvoice train-vocoder`
. "$(dirname "$0")/../stages.sh"
options stage=1 stop_stage=3 conf=conf/vocos.json exp=exp/vocos num_gpus=1 -- "$@"

if stage 1 "check the recordings and list them"; then
  for subset in train dev; do
    run zipvoice prepare data/$subset.tsv --output-dir data --prefix vocos --subset $subset
  done
fi

if stage 2 "train"; then
  launch train-vocoder "$conf" ${overrides[@]+"${overrides[@]}"}
fi

if stage 3 "copy recordings, and compare"; then
  run python local/copy_recordings.py data/test.tsv results griffin-lim "$exp"
  run zipvoice evaluate results/list.tsv results/recordings results/griffin-lim "results/$(basename "$exp")" \
    --metrics closed_set wer dnsmos
fi
