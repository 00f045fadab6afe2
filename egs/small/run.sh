#!/usr/bin/env bash
# The small models that come with the package, trained on a CPU.
#
# The corpora are four folders of recordings, kathleen, ljspeech, librispeech and speechocean_adult, each with a table
# utterances.tsv. The free synthesiser flite adds to them; package managers have it. Scores are also of readers of a
# fifth, librispeech_other, whom no model has heard.
#
#   bash run.sh --corpora /data/corpora      all of it
#   bash run.sh --stage 5 --stop-stage 5     only the base model, of what stages 1 to 4 have prepared
#   bash run.sh --stage 8 --stop-stage 8     the figures in the card of the models of the package; needs the corpora only
#   bash run.sh --stage 9                    training on, on the speech of a synthesiser, after stages 1 to 6
#
# --stage 1 --stop-stage 11               first and last stage
# --corpora download                      folder of the corpora
# --sentences conf/heldout_sentences.txt   what the models of the package say for their card
# --wordnet /usr/share/wordnet            folder of WordNet's data files, whose example sentences the synthesiser says
# --num-jobs 2                            processes for features, and recordings worked on at the same time
# --num-gpus 1                            GPUs of this machine to train on; 1 also stands for none
# --dry-run                               print the commands instead of running them
# -- OPTIONS                              are added to each `zipvoice train`
. "$(dirname "$0")/../stages.sh"
options stage=1 stop_stage=11 corpora=download sentences=conf/heldout_sentences.txt wordnet=/usr/share/wordnet num_jobs=2 num_gpus=1 -- "$@"
tokenizer=(--tokenizer espeak --language en-us)
timed=data/timed_tokens.txt
models=../../zipvoice/builtin
lists=(dev train_kathleen train_others train_readers train_flite)
played=(train_kathleen_{0.88,1.14} train_others_{0.88,1.14} train_readers_{0.88,1.14})

# cuts NAME...: their manifests. phones NAME...: the times of their phones. Both in the array `paths`.
cuts() { paths=("${@/#/data/fbank/small_cuts_}"); paths=("${paths[@]/%/.jsonl.gz}"); }
phones() { paths=("${@/#/data/phones_}"); paths=("${paths[@]/%/.jsonl}"); }

# pairs NAME NUMBER LIST...: pairs of recordings of these lists.
pairs() {
  cuts "pairs_$1" "${@:3}"; local manifests=("${paths[@]}")
  phones "${@:3}"
  run python local/join_pairs.py "$timed" "${manifests[0]}" "$2" --cuts "${manifests[@]:1}" --phones "${paths[@]}"
}

# leg RUN STEPS [options]: train conf/RUN.json up to that step, unless it is there already.
leg() {
  local path step=0
  for path in "exp/$1"/checkpoint-*.pt; do
    path=${path##*checkpoint-}
    path=${path%.pt}
    [ "$path" = "*" ] || [ "$path" -le "$step" ] || step=$path
  done
  ! $dry_run && [ "$step" -ge "$2" ] || train "conf/$1.json" --num-steps "$2" "${@:3}"
}

if stage 1 "list the corpora, and have flite say phrases of their texts"; then
  run python local/list_corpora.py "$corpora" data --num-jobs "$num_jobs"
fi

if stage 2 "trim the recordings, and make them equally loud"; then
  run python local/trim_and_level.py data/{heldout,dev,train_kathleen,train_others,train_readers,train_flite}.tsv
fi

if stage 3 "find the times of phones, play recordings slower and faster, compute tokens and features"; then
  for name in "${lists[@]}"; do
    run python local/align_phones.py "data/p_$name.tsv" "data/phones_$name.jsonl"
  done
  for factor in 0.88 1.14; do
    run python local/other_speakers.py data $factor train_kathleen train_others train_readers --num-jobs "$num_jobs"
  done
  run python local/token_table.py data/tokens.txt
  for name in "${lists[@]}" "${played[@]}"; do
    prepare "data/p_$name.tsv" small "$name"
  done
fi

if stage 4 "measure tokens, bring recordings to the typical pace, join them to pairs"; then
  natural=(train_kathleen train_others train_readers)
  cuts "${natural[@]}"; manifests=("${paths[@]}")
  phones "${natural[@]}"
  run python local/token_durations.py data/tokens.txt "$timed" --cuts "${manifests[@]}" --phones "${paths[@]}"
  for name in "${lists[@]}"; do
    cuts "$name" "${name}_paced"
    run python local/typical_pace.py "$timed" "data/phones_$name.jsonl" "${paths[@]}"
  done
  pairs dev 60 dev
  pairs kathleen 2500 train_kathleen
  pairs others 2500 train_others{,_0.88,_1.14} train_kathleen_{0.88,1.14}
  pairs readers 2500 train_readers{,_0.88,_1.14}
  pairs flite 600 train_flite
fi

if stage 5 "train: first how tokens sound, then to speak like a prompt"; then
  cuts train_{kathleen,others,readers,flite}_paced dev_paced
  run python local/teach_text.py conf/voice.json exp/text 500 "${paths[@]:0:4}" --dev "${paths[4]}"
  # With batches this small the loss is mostly noise of the gradients, which a lower learning rate takes out at the end.
  leg voice 4600
  leg voice 7400 --optim.base-lr 0.015
  leg voice 8000 --optim.base-lr 0.006
  leg voice 8400 --optim.base-lr 0.002
  run zipvoice average --exp-dir exp/voice --num 1
fi

if stage 6 "distil"; then
  leg distill 300
  leg distill 440 --optim.base-lr 0.003
  run zipvoice average --exp-dir exp/distill --num 1
fi

if stage 7 "put the models into the package"; then
  run python local/package.py exp/voice "$models/zipvoice_small"
  run python local/package.py exp/distill "$models/zipvoice_small_distill" 4 1 0.5 0.2 1 0.65 0.4
fi

if stage 8 "have the models of the package speak, score them, and write their card"; then
  run python local/list_evaluation.py "$sentences" conf/unseen_sentences.txt "$corpora" data results
  run python ../vocos/local/copy_recordings.py data/copies.tsv results/kathleen griffin-lim vocos_small
  for path in "$models"/voices/*.safetensors; do
    voice=$(basename "$path" .safetensors)
    spoken=(results/"$voice"/{zipvoice_small,zipvoice_small_distill})
    for model in zipvoice_small zipvoice_small_distill; do
      run zipvoice batch "data/voice_$voice.jsonl" --model $model --output "results/$voice/$model"
    done
    [ "$voice" != kathleen ] || spoken=(results/kathleen/{recordings,griffin-lim,vocos_small} "${spoken[@]}")
    run zipvoice evaluate "data/voice_$voice.jsonl" "${spoken[@]}" --save "results/scores/$voice" \
      --metrics closed_set wer distillmos blur speed
  done
  for model in zipvoice_small zipvoice_small_distill; do
    run zipvoice batch data/voices.tsv --model $model --output "results/voices/$model"
  done
  run zipvoice evaluate data/voices.tsv results/voices/recordings --metrics similarity --save results/scores/voices
  run zipvoice evaluate data/voices.tsv results/voices/{zipvoice_small,zipvoice_small_distill} \
    --metrics similarity wer --save results/scores/voices
  run python local/card.py results/scores "$models/README.md"
fi

if stage 9 "have a free synthesiser speak as the model lays texts out"; then
  run python local/list_texts.py "$wordnet" data/teacher_texts.txt \
    --held-out data/{heldout,dev}.tsv --transcripts data/train_{kathleen,others}.tsv
  for set in "teacher_check 150 1" "teacher_1 2500 1" "teacher_2 3000 2"; do
    read -r name number seed <<< "$set"
    run python local/teacher_speech.py "$timed" data/teacher_texts.txt "data/$name.tsv" "$number" "$seed"
    prepare "data/$name.tsv" small "$name"
  done
fi

if stage 10 "train on, mostly on its speech, and distil, at last for three steps"; then
  leg heart 4900
  leg heart 5420 --optim.base-lr 0.002
  leg heart 5720 --optim.base-lr 0.0007 --save-every 20
  run zipvoice average --exp-dir exp/heart --num 2
  run python local/move_distilled.py exp/voice exp/heart exp/distill exp/heart_start
  leg heart_distill 500
  leg heart_distill 660 --optim.base-lr 0.001
  run zipvoice average --exp-dir exp/heart_distill --num 2
  leg heart_backward 400
  leg heart_backward 600 --optim.base-lr 0.001
  leg heart_backward 700 --optim.base-lr 0.0003
  run zipvoice average --exp-dir exp/heart_backward --num 3
fi

if stage 11 "put these models into the package instead, and voices"; then
  run python local/package.py exp/heart "$models/zipvoice_small"
  run python local/package.py exp/heart_backward "$models/zipvoice_small_distill" 3 1.5 0.5 0.2 1 0.65 0.4
  said="The evening train was late again."
  run python local/teacher_voice.py data/heart.wav "$said"
  export ZIPVOICE_VOICES=$models/voices
  run zipvoice voice save --force heart data/heart.wav "$said"
  run zipvoice voice save --force kathleen "$corpora/kathleen/audio/arctic_a0041_1592747623.ogg" \
    "Meanwhile I'll go out to breathe a spell."
  run zipvoice voice save --force lj "$corpora/ljspeech/audio/LJ001-0048.ogg" \
    "his letter is admirably clear and regular, but at least as beautiful as any other Roman type."
  run zipvoice voice save --force libri26 "$corpora/librispeech/audio/26-495-0047.ogg" \
    "To note what became of me, I had two important things before me."
fi
