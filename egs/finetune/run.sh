#!/usr/bin/env bash
# Fine-tuning in small: the model of the five-minute recipe, which knows one voice, learns another. On a CPU.
#
#   bash egs/finetune/run.sh              prepare, fine-tune, speak; before that the five-minute recipe, if it was not run
#   bash egs/finetune/run.sh --stage 4    against forgetting: replay, adapters
#   bash egs/finetune/run.sh -- OPTIONS   options that are added to `zipvoice finetune`
#
# Run again it reuses what is there; broken off it goes on where it was.
. "$(dirname "$0")/../stages.sh"
options stage=0 stop_stage=3 -- "$@"

small=(--num-steps 60 --valid-every 15 --save-every 30 --sample-every 30 --average-period 5 --log-every 10
  --data.max-duration 16 --data.num-workers 0 --precision fp32)
data=(--train data/lj_cuts_train.jsonl.gz --dev data/lj_cuts_dev.jsonl.gz --data.unknown-tokens add)

if stage 0 "the model to start from"; then
  [ -f ../mini/exp/mini/model.safetensors ] || run bash ../mini/run.sh --stop-stage 2
fi

if stage 1 "prepare the recordings of the new voice"; then
  run zipvoice prepare ../mini/corpus/lj_train.tsv --output-dir data --prefix lj --subset train --features
  run zipvoice prepare ../mini/corpus/lj_heldout.tsv --output-dir data --prefix lj --subset dev --features
fi

if stage 2 "fine-tune"; then
  run zipvoice finetune ../mini/exp/mini "${data[@]}" --exp-dir exp/lj --optim.base-lr 0.01 "${small[@]}" \
    ${overrides[@]+"${overrides[@]}"}
fi

if stage 3 "speak"; then
  run zipvoice say "Italy is contentedly stagnant." --model exp/lj --vocoder griffin-lim --raw --guidance-scale 0 \
    --voice ../mini/corpus/audio/lj/LJ001-0002.ogg --voice-text "in being comparatively modern." --output exp/lj.wav
fi

if stage 4 "against forgetting: once more with replay of the old voice, once more with adapters"; then
  for subset in train dev; do
    run zipvoice prepare ../mini/data/$subset.tsv --output-dir data --prefix old --subset $subset --features
  done
  run zipvoice finetune ../mini/exp/mini "${data[@]}" --exp-dir exp/lj_replay --optim.base-lr 0.01 "${small[@]}" \
    --replay data/old_cuts_train.jsonl.gz --replay-share 0.3 ${overrides[@]+"${overrides[@]}"}
  run zipvoice finetune ../mini/exp/mini "${data[@]}" --exp-dir exp/lj_lora --optim.base-lr 0.002 "${small[@]}" \
    --lora.rank 8 ${overrides[@]+"${overrides[@]}"}
  run python local/losses.py ../mini/exp/mini exp/lj exp/lj_replay exp/lj_lora
fi
