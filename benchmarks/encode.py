"""Encoding: sentence-transformers' own ``encode`` as called by default against foils' encoder, in turns.

    python benchmarks/encode.py DATA [--model minilm] [--docs 800] [--rounds 3]
    python benchmarks/encode.py DATA --changed 0.01 [--model minilm] [--docs 10000]

Prints documents per second (median over rounds), the ratio (median, least and largest of the rounds' ratios), and how
much of the top 100 agrees (share of each query's 100 nearest documents under the vectors of ``encode`` that are also
among the 100 nearest under ours). With --changed: what it costs to encode a corpus of which that share of the documents
has changed since it was encoded, against encoding all of it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from foils import load
from foils.adapters.exact import search
from foils.adapters.models import load_encoder, load_model
from foils.adapters.vectors import vectors as stored


def overlap(a, b, k):
    ours, theirs = search(*a, k)[0], search(*b, k)[0]
    return np.mean([len(np.intersect1d(x, y)) / k for x, y in zip(ours, theirs, strict=True)])


class Corpus:
    """Documents of a collection, of which some have changed."""

    def __init__(self, texts, changed):
        self.all, self.changed = texts, set(changed.tolist())
        self.fingerprint = f"{len(texts)} documents, {len(changed)} changed"

    def __len__(self):
        return len(self.all)

    def texts(self, rows):
        return [self.all[row] + " (revised)" * (row in self.changed) for row in np.asarray(rows).tolist()]


def changes(docs, model, share, rounds):
    """Seconds to encode a corpus, and one that has changed in part, in turns."""
    encoder, rng = load_encoder(model), np.random.default_rng(1)
    encoder.encode(docs[:32], "document")
    whole, part, still = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            changed = rng.permutation(len(docs))[: round(share * len(docs))]
            for took, rows in ((whole, changed[:0]), (part, changed), (still, changed)):
                start = time.perf_counter()
                stored(encoder, Corpus(docs, rows), "document", cache=Path(cache))
                took.append(time.perf_counter() - start)
    print(f"{model}: {len(docs):,} documents, {share:.1%} of them changed")
    print("| all | changed | nothing | changed / all |\n|---|---|---|---|")
    ratios = np.array(part) / np.array(whole)
    row = [f"{np.median(took):.3f} s" for took in (whole, part, still)]
    print(f"| {' | '.join(row)} | {np.median(ratios):.2%} ({ratios.min():.2%} to {ratios.max():.2%}) |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--docs", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--changed", type=float, help="share of the documents that have changed")
    args = parser.parse_args()
    data = load(args.data)
    rng = np.random.default_rng(0)
    docs = data.corpus.texts(np.sort(rng.permutation(len(data.corpus))[: args.docs]))
    if args.changed is not None:
        changes(docs, args.model, args.changed, args.rounds)
        return
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
