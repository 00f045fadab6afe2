#!/usr/bin/env bash
# A base model from scratch on a corpus of your own.
#
# The corpus is two tables, data/raw/custom_train.tsv and data/raw/custom_dev.tsv, with lines of id, text, recording and
# optionally start and end in seconds, with tabs between them.
#
#   bash run_custom.sh                              all but speaking, on characters
#   bash run_custom.sh --stage 6 --list test.tsv    speak
#
# --stage 1 --stop-stage 5                first and last stage
# --tokenizer simple --language en-us     how texts become tokens; the language is for the tokenizer espeak
# --num-gpus 4 --num-jobs 20              GPUs of this machine to train and speak on; processes for features
# --list test.tsv                         what to speak: lines of name, transcript, recording and text
# --vocoder DIR                           instead of the published Vocos
# --dry-run                               print the commands instead of running them
# -- OPTIONS                              are added to `zipvoice train`
. "$(dirname "$0")/../stages.sh"
options stage=1 stop_stage=5 tokenizer=simple language=en-us num_gpus=4 num_jobs=20 list=test.tsv vocoder= -- "$@"
tokenizer=(--tokenizer "$tokenizer" --language "$language")

if stage 1 "check the corpus, compute tokens and features"; then
  for subset in train dev; do
    prepare data/raw/custom_$subset.tsv custom $subset
  done
fi

if stage 2 "number the tokens"; then
  run python local/token_table.py data/tokens_custom.txt \
    data/fbank/custom_cuts_train.jsonl.gz data/fbank/custom_cuts_dev.jsonl.gz
fi

if stage 3 "fit the learning rate and the longest duration to the corpus"; then
  run python local/fit_to_corpus.py conf/custom.json data/fbank/custom_cuts_train.json data/custom.json
fi

if stage 4 "train"; then
  train data/custom.json "${tokenizer[@]}"
fi

if stage 5 "average over the last 10000 steps"; then
  run zipvoice average --exp-dir exp/zipvoice_custom --num 2
fi

if stage 6 "speak"; then
  speak "$list" exp/zipvoice_custom results/custom
fi
