"""What a pipeline did, counted from the parts themselves, so that a continued run and an uninterrupted one agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from foils.core.pairs import CANDIDATE, POSITIVE, SET_ASIDE
from foils.filling import steps_of
from foils.parts import SCORE
from foils.stages.readers import Sampler
from foils.stages.shortfall import TAGS, Ensure, wanted
from foils.stages.stage import Columns, Stage
from foils.staging import Staging


def summary(staging: Staging, pipeline: Stage, columns: Columns, queries: int) -> dict[str, Any]:
    """Counts of steps and queries, for the manifest.

    Args:
        staging: all parts.
        pipeline: what made them.
        columns: the score columns it leaves.
        queries: how many were mined for; those that no part mentions keep 0.
    """
    tally: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    starved: Counter[str] = Counter()
    filled: Counter[int] = Counter()
    kept_per_query: Counter[int] = Counter()
    quota = wanted(pipeline)
    policies = _policies(pipeline)
    enough = _enough(pipeline, quota or 1)
    crossing = {n: SCORE + s.encoders()[0] for n, s in enumerate(pipeline.steps(), start=1) if s.crosses}
    scored: Counter[str] = Counter()
    for table in staging.tables(["query", "label", "source", "dropped", *dict.fromkeys(crossing.values())]):
        part = _Part.of(table)
        scored.update({name: len(table) - table[name].null_count for name in crossing.values()})
        tally.update(part.tally())
        kept_per_query.update(part.kept.tolist())
        for code, reason in enumerate(part.reasons):
            rows = part.reason == code
            dropped[reason] += int(rows.sum())
            hit = np.bincount(part.query[rows], minlength=len(part.kept)) > 0
            starved[reason] += int((hit & (part.kept < enough[reason])).sum())
        for number, tag in policies.items():
            filled[number] += part.filled(tag, quota or 1)
    kept_per_query[0] += queries - kept_per_query.total()
    short = sum(times for number, times in kept_per_query.items() if number < (quota or 1))
    counts = {
        **tally,
        "queries": queries,
        "kept": sum(number * times for number, times in kept_per_query.items()),
        "wanted_per_query": quota,
        "kept_per_query": {str(number): kept_per_query[number] for number in sorted(kept_per_query)},
    }
    steps = [{**vars(s), "dropped": dropped[s.reason], "starved": starved[s.reason]} for s in steps_of(pipeline)]
    for number, name in crossing.items():
        steps[number - 1]["scored"] = scored[name]
    for number in policies:
        steps[number - 1].update(filled=filled[number], short=short)
    return {"steps": steps, "counts": counts, "latest": columns.latest, "columns": list(columns.names)}


def _enough(pipeline: Stage, quota: int) -> dict[str, int]:
    """For each step, by the reason it gives, how many negatives a query must have not to be starved by it.

    A sampler in a branch of a pool owes the query no more than its own k.
    """
    both = zip(steps_of(pipeline), pipeline.steps(), strict=True)
    return {step.reason: min(quota, stage.k) if isinstance(stage, Sampler) else quota for step, stage in both}


def _policies(pipeline: Stage) -> dict[int, str]:
    """Number and tag of the steps that fill up short lists."""
    steps = enumerate(pipeline.steps(), start=1)
    return {n: TAGS[step.short] for n, step in steps if isinstance(step, Ensure) and step.short in TAGS}


@dataclass(frozen=True)
class _Part:
    """What the summary needs of a part: arrays of small codes, no strings."""

    query: NDArray[np.int32]
    label: NDArray[np.int8]
    known: NDArray[np.bool_]
    source: NDArray[np.int32]
    sources: list[list[str]]
    reason: NDArray[np.int32]
    reasons: list[str]
    kept: NDArray[np.int64]

    @classmethod
    def of(cls, table: pa.Table) -> _Part:
        query, source, dropped = (table[name].combine_chunks() for name in ("query", "source", "dropped"))
        label = table["label"].to_numpy()
        reason = dropped.indices.fill_null(-1).to_numpy()
        number = query.indices.to_numpy()
        sources = [text.split("+") for text in source.dictionary.to_pylist()]
        from_qrels = np.array([names[0] == "qrels" for names in sources] or [False])
        kept = np.bincount(number[(label == 0) & (reason < 0)], minlength=len(query.dictionary))
        origin = source.indices.to_numpy()
        reasons = dropped.dictionary.to_pylist()
        return cls(number, label, from_qrels[origin], origin, sources, reason, reasons, kept)

    def tally(self) -> dict[str, int]:
        positive = self.label == POSITIVE
        return {
            "positives": int((positive & self.known).sum()),
            "promoted": int((positive & ~self.known).sum()),
            "set_aside": int((self.label == SET_ASIDE).sum()),
            "candidates": int((self.label == CANDIDATE).sum()),
        }

    def filled(self, tag: str, quota: int) -> int:
        """Queries that have enough negatives, some of them from the source ``tag``."""
        tagged = np.array([tag in names for names in self.sources] or [False])[self.source]
        rows = tagged & (self.label == CANDIDATE) & (self.reason < 0)
        touched = np.bincount(self.query[rows], minlength=len(self.kept)) > 0
        return int((touched & (self.kept >= quota)).sum())
