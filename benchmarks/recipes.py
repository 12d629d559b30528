"""Every recipe that mines, on one collection: how long it takes, what it keeps, how many of its negatives are false.

    python benchmarks/recipes.py DATA [--split train] [--labels SPLIT] [--encoder static] [--json FILE]

Negatives are mined for the queries of ``--split``. ``--labels`` names a split with fuller judgements of the same
queries (``train_sparse`` shows one positive a query, ``train`` all of them); the share of negatives that it calls
relevant is the true false-negative rate, with a bootstrap interval over queries. Vectors are encoded before the clock
starts. Where there is no split dev, which rance needs, a twentieth of the queries takes its place.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from foils import load
from foils.adapters.models import load_encoder
from foils.core.errors import FoilsError
from foils.mine import Miner
from foils.recipe import load_recipe, shipped
from foils.stages import Context


def interval(wrong, total, rounds=2000):
    """Bootstrap over queries: the rate's 95 % interval."""
    draws = np.random.default_rng(0).integers(0, len(total), (rounds, len(total)))
    rates = wrong[draws].sum(axis=1) / np.maximum(total[draws].sum(axis=1), 1)
    return np.percentile(rates, [2.5, 97.5])


def measured(store, data, labels):
    kept = store.kept(data)
    negatives = kept.take(kept.label == 0)
    per_query = np.bincount(np.searchsorted(data.query_rows(store.manifest["split"]), negatives.query))
    row = {"negatives": len(negatives), "per_query": len(negatives) / max(1, store.manifest["counts"]["queries"])}
    wanted = store.manifest["counts"]["wanted_per_query"]
    held = {int(n): times for n, times in store.manifest["counts"]["kept_per_query"].items()}
    row["short"] = None if not wanted else sum(t for n, t in held.items() if n < wanted) / sum(held.values())
    if labels:
        false = data.positives(labels).find(negatives) >= 0
        owner = np.searchsorted(data.query_rows(store.manifest["split"]), negatives.query)
        wrong = np.bincount(owner[false], minlength=len(per_query))
        low, high = interval(wrong[per_query > 0], per_query[per_query > 0])
        row |= {"false": float(false.mean()), "low": float(low), "high": float(high)}
    return row


def others(data, args):
    return {args.labels: (args.labels, data.query_rows(args.labels))} if args.labels else {}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--split", default="train")
    parser.add_argument("--labels", default=None)
    parser.add_argument("--encoder", default="static")
    parser.add_argument("--recipe", action="append")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    data, encoder = load(args.data), load_encoder(args.encoder)
    if "dev" not in data.splits:
        stay, held = data.holdout(args.split, 0.05)
        data = data.subset({args.split: (args.split, stay), "dev": (args.split, held), **others(data, args)})
    recipes = [recipe for recipe in map(load_recipe, args.recipe or shipped()) if recipe.mine is not None]
    cache = Miner().cache
    rows = data.query_rows(args.split)
    from foils.core.cache import cache_root

    warm = Context(data, args.split, 0, rows, rows, {"m": encoder}, cache_root(cache))
    for kind in ("query", "document"):
        warm.vectors("m", kind)
    head = "| recipe | seconds | negatives a query | short lists |" + (" false negatives, % |" if args.labels else "")
    print(head + "\n|" + "---|" * (head.count("|") - 1))
    found = []
    for recipe in recipes:
        with tempfile.TemporaryDirectory() as folder:
            models = dict.fromkeys(recipe.mine.encoders(), encoder)
            start = time.perf_counter()
            try:
                store = Miner(leaks="keep").mine(
                    data, recipe.mine, split=args.split, seed=0, encoders=models, out=Path(folder) / "negatives"
                )
            except FoilsError as error:
                print(f"| {recipe.name} | refused: {str(error).splitlines()[0][:110]} |", flush=True)
                continue
            row = {"recipe": recipe.name, "seconds": time.perf_counter() - start, **measured(store, data, args.labels)}
        found.append(row)
        short = "-" if row["short"] is None else f"{row['short']:.1%}"
        line = f"| {recipe.name} | {row['seconds']:.1f} | {row['per_query']:.2f} | {short} |"
        if args.labels:
            line += f" {100 * row['false']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}] |"
        print(line, flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
