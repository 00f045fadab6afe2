#!/usr/bin/env bash
# The five-minute recipe: real recordings in, speech out, on a CPU.
#
#   bash egs/mini/run.sh                          all of it
#   bash egs/mini/run.sh --stage 2                from a stage on
#   bash egs/mini/run.sh --stage 4 --stop-stage 4 only the listening test by a speech recogniser
#   bash egs/mini/run.sh --stage 5 --stop-stage 7 beyond the base model: distillation, dialogue, stereo
#   bash egs/mini/run.sh --stage 8                what speaker turns are worth, with four seeds
#
# Run again it reuses what is there; broken off it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")"

stage=1
stop_stage=3
exp=exp/mini
while [ $# -gt 0 ]; do
  case $1 in
    --stage) stage=$2 ;;
    --stop-stage) stop_stage=$2 ;;
    *) echo "unknown option $1; known: --stage N --stop-stage N" >&2; exit 1 ;;
  esac
  shift 2
done
[ "$stop_stage" -ge "$stage" ] || stop_stage=$stage

runs() { [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }

if runs 1; then
  echo "Stage 1: make training data of the recordings in corpus/"
  python local/level_recordings.py data corpus/train.tsv corpus/dev.tsv corpus/heldout.tsv
  for subset in train dev heldout; do
    zipvoice prepare data/$subset.tsv --output-dir data --prefix mini --subset $subset \
      --features --storage numpy_files
  done
fi

if runs 2; then
  echo "Stage 2: train (about five minutes on two cores)"
  zipvoice train conf/mini.json
fi

if runs 3; then
  echo "Stage 3: speak, and compare with the real recordings"
  python local/report.py $exp results
fi

if runs 4; then
  echo "Stage 4: let a recogniser pick which of the training sentences was spoken"
  python local/listen.py $exp results
fi

if runs 5; then
  echo "Stage 5: distil the model, first from itself under guidance, then from its own average; then for one step"
  zipvoice train conf/distill_1.json
  zipvoice train conf/distill_2.json
  python local/measure.py distilled $exp exp/distill_1 exp/distill_2 | tee exp/distilled.txt
  zipvoice train conf/mean_flow.json
  python local/measure.py few-steps $exp exp/distill_1 exp/distill_2 exp/mean_flow | tee exp/few_steps.txt
fi

if runs 6; then
  echo "Stage 6: train it on dialogues; once more without speaker turns, and once from scratch"
  python local/add_tokens.py data/tokens.txt data/dialog_tokens.txt corpus/*.tsv
  python local/join_dialogues.py corpus/train.tsv corpus/lj_train.tsv data/dialog_train --steps 1 5 --number 24
  python local/join_dialogues.py corpus/dev.tsv corpus/lj_train.tsv data/dialog_dev --steps 7 --number 12
  python local/join_dialogues.py corpus/heldout.tsv corpus/lj_heldout.tsv data/dialog_heldout --steps 1 --number 8
  for subset in train dev heldout; do
    zipvoice prepare data/dialog_$subset-mono.tsv --output-dir data --prefix dialog_mono --subset $subset \
      --features --storage numpy_files
  done
  zipvoice train conf/dialog.json
  zipvoice train conf/dialog.json --exp-dir exp/dialog_without_turns --variant zipvoice --objective.mask suffix
  zipvoice train conf/dialog.json --exp-dir exp/dialog_from_scratch --init-from None
  python local/measure.py dialogue exp/dialog exp/dialog_without_turns exp/dialog_from_scratch | tee exp/dialogue.txt
fi

if runs 7; then
  echo "Stage 7: give each speaker a channel; once more without the speaker-exclusive loss"
  for subset in train dev; do
    zipvoice prepare data/dialog_$subset-stereo.tsv --output-dir data --prefix dialog_stereo \
      --subset $subset --features --storage numpy_files --stereo
  done
  zipvoice train conf/stereo.json
  zipvoice train conf/stereo.json --exp-dir exp/stereo_not_exclusive --objective.exclusive-weight 0
  python local/measure.py stereo exp/stereo exp/stereo_not_exclusive | tee exp/stereo.txt
fi

if runs 8; then
  echo "Stage 8: train with and without speaker turns from four seeds, half as long as in stage 6"
  pairs=()
  for seed in 42 43 44 45; do
    pair=(exp/turns_$seed exp/no_turns_$seed)
    zipvoice train conf/dialog.json --seed $seed --exp-dir "${pair[0]}" --num-steps 100
    zipvoice train conf/dialog.json --seed $seed --exp-dir "${pair[1]}" --num-steps 100 \
      --variant zipvoice --objective.mask suffix
    pairs+=("${pair[@]}")
  done
  python local/measure.py turns "${pairs[@]}" | tee exp/turns.txt
fi
