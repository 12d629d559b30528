"""What a study found, put together from what its processes left: the record that ``study.json`` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foils.core.errors import StoreError
from foils.study import effects, rates
from foils.study.advice import sentences
from foils.study.arms import START
from foils.study.pareto import front
from foils.study.running import read_result
from foils.study.tasks import VALUES

KIND, VERSION = "foils study", 1
_SECONDS = ("mine", "train", "teach", "shared")
_WORK = ("calls", "queries", "documents", "pairs")


@dataclass(frozen=True)
class Result:
    """One training, or the start model, as it was measured.

    Attributes:
        report: what ``result.json`` says.
        values: measure -> one value per query.
        queries: ids of these queries.
        rate: relevant and all negatives of each training query, or None.
    """

    report: Mapping[str, Any]
    values: Mapping[str, Any]
    queries: tuple[str, ...]
    rate: Any


def read(place: Path) -> Result:
    """The result in a folder.

    Raises:
        StoreError: it is not there, or somebody removed a part of it.
    """
    report = read_result(place)
    if report is None or not (place / VALUES).exists():
        raise StoreError(f"{place}: no result here. Remove the folder; the same command then makes it again.")
    with np.load(place / VALUES) as arrays:
        prefix = "measure:"
        values = {name.removeprefix(prefix): arrays[name] for name in arrays.files if name.startswith(prefix)}
        rate = arrays["rate"] if "rate" in arrays.files else None
        return Result(report, values, tuple(arrays["queries"].tolist()), rate)


def record_of(
    plan: Mapping[str, Any],
    results: Mapping[str, Mapping[int, Result]],
    failed: Mapping[str, str],
    rounds: int,
    estimates: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Everything about a study as plain values.

    Args:
        plan: what was asked for: settings, arms, pools, baseline.
        results: arm -> seed -> what it achieved; the start model first.
        failed: arm -> why it could not be finished.
        rounds: of resampling.
        estimates: arm -> its false-negative rate as judges estimate it, or ``why`` there is none.

    Raises:
        StoreError: results of unlike queries.
    """
    asked = next(iter(results[START].values())).queries
    for name, by_seed in results.items():
        if any(result.queries != asked for result in by_seed.values()):
            raise StoreError(f"arm {name!r} was measured on other queries. Remove its folder; it is then made again.")
    settings, baseline = plan["settings"], str(plan["baseline"])
    measures = list(settings["measures"])
    values = {name: {seed: result.values for seed, result in runs.items()} for name, runs in results.items()}
    found = effects.scores(values, measures, rounds=rounds)
    pairs: dict[tuple[str, str], Any] = {}
    for family in effects.families(list(results), baseline, every=plan["pairs"] == "all"):
        pairs |= effects.versus(values, measures, family, rounds=rounds)
    arms = [_arm(name, plan, runs, found[name], pairs, rounds) for name, runs in results.items()]
    for arm in arms:
        if arm["rate"]["kind"] == "none":
            arm["rate"] |= (estimates or {}).get(arm["name"], {})
    costs = {arm["name"]: arm["seconds"]["total"] for arm in arms}
    reached = {arm["name"]: arm["scores"][plan["main"]]["value"] for arm in arms}
    record = {
        "kind": KIND,
        "version": VERSION,
        "data": settings["data"],
        "collection": settings["collection"],
        "model": settings["model"],
        **{key: settings[key] for key in ("split", "test", "labels", "steps", "training_queries")},
        "queries": len(asked),
        "measures": measures,
        "main": plan["main"],
        "pairs": plan["pairs"],
        "baseline": baseline,
        "arms": arms,
        "shared": _shared(plan, arms),
        "pareto": front(costs, reached),
        "failed": dict(failed),
    }
    return {**record, "advice": sentences(record)}


def _arm(
    name: str,
    plan: Mapping[str, Any],
    runs: Mapping[int, Result],
    scores: Mapping[str, Any],
    pairs: Mapping[tuple[str, str], Any],
    rounds: int,
) -> dict[str, Any]:
    reports = [result.report for result in runs.values()]
    # What was kept before results told of pools is charged with the one that the plan names.
    named = next((pool for pool in plan["pools"] if name in pool["arms"]), {"name": None, "seconds": 0.0})
    spent = [{"shared": named["seconds"], **report["seconds"]} for report in reports]
    pools = [report.get("pool", named["name"]) for report in reports]
    seconds = {key: _mean([each[key] for each in spent]) for key in _SECONDS}
    seconds["total"] = sum(seconds.values())
    work = {key: round(_mean([report["work"][key] for report in reports])) for key in _WORK}
    memory = [report["memory_mb"] for report in reports if report["memory_mb"] is not None]
    counted = [result.rate for result in runs.values() if result.rate is not None]
    mined = [report["negatives"] for report in reports if report.get("negatives") is not None]
    return {
        "name": name,
        "recipe": plan["arms"].get(name, {}).get("recipe"),
        "encoders": plan["arms"].get(name, {}).get("encoders", {}),
        "seeds": list(runs),
        "scores": scores,
        "versus": {other: values for (first, other), values in pairs.items() if first == name},
        "seconds": {key: round(value, 2) for key, value in seconds.items()},
        "steps": max((report["steps"] for report in reports), default=0) if name != START else 0,
        "memory_mb": max(memory) if memory else None,
        "encoded": work["queries"] + work["documents"],
        "work": work,
        "pool": next(filter(None, pools), None),
        "negatives": round(_mean(mined)) if mined else None,
        "rate": rates.rate(counted, rounds=rounds),
    }


def _shared(plan: Mapping[str, Any], arms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    took = {arm["name"]: arm["pool"] for arm in arms}
    return [{**pool, "arms": [name for name in took if took[name] == pool["name"]]} for pool in plan["pools"]]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
