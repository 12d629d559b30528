"""Encoding: sentence-transformers' own ``encode`` as called by default against foils' encoder, in one run.

    python benchmarks/encode.py DATA [--model minilm] [--docs 1500]

Prints documents per second, the ratio, and how much of the top 100 agrees (share of each query's 100 nearest documents
under the vectors of ``encode`` that are also among the 100 nearest under ours).
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
    parser.add_argument("--docs", type=int, default=1500)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--depth", type=int, default=100)
    args = parser.parse_args()
    data = load(args.data)
    rng = np.random.default_rng(0)
    docs = data.corpus.texts(np.sort(rng.permutation(len(data.corpus))[: args.docs]))
    queries = data.queries.texts(np.sort(rng.permutation(len(data.queries))[: args.queries]))

    model = load_model(args.model)
    model.encode(docs[:32])
    start = time.perf_counter()
    theirs = model.encode(docs, normalize_embeddings=True)
    base = time.perf_counter() - start
    reference = (model.encode(queries, normalize_embeddings=True), theirs)
    print("| encoder | documents/s | ratio | top-100 overlap |\n|---|---|---|---|")
    print(f"| sentence-transformers `encode` | {len(docs) / base:.1f} | 1 | 1 |", flush=True)
    arms = [("", "float32"), ("", "bfloat16")]
    if find_spec("openvino"):
        arms += [("openvino:", "float32"), ("openvino:", "bfloat16")]
    for prefix, precision in arms:
        encoder = load_encoder(prefix + args.model, precision=precision)
        encoder.encode(docs[:32], "document")
        start = time.perf_counter()
        ours = encoder.encode(docs, "document")
        took = time.perf_counter() - start
        same = overlap((encoder.encode(queries, "query"), ours), reference, args.depth)
        print(f"| foils, {prefix}{precision} | {len(docs) / took:.1f} | {base / took:.2f} | {same:.4f} |", flush=True)


if __name__ == "__main__":
    main()
