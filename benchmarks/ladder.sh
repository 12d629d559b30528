#!/bin/sh
# The ladder of negatives on one collection, with plain foils commands and one line of time per step:
#   sh benchmarks/ladder.sh DATA OUT [MODEL] [TRAIN OPTIONS ...]
# Arms: in-batch, random, BM25 (DPR), dense hard mined by the in-batch model (NV-Retriever), ambiguous (SimANS).
set -eu
data=$1
out=$2
model=${3:-static}
[ $# -lt 3 ] || shift
shift 2
mkdir -p "$out"

timed() {
    label=$1
    shift
    began=$(date +%s)
    "$@" --json >"$out/$label.json"
    printf '%-22s %4d s\n' "$label" $(($(date +%s) - began))
}

train() {
    recipe=$1
    shift
    timed "train-$recipe" foils train "$data" --recipe "$recipe" --model "$model" -o "$out/$recipe" "$@"
}

timed inspect foils inspect "$data"
train in-batch "$@"
train random "$@"
train bm25 "$@"
teacher=$out/in-batch/model
timed mine-nv-retriever foils mine "$data" nv-retriever --encoder "teacher=$teacher" -o "$out/nv"
timed mine-simans foils mine "$data" simans --encoder "student=$teacher" -o "$out/ambiguous"
train nv-retriever --negatives "$out/nv" "$@"
train simans --negatives "$out/ambiguous" "$@"
foils evaluate "$data" --baseline "in-batch=$out/in-batch/model" --model "start=$model" --model bm25 \
    --model "random=$out/random/model" --model "bm25-negatives=$out/bm25/model" \
    --model "nv-retriever=$out/nv-retriever/model" --model "simans=$out/simans/model" --per-query "$out/scores"
