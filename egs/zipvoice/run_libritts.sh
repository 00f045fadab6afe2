#!/usr/bin/env bash
# LibriTTS on characters: a base model, then its distillation in two stages.
#
#   bash run_libritts.sh --stage 0                          all of it, the download included
#   bash run_libritts.sh --stage 4 --stop-stage 4           only the base model
#   bash run_libritts.sh --stage 4 --stop-stage 4 -- --data.max-duration 100
#
# --stage 1 --stop-stage 10     first and last stage
# --corpus download/LibriTTS    the corpus, as its archives unpack
# --num-gpus 8 --num-jobs 20    GPUs of this machine to train and speak on; processes for features
# --list test.tsv               what to speak: lines of name, transcript, recording and text, with tabs between them
# --vocoder DIR                 instead of the published Vocos
# --dry-run                     print the commands instead of running them
# -- OPTIONS                    are added to each `zipvoice train`
. "$(dirname "$0")/../stages.sh"
options stage=1 stop_stage=10 corpus=download/LibriTTS num_gpus=8 num_jobs=20 list=test.tsv vocoder= -- "$@"
tokenizer=(--tokenizer libritts)

if stage 0 "download the corpus"; then
  parts=(-p train-clean-100 -p train-clean-360 -p train-other-500 -p dev-clean)
  run lhotse download libritts "${parts[@]}" "$(dirname "$corpus")"
fi

if stage 1 "list it"; then
  run python local/prepare_libritts.py "$corpus" data/lists
fi

if stage 2 "check the recordings, compute tokens and features"; then
  for subset in train-all-shuf dev-clean; do
    prepare data/lists/libritts_$subset.tsv libritts $subset --skip-bad-rows
  done
fi

if stage 3 "number the characters"; then
  run python local/token_table.py data/tokens_libritts.txt \
    data/fbank/libritts_cuts_train-all-shuf.jsonl.gz data/fbank/libritts_cuts_dev-clean.jsonl.gz
fi

if stage 4 "train the base model"; then
  train conf/libritts.json
fi

if stage 5 "average it over the last 10 epochs"; then
  run python local/average_epochs.py exp/zipvoice_libritts 10
fi

if stage 6 "distil it, first stage"; then
  train conf/libritts_distill_1.json
fi

if stage 7 "average that over the last 3 epochs"; then
  run python local/average_epochs.py exp/zipvoice_distill_1stage_libritts 3
fi

if stage 8 "distil it, second stage"; then
  train conf/libritts_distill_2.json
fi

if stage 9 "average that over the last 3 epochs"; then
  run python local/average_epochs.py exp/zipvoice_distill_libritts 3
fi

if stage 10 "speak with both models"; then
  speak "$list" exp/zipvoice_libritts results/libritts --num-steps 8 --t-shift 0.7
  speak "$list" exp/zipvoice_distill_libritts results/libritts_distill --num-steps 4 --t-shift 0.7
fi
