"""How often each candidate is drawn: exactly, for a process told step by step, and over many keys and seeds."""

from __future__ import annotations

import math

import numpy as np

from foils.core.pairs import Pairs


def frequencies(sampler, context, label, columns, ranks=None, rounds=150):
    """Share of (query, seed) in which each of a list's rows is kept, the same list for every query; and its error."""
    queries, size = context().rows, len(label)
    pairs = Pairs.build(
        np.repeat(queries, size),
        np.tile(np.arange(size), len(queries)),
        np.tile(label, len(queries)),
        scores={name: np.tile(values, len(queries)) for name, values in columns.items()},
        ranks={name: np.tile(values, len(queries)) for name, values in (ranks or {}).items()},
    )
    counts = np.zeros(size)
    for seed in range(rounds):
        out = sampler.run(pairs, context(seed), 1)
        counts += np.bincount(out.doc[(out.dropped == 0) & (out.label == 0)], minlength=size)
    return counts / (rounds * len(queries)), math.sqrt(0.25 / (rounds * len(queries)))


def inclusion(step, size, k):
    """Probability that each of ``size`` items is among k draws; ``step(left)`` gives each one's share of the next."""
    total = np.zeros(size)

    def go(left, chance, drawn):
        if drawn == k or not left:
            return
        for item, share in step(left).items():
            total[item] += chance * share
            go(left - {item}, chance * share, drawn + 1)

    go(frozenset(range(size)), 1.0, 0)
    return total
