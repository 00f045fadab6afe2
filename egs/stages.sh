# Sourced by the recipes: their options, their stages, and `run`, which a dry run only prints.
#
#   . "$(dirname "$0")/../stages.sh"
#   options stage=1 stop_stage=3 num_gpus=8 corpus=download/Corpus -- "$@"   # makes --stop-stage, for example
#   if stage 1 "list the corpus"; then run python local/list.py "$corpus"; fi
#
# What follows `--` on the command line of a recipe is added to each of its training commands.
set -eu -o pipefail

script=$(basename "$0")
cd "$(dirname "$0")"

options() {
  local known="" name
  while [ "$1" != -- ]; do
    known+=" --${1%%=*}"
    printf -v "${1%%=*}" %s "${1#*=}"
    shift
  done
  shift
  known=${known//_/-}
  dry_run=false
  overrides=()
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage; exit ;;
      --dry-run) dry_run=true; shift; continue ;;
      --) overrides=("${@:2}"); break ;;
    esac
    case "$known " in
      *" $1 "*) ;;
      *) fail "unknown option $1; known:$known --dry-run --help" ;;
    esac
    [ $# -ge 2 ] || fail "$1 needs a value"
    name=${1#--}
    printf -v "${name//-/_}" %s "$2"
    shift 2
  done
  case $stage$stop_stage in *[!0-9]*) fail "--stage and --stop-stage are numbers, not $stage and $stop_stage" ;; esac
  [ "$stop_stage" -ge "$stage" ] || stop_stage=$stage
}

# The comment at the head of the recipe.
usage() { sed -n '1d; /^#/!q; s/^# \{0,1\}//; p' "$script"; }

fail() { echo "$script: $*" >&2; exit 2; }

# Whether a stage is to run; says so.
stage() {
  [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ] || return 1
  echo "Stage $1: $2" >&2
}

run() {
  local line
  if $dry_run; then
    printf -v line '%q ' "$@"
    echo "${line% }"
  else
    "$@"
  fi
}

# A command of zipvoice on all GPUs of this machine.
launch() {
  if [ "$num_gpus" -gt 1 ]; then
    run torchrun --nproc-per-node "$num_gpus" -m zipvoice "$@"
  else
    run zipvoice "$@"
  fi
}

train() { launch train "$@" ${overrides[@]+"${overrides[@]}"}; }

# prepare LIST PREFIX SUBSET [options]: a list of a corpus -> a manifest with features, and tokens of "${tokenizer[@]}".
prepare() {
  run zipvoice prepare "$1" --output-dir data/fbank --prefix "$2" --subset "$3" --features \
    --num-workers "$num_jobs" "${@:4}" "${tokenizer[@]}"
}

# fetch MODEL...: released models -> download/MODEL.
fetch() {
  local model
  for model in "$@"; do
    run hf download k2-fsa/ZipVoice "$model/model.pt" "$model/model.json" "$model/tokens.txt" --local-dir download
  done
}

# speak LIST MODEL OUTPUT [options]: every text of a list, by the bare model, as in the published evaluations.
speak() { launch batch "$1" --model "$2" --output "$3" --raw ${vocoder:+--vocoder "$vocoder"} "${@:4}"; }
