#!/usr/bin/env bash
# Emilia, English and Chinese: the published base model, then its distillation in two stages.
#
#   bash run_emilia.sh --corpus /data/Amphion___Emilia      all of it
#   bash run_emilia.sh --stage 4 --stop-stage 4             only the base model
#
# --stage 1 --stop-stage 9              first and last stage
# --corpus download/Amphion___Emilia    the corpus, which has raw/EN and raw/ZH
# --num-dev 1500 --piece 10000          utterances of each language for validation, and in each list of the others
# --num-gpus 8 --num-jobs 20            GPUs of this machine to train and speak on; processes for features
# --list test.tsv                       what to speak: lines of name, transcript, recording and text, with tabs between
# --vocoder DIR                         instead of the published Vocos
# --dry-run                             print the commands instead of running them
# -- OPTIONS                            are added to each `zipvoice train`
. "$(dirname "$0")/../stages.sh"
options stage=1 stop_stage=9 corpus=download/Amphion___Emilia num_dev=1500 piece=10000 num_gpus=8 num_jobs=20 \
  list=test.tsv vocoder= -- "$@"
tokenizer=(--tokenizer emilia)

if stage 1 "list what suits training"; then
  for language in EN ZH; do
    run python local/prepare_emilia.py "$corpus" $language data/lists --num-dev "$num_dev" --piece "$piece"
  done
fi

if stage 2 "check the recordings, compute tokens and features, list by list"; then
  for language in EN ZH; do
    manifests=()
    for list_path in data/lists/emilia_"$language"-dev.tsv data/lists/emilia_"$language".*.tsv; do
      subset=${list_path#data/lists/emilia_}
      subset=${subset%.tsv}
      prepare "$list_path" emilia "$subset" --skip-bad-rows
      manifests+=("data/fbank/emilia_cuts_$subset.jsonl.gz")
    done
    run python local/join_manifests.py data/fbank/emilia_cuts_$language.jsonl.gz "${manifests[@]:1}"
  done
fi

if stage 3 "write the token table"; then
  run python local/token_table.py data/tokens_emilia.txt
fi

if stage 4 "train the base model"; then
  train conf/emilia.json
fi

if stage 5 "average it over the last 4 epochs"; then
  run python local/average_epochs.py exp/zipvoice 4
fi

if stage 6 "distil it, first stage"; then
  train conf/emilia_distill_1.json
fi

if stage 7 "average that over the last 7000 steps"; then
  run zipvoice average --exp-dir exp/zipvoice_distill_1stage --num 7
fi

if stage 8 "distil it, second stage"; then
  train conf/emilia_distill_2.json
fi

if stage 9 "speak with both models"; then
  speak "$list" exp/zipvoice results/emilia --num-steps 16
  speak "$list" exp/zipvoice_distill results/emilia_distill --num-steps 8
fi
