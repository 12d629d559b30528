"""What the arms of a study achieved and how they differ, over queries and training seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.evaluate.significance import OverSeeds, all_over_seeds, holm
from foils.study.arms import START

Values = Mapping[int, Mapping[str, NDArray[np.float64]]]
"""Of an arm: seed -> measure -> one value per query."""


def scores(arms: Mapping[str, Values], measures: Sequence[str], *, rounds: int) -> dict[str, dict[str, Any]]:
    """Mean of each arm and measure with its interval, and the means of its seeds.

    Returns:
        Arm -> measure -> ``value``, ``low``, ``high``, ``per_seed``.
    """
    tables = {(arm, m): _table(values, m, sorted(values)) for arm, values in arms.items() for m in measures}
    found = dict(zip(tables, all_over_seeds(list(tables.values()), rounds=rounds), strict=True))
    return {
        arm: {
            m: {
                "value": found[arm, m].mean,
                "low": found[arm, m].interval.low,
                "high": found[arm, m].interval.high,
                "per_seed": tables[arm, m].mean(axis=1).tolist(),
            }
            for m in measures
        }
        for arm in arms
    }


def versus(
    arms: Mapping[str, Values], measures: Sequence[str], pairs: Sequence[tuple[str, str]], *, rounds: int
) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Differences of pairs of arms, paired by query and seed, with p-values corrected together (Holm) by measure.

    The start model is compared with every seed of the other; of two that were trained, the seeds that both have count.

    Args:
        arms: values of each arm, all over the same queries.
        measures: their names.
        pairs: of which the second is subtracted from the first; one family for the correction.
        rounds: of resampling.

    Returns:
        Pair -> measure -> ``difference``, ``low``, ``high``, ``p``, ``holm``, ``detectable``; pairs without a common
        seed are left out.
    """
    differences = {(pair, m): _difference(arms, pair, m) for pair in pairs for m in measures}
    tables = {key: table for key, table in differences.items() if table is not None}
    found = dict(zip(tables, all_over_seeds(list(tables.values()), rounds=rounds), strict=True))
    told = [pair for pair in pairs if (pair, measures[0]) in tables]
    corrected = {m: dict(zip(told, holm([found[pair, m].p for pair in told]), strict=True)) for m in measures}
    return {pair: {m: _told(found[pair, m], float(corrected[m][pair])) for m in measures} for pair in told}


def families(names: Sequence[str], baseline: str, *, every: bool) -> list[list[tuple[str, str]]]:
    """The pairs that are corrected together: all arms with the baseline, all others with the start model; or, instead
    of both, every two.
    """
    if every:
        return [[(b, a) for a, b in combinations(names, 2)]]
    to_baseline = [(name, baseline) for name in names if name != baseline]
    to_start = [(name, START) for name in names if name != START]
    return [to_baseline, to_start] if baseline != START else [to_baseline]


def _difference(arms: Mapping[str, Values], pair: tuple[str, str], measure: str) -> NDArray[np.float64] | None:
    # What was not trained has no seed of its own: it is compared with every one of the other.
    trained = [sorted(arms[name]) for name in pair if name != START] or [sorted(arms[START])]
    seeds = sorted(set(trained[0]).intersection(*trained))
    if not seeds:
        return None
    first, second = (_table(arms[name], measure, [0] * len(seeds) if name == START else seeds) for name in pair)
    return first - second


def _table(values: Values, measure: str, seeds: Sequence[int]) -> NDArray[np.float64]:
    return np.stack([values[seed][measure] for seed in seeds])


def _told(found: OverSeeds, corrected: float) -> dict[str, Any]:
    detectable = found.detectable if np.isfinite(found.detectable) else None
    ends = {"low": found.interval.low, "high": found.interval.high}
    return {"difference": found.mean, **ends, "p": found.p, "holm": corrected, "detectable": detectable}
