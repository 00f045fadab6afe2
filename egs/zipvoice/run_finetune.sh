#!/usr/bin/env bash
# Fine-tune the published base model on a corpus of your own, Chinese, English or any language of espeak-ng.
#
# The corpus is two tables, data/raw/custom-finetune_train.tsv and data/raw/custom-finetune_dev.tsv, with lines of id,
# text, recording and optionally start and end in seconds, with tabs between them.
#
#   bash run_finetune.sh                                        all but speaking
#   bash run_finetune.sh --tokenizer espeak --language de       German
#   bash run_finetune.sh --stage 5 --list test.tsv              speak
#
# --stage 1 --stop-stage 4                first and last stage
# --tokenizer emilia --language en-us     how texts become tokens; the language is for the tokenizer espeak
# --num-gpus 4 --num-jobs 20              GPUs of this machine to train and speak on; processes for features
# --list test.tsv                         what to speak: lines of name, transcript, recording and text
# --vocoder DIR                           instead of the published Vocos
# --dry-run                               print the commands instead of running them
# -- OPTIONS                              are added to `zipvoice train`
. "$(dirname "$0")/../stages.sh"
options stage=1 stop_stage=4 tokenizer=emilia language=en-us num_gpus=4 num_jobs=20 list=test.tsv vocoder= -- "$@"
tokenizer=(--tokenizer "$tokenizer" --language "$language")

if stage 1 "download the base model"; then
  fetch zipvoice
fi

if stage 2 "check the corpus, compute tokens and features"; then
  for subset in train dev; do
    prepare data/raw/custom-finetune_$subset.tsv custom-finetune $subset --tokens download/zipvoice/tokens.txt
  done
fi

if stage 3 "fine-tune"; then
  train conf/finetune.json "${tokenizer[@]}"
fi

if stage 4 "average over the last 2000 steps"; then
  run zipvoice average --exp-dir exp/zipvoice_finetune --num 2
fi

if stage 5 "speak"; then
  speak "$list" exp/zipvoice_finetune results/finetune
fi
