#!/usr/bin/env bash
# The network that finds the times of words: stages 1 and 2 of run.sh first, then bash align.sh
set -eu
cd "$(dirname "$0")"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# The teacher says texts at known times. pip install hibari-tts==0.2.1 onnx
python local/list_texts.py /usr/share/wordnet data/teacher_texts.txt --held-out data/heldout.tsv data/dev.tsv \
  --transcripts data/train_kathleen.tsv data/train_others.tsv
python local/timed_speech.py data/teacher_texts.txt data/times_test.jsonl 0.1 7
python local/timed_speech.py data/teacher_texts.txt data/times_heart.jsonl 1.5 1

# Recordings, whose phones a recogniser has timed.
for name in train_kathleen train_others train_readers; do
  python local/recorded_times.py data/timed_tokens.txt "data/p_$name.tsv" "data/phones_$name.jsonl" "data/times_$name.jsonl"
done

python local/train_aligner.py exp/aligner --steps 1800 --shares 0.45 0.15 0.2 0.2 \
  --times data/times_heart.jsonl data/times_train_{kathleen,others,readers}.jsonl

# Where the words of held-out speech are, against what is known of them.
python local/align_phones.py data/heldout.tsv data/phones_heldout.jsonl
python ../../benchmarks/alignment.py --aligner exp/aligner --times heart=data/times_test.jsonl \
  --phones kathleen=data/heldout.tsv,data/phones_heldout.jsonl
