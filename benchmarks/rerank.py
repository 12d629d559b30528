"""Cross-encoder scoring: sentence-transformers' ``predict`` as called by default against foils' queue, in turns.

    python benchmarks/rerank.py DATA CROSS_ENCODER [--pairs 1000] [--rounds 3]

Pairs are queries with the documents that BM25 finds for them, in the order of the ranking. Prints pairs per second
(median over rounds), the ratio (median, least and largest of the rounds' ratios), how much each query's order agrees
(Kendall's tau-b of the scores, mean over queries), and what the second call takes, which finds the scores on disk.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from foils import load
from foils.adapters.lexical import BM25Index
from foils.adapters.loading import load as load_st
from foils.adapters.models import load_reranker, resolve, settled
from foils.adapters.reranking import Queue
from foils.core.cache import cache_root


def pairs_of(data, count, depth):
    rows = np.random.default_rng(0).permutation(len(data.queries))[: -(-count // depth)]
    texts = data.queries.texts(np.sort(rows))
    docs, _ = BM25Index.build(data.corpus, cache=cache_root() / "bm25").search(texts, depth)
    query, place = np.nonzero(docs >= 0)
    distinct, at = np.unique(docs[query, place], return_inverse=True)
    return texts, data.corpus.texts(distinct), (query, at)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("model")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    queries, docs, at = pairs_of(load(args.data), args.pairs, args.depth)
    model = load_st(settled(resolve(args.model)), "CrossEncoder")
    written = [(queries[q], docs[d]) for q, d in zip(*at, strict=True)]
    ours = {precision: load_reranker(args.model, precision=precision) for precision in ("float32", "bfloat16")}
    folder = Path(tempfile.mkdtemp())
    arms = {"sentence-transformers `predict`": lambda turn: model.predict(written)}
    for name, judge in ours.items():
        arms[f"foils, {name}"] = lambda turn, judge=judge: Queue(judge, folder / str(turn)).score(queries, docs, at)
    scores, took = {}, {name: [] for name in arms}
    for turn in range(args.rounds):
        for name, score in arms.items():
            start = time.perf_counter()
            scores[name] = score(turn)
            took[name].append(time.perf_counter() - start)
    start = time.perf_counter()
    Queue(ours["float32"], folder / "0").score(queries, docs, at)
    again = time.perf_counter() - start
    reference, *_ = arms
    base = np.array(took[reference])
    print(f"{len(written):,} pairs; found on disk: {len(written) / again:,.0f} pairs/s")
    print("| scorer | pairs/s | ratio | least | largest | tau |\n|---|---|---|---|---|---|")
    for name in arms:
        ratios = base / np.array(took[name])
        tau = [kendalltau(scores[name][at[0] == q], scores[reference][at[0] == q])[0] for q in np.unique(at[0])]
        speed, order = len(written) / np.median(took[name]), np.nanmean(tau)
        low, middle, high = ratios.min(), np.median(ratios), ratios.max()
        print(f"| {name} | {speed:.0f} | {middle:.2f} | {low:.2f} | {high:.2f} | {order:.4f} |")


if __name__ == "__main__":
    main()
