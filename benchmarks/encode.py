"""Encoding: sentence-transformers' own ``encode`` as called by default against foils' encoder, in turns.

    python benchmarks/encode.py DATA [--model minilm] [--docs 800] [--rounds 3]

Prints documents per second (median over rounds), the ratio (median, least and largest of the rounds' ratios), and how
much of the top 100 agrees (share of each query's 100 nearest documents under the vectors of ``encode`` that are also
among the 100 nearest under ours).
"""

from __future__ import annotations

import argparse
import time
from importlib.util import find_spec

import numpy as np

from foils import load
from foils.adapters.exact import search
from foils.adapters.models import load_encoder, load_model


def overlap(a, b, k):
    ours, theirs = search(*a, k)[0], search(*b, k)[0]
    return np.mean([len(np.intersect1d(x, y)) / k for x, y in zip(ours, theirs, strict=True)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--docs", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--depth", type=int, default=100)
    args = parser.parse_args()
    data = load(args.data)
    rng = np.random.default_rng(0)
    docs = data.corpus.texts(np.sort(rng.permutation(len(data.corpus))[: args.docs]))
    queries = data.queries.texts(np.sort(rng.permutation(len(data.queries))[: args.queries]))

    model = load_model(args.model)
    arms = {"sentence-transformers `encode`": lambda texts, kind: model.encode(texts, normalize_embeddings=True)}
    for prefix in ("", "openvino:") if find_spec("openvino") else ("",):
        for precision in ("float32", "bfloat16"):
            arms[f"foils, {prefix}{precision}"] = load_encoder(prefix + args.model, precision=precision).encode
    same, took = {}, {name: [] for name in arms}
    for turn in range(args.rounds):
        for name, encode in arms.items():
            if not turn:
                encode(docs[:32], "document")
            start = time.perf_counter()
            vectors = encode(docs, "document")
            took[name].append(time.perf_counter() - start)
            if not turn:
                same[name] = (encode(queries, "query"), vectors)
    reference, *_ = arms
    base = np.array(took[reference])
    print("| encoder | documents/s | ratio | least | largest | top-100 overlap |\n|---|---|---|---|---|---|")
    for name in arms:
        ratios = base / took[name]
        row = [f"{len(docs) / np.median(took[name]):.1f}", *(f"{f(ratios):.2f}" for f in (np.median, np.min, np.max))]
        print(f"| {name} | {' | '.join(row)} | {overlap(same[name], same[reference], args.depth):.4f} |")


if __name__ == "__main__":
    main()
