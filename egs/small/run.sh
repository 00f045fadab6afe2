#!/usr/bin/env bash
# The small models that come with the package, trained on a CPU.
#
# The corpora are three folders of recordings, kathleen, ljspeech and librispeech, each with a table utterances.tsv. The
# free synthesiser flite adds to them; package managers have it. Scores are also of readers of a fourth,
# librispeech_other, whom no model has heard.
#
#   bash run.sh --corpora /data/corpora      all of it
#   bash run.sh --stage 5 --stop-stage 5     only the base model, of what stages 1 to 4 have prepared
#
# --stage 1 --stop-stage 7                first and last stage
# --corpora download                      folder of the corpora
# --num-jobs 2                            processes for features, and phrases that flite says at the same time
# --num-gpus 1                            GPUs of this machine to train on; 1 also stands for none
# --dry-run                               print the commands instead of running them
# -- OPTIONS                              are added to each `zipvoice train`
. "$(dirname "$0")/../stages.sh"
options stage=1 stop_stage=7 corpora=download num_jobs=2 num_gpus=1 -- "$@"
tokenizer=(--tokenizer.type espeak --tokenizer.language en-us)
cuts=data/fbank/small_cuts
lists=(dev dev_flite train_kathleen train_flite train_others)
models=../../zipvoice/builtin

if stage 1 "list the corpora, and have flite say phrases of their texts"; then
  run python local/list_corpora.py "$corpora" data --num-jobs "$num_jobs"
fi

if stage 2 "trim the recordings, and make them equally loud"; then
  run python local/trim_and_level.py data/{heldout,dev,dev_flite,train_kathleen,train_flite,train_others}.tsv
fi

if stage 3 "compute tokens and features, find the times of phones"; then
  run python local/token_table.py data/tokens.txt
  for name in "${lists[@]}"; do
    prepare "data/p_$name.tsv" small "$name"
    run python local/align_phones.py "data/p_$name.tsv" "data/phones_$name.jsonl"
  done
fi

if stage 4 "bring the tokens to an even pace, join recordings to pairs"; then
  for name in "${lists[@]}"; do
    run python local/even_pace.py "data/phones_$name.jsonl" "${cuts}_$name.jsonl.gz" "${cuts}_${name}_even.jsonl.gz"
  done
  run python local/join_pairs.py "${cuts}_train_pairs.jsonl.gz" 3500 \
    --cuts "${cuts}"_{train_kathleen,train_flite,train_others}.jsonl.gz \
    --phones data/phones_{train_kathleen,train_flite,train_others}.jsonl
  run python local/join_pairs.py "${cuts}_dev_pairs.jsonl.gz" 60 \
    --cuts "${cuts}"_{dev,dev_flite}.jsonl.gz --phones data/phones_{dev,dev_flite}.jsonl
fi

if stage 5 "train: first how tokens sound, then to read, last to speak like a prompt"; then
  run python local/teach_text.py conf/read.json exp/text 500 \
    "${cuts}"_{train_kathleen,train_flite,train_others}_even.jsonl.gz --dev "${cuts}_dev_even.jsonl.gz"
  train conf/read.json
  train conf/voice.json
fi

if stage 6 "distil"; then
  train conf/distill.json
fi

if stage 7 "put the models into the package, have them speak, and score them"; then
  run python local/package.py exp/voice "$models/zipvoice_small" 6 0.5 0.5
  run python local/package.py exp/distill "$models/zipvoice_small_distill" 4 0.7 0.5
  run python local/list_evaluation.py "$corpora" data results
  run python ../vocos/local/copy_recordings.py data/copies.tsv results/voice griffin-lim vocos_small
  for list in voice voices; do
    for model in zipvoice_small zipvoice_small_distill; do
      run zipvoice batch "data/$list.tsv" --model $model --output "results/$list/$model"
    done
  done
  run zipvoice evaluate data/voice.tsv \
    results/voice/{recordings,griffin-lim,vocos_small,zipvoice_small,zipvoice_small_distill} --metrics closed wer quality
  run zipvoice evaluate data/voices.tsv results/voices/{recordings,zipvoice_small,zipvoice_small_distill} \
    --metrics similarity
fi
