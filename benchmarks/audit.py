"""How often the intervals of `foils audit` hold the true rate, where it is known.

    python benchmarks/audit.py DATA [--runs 1000] [--budget 300] [--arms nfcorpus,cranfield,npl]

DATA is the folder of collections. nfcorpus is mined with one positive a query known (``train_sparse``) and judged by
the full qrels; cranfield and npl likewise (``test_sparse``), whose judgements are complete or nearly so. For each,
negatives of the first ranks and of deeper ones, so that rates are high and low. Prints the true rate, and over samples
of other seeds: the mean estimate, the share of 95 % intervals that hold the true rate, and their mean width; first of
the direct estimator, then with a cheap judge of everything that errs by planted rates, and last with the score's word.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import foils
from foils.adapters.models import load_encoder
from foils.audit.drawn import Drawn, Judged
from foils.audit.judges.models import ScoreJudge
from foils.audit.judges.qrels import Qrels
from foils.audit.population import opened
from foils.audit.strata import stratify
from foils.core import noise

FOUND = "BM25(k=150) + Dense('static', k=150) >> BiEncoder('static') >> "
WINDOWS = {"first 20": "Top(k=20)", "deep 40": "Positions(lo=121, hi=160)"}
SPLITS = {
    "nfcorpus": ("train_sparse", "train"),
    "cranfield": ("test_sparse", "test"),
    "npl": ("test_sparse", "test"),
}
CHEAP = {"Se .80 Sp .93": (0.80, 0.93), "Se .95 Sp .97": (0.95, 0.97)}


def erring(truth, found, data, judge):
    """A judge with a planted sensitivity and specificity, by the ids."""
    keys = data.queries.keys[found.query], data.corpus.keys[found.doc]
    draws = noise.uniform(0, "benchmark/audit", *keys)
    return np.where(truth > 0, draws < judge[0], draws >= judge[1]).astype(float)


def arm(name, window, args, models, folder):
    data = foils.load(Path(args.data) / name)
    split, full = SPLITS[name]
    store = foils.mine(data, FOUND + WINDOWS[window], split=split, encoders=models, out=folder / name / window)
    found, _ = opened(store, data)
    kept = found.negative  # samples of the negatives alone: what was dropped is not looked at here
    found = replace(
        found, through=(), steps=(),
        **{field: getattr(found, field)[kept] for field in ("rows", "fate", "source", "rank", "score", "difficulty")},
    )  # fmt: skip
    vars(found).pop("negative", None)
    truth = (Qrels(data, full, complete=True).judge(found.query, found.doc).verdict > 0).astype(float)
    strata = stratify(found, args.budget, 0)
    own = ScoreJudge(found.pairs).judge(found.query, found.doc).verdict
    cheap = {label: erring(truth, found, data, judge) for label, judge in CHEAP.items()}
    arms = {"direct": None, **cheap, "score:static": (own > 0).astype(float)}
    rate, rows = truth.mean(), {label: [] for label in arms}
    began = time.perf_counter()
    everything = np.ones(len(found), bool)
    for seed in range(args.runs):
        drawn = Drawn.of(found, strata, data, (args.budget, 0), seed)
        for label, said in arms.items():
            one = Judged(strata, drawn, truth[drawn.at], said, True, 0.95).rate(everything)[0]
            rows[label].append((one.value, one.low <= rate <= one.high, one.high - one.low))
    took = (time.perf_counter() - began) / args.runs
    head = f"{name} {window}: {len(found):,} negatives, {len(strata.listed)} strata, true rate {rate:.2%}"
    print(f"{head}; {1000 * took:.0f} ms a sample", flush=True)
    for label, listed in rows.items():
        value, hit, width = np.mean(listed, axis=0)
        print(f"| {name}, {window} | {rate:.2%} | {label} | {value:.2%} | {hit:.1%} | {width:.2%} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--arms", default=",".join(SPLITS))
    args = parser.parse_args()
    models = {"static": load_encoder("static")}
    print("| negatives | true rate | estimator | mean estimate | covers | width |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.arms.split(","):
            for window in WINDOWS:
                arm(name, window, args, models, Path(folder))


if __name__ == "__main__":
    main()
