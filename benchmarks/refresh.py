"""What a cheap refresh costs and misses: python benchmarks/refresh.py DATA [--model static] [--docs N] [--steps N]

Trains on in-batch negatives, then mines with the weights of two moments, everything encoded anew or only some of it.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

import foils
from foils.adapters import exact
from foils.adapters.models import load_encoder
from foils.train import Every, TrainOptions, TrainSpec, checkpoints, train
from foils.train.refresh.vectors import Carrying

DEPTH = 200


class Part:
    """Some rows of a side of a collection."""

    def __init__(self, texts, rows):
        self.all, self.rows, self.keys = texts, rows, texts.keys[rows]
        self.fingerprint = f"{texts.fingerprint} {len(rows)}"

    def __len__(self):
        return len(self.rows)

    def texts(self, rows=None):
        return self.all.texts(self.rows if rows is None else self.rows[rows])


class Cut:
    """A random part of a collection."""

    def __init__(self, data, docs):
        draw = np.random.default_rng(0).permutation
        some = np.sort(draw(len(data.corpus))[:docs])
        share = len(some) / len(data.corpus)
        asked = data.query_rows("train")
        self.corpus = Part(data.corpus, some)
        self.queries = Part(data.queries, np.sort(draw(asked)[: int(np.ceil(share * len(asked)))]))


def weights(data, arguments, out):
    """Checkpoints of as many steps each."""
    checkpoints.prune = lambda *_: None
    static = arguments.model == "static"
    options = TrainOptions(
        max_steps=3 * arguments.steps,
        save_every=arguments.steps,
        batch_size=None if static else 16,
        max_length=None if static else 96,
        dev_share=0,
    )
    train(data, TrainSpec(), arguments.model, out=out, options=options)
    return [load_encoder(str(checkpoints.folder_of(out, arguments.steps * turn))) for turn in (1, 2, 3)]


def refreshed(data, encoder, encode, folder, number):
    """Seconds, what was encoded and missed, and the lists of one refresh."""
    rows = np.arange(len(data.queries), dtype=np.int32)
    store = folder / f"store-{encode}-{number}"
    files = folder / f"{encode}-{number - 1}.npy", folder / f"{encode}-{number}.npy"
    refresh = Every(steps=1, encode=encode, missed=1.0)
    began = time.perf_counter()
    snapshot, report = Carrying(data, refresh, rows, *files, store, number).vectors(encoder)
    documents = snapshot.take("document", len(data.corpus), None)
    found, _ = exact.search(snapshot.take("query", len(data.queries), rows), documents, DEPTH)
    seconds = time.perf_counter() - began
    shutil.rmtree(store)
    return seconds, report, found


def shared(first, second, k):
    return np.mean([len(np.intersect1d(a[:k], b[:k])) / k for a, b in zip(first, second, strict=True)])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--model", default="static")
    parser.add_argument("--docs", type=int, default=1 << 30)
    parser.add_argument("--steps", type=int, default=190)
    arguments = parser.parse_args()
    whole = foils.load(arguments.data)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        encoders = weights(whole, arguments, folder / "run")
        data = Cut(whole, arguments.docs)
        print(f"{arguments.model}: {len(data.corpus):,} documents, {len(data.queries):,} queries")
        print(
            f"{'steps':>14} {'encoded':>8} {'cost':>5} {'overlap@10':>10} {'@50':>5} {'@200':>5}  missed, by estimate"
        )
        before = None
        for number, encoder in enumerate(encoders, 1):
            spent, _, full = refreshed(data, encoder, "all", folder, number)
            span = f"{(number - 1) * arguments.steps:,} to {number * arguments.steps:,}"
            if before is not None:
                agreed = "  ".join(f"{shared(full, before, k):.3f}" for k in (10, 50, DEPTH))
                print(f"{span:>14} {'nothing':>8} {0:5.2f}      {agreed}")
            for encode in ("queries", "pool"):
                seconds, report, found = refreshed(data, encoder, encode, folder, number)
                if number > 1:
                    agreed = "  ".join(f"{shared(full, found, k):.3f}" for k in (10, 50, DEPTH))
                    lost = f"{report['missed']:.3f} [{report['missed_low']:.3f} {report['missed_high']:.3f}]"
                    print(f"{span:>14} {encode:>8} {seconds / spent:5.2f}      {agreed}  {lost}")
            print(f"{span:>14} {'all':>8} {1:5.2f}      ({spent:.1f} s)")
            before = full


if __name__ == "__main__":
    main()
