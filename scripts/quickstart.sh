#!/bin/sh
# Mine, train and evaluate on a real collection, with plain foils commands: sh scripts/quickstart.sh [MODEL] [FOLDER]
# MODEL is static (about two minutes on two cores) or minilm (the transformer, on a smaller cut).
set -eu
model=${1:-static}
out=${2:-quickstart}

case $model in
static) docs= more= takes="about 3 minutes on 2 CPU cores" ;;
minilm) docs="--max-docs 2000" more="--epochs 1" takes="about 20 minutes on 2 CPU cores; far less on a GPU" ;;
*) docs="--max-docs 2000" more= takes="long on a CPU: any sentence-transformers model can be named" ;;
esac

if [ -t 1 ]; then bold='\033[1m' plain='\033[0m'; else bold='' plain=''; fi
run() {
    printf "\n$bold\$ foils %s$plain\n" "$*"
    foils "$@"
}

echo "model $model: $takes; everything goes to $out/"
# shellcheck disable=SC2086
{
    [ -f "$out/demo/qrels/test.tsv" ] || run demo "$out/demo" $docs
    run train "$out/demo" --recipe in-batch --model "$model" $more -o "$out/in-batch"
    run train "$out/demo" --recipe bm25 --model "$model" $more -o "$out/bm25"
    # The arms race: the trained model looks for what it confuses, and the start model is trained on that.
    run mine "$out/demo" nv-retriever --encoder "teacher=$out/in-batch/model" -o "$out/hard"
    run show "$out/hard" -n 1
    run train "$out/demo" --recipe nv-retriever --negatives "$out/hard" --model "$model" $more -o "$out/dense-hard"
}
# Did mining help? Everything is compared with in-batch training.
run evaluate "$out/demo" --baseline "in-batch=$out/in-batch/model" --model "start=$model" \
    --model "bm25-negatives=$out/bm25/model" \
    --model "dense-hard=$out/dense-hard/model" --per-query "$out/scores"

cat <<END

Files, all in $out/:
  demo/        the collection, a BEIR folder
  hard/        mined negatives (Parquet) with every candidate, score and reason
  */model/     trained models: SentenceTransformer("$out/dense-hard/model")
  scores/      values per query and TREC runs
END
