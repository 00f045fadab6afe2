#!/usr/bin/env bash
# The five-minute recipe: real recordings in, speech out, on a CPU.
#
#   bash egs/mini/run.sh                          all of it
#   bash egs/mini/run.sh --stage 4                from a stage on
#   bash egs/mini/run.sh --stage 5 --stop-stage 5 only the optional listening test by a speech recogniser
#
# Run again it reuses what is there; broken off it goes on where it was.
set -euo pipefail
cd "$(dirname "$0")"

stage=1
stop_stage=4
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
  for subset in train dev; do
    zipvoice prepare --source corpus/$subset.tsv --output-dir data --prefix mini --subset $subset \
      --features --storage numpy_files
  done
fi

if runs 2; then
  echo "Stage 2: train (about five minutes on two cores)"
  zipvoice train conf/mini.json
fi

if runs 3; then
  echo "Stage 3: average the checkpoints into a model"
  zipvoice average $exp
fi

if runs 4; then
  echo "Stage 4: speak, and compare with the real recordings"
  python local/report.py $exp results
fi

if runs 5; then
  echo "Stage 5: let a recogniser pick which of the training sentences was spoken"
  python local/listen.py $exp results
fi
