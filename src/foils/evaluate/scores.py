"""`Scores`: what one system achieved on one split, query by query; and `compare`, two systems on the same queries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from foils.core.atomic import replacing
from foils.core.collection import Collection
from foils.core.errors import SpecError
from foils.core.pairs import Pairs
from foils.evaluate import ranking as rankings
from foils.evaluate.significance import Interval, SignFlip, detectable, holm, intervals, sign_flip

ALPHA = 0.05
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """One measure of one system against the baseline, over the same queries.

    Attributes:
        baseline: name of the baseline.
        difference: mean of system minus baseline.
        interval: bootstrap interval of that mean.
        p: two-sided, paired sign-flip test.
        p_holm: p corrected for the number of systems compared with this baseline.
        test: whether sign patterns were all counted or drawn, and how many.
        wins: queries on which the system is better.
        losses: queries on which it is worse; the rest are equal.
        detectable: true difference that one test, uncorrected, would find in 80 % of such samples; corrected for
            several systems it takes more.
    """

    baseline: str
    difference: float
    interval: Interval
    p: float
    p_holm: float
    test: str
    wins: int
    losses: int
    detectable: float

    @property
    def verdict(self) -> Literal["better", "worse", "unclear"]:
        """``unclear``: not distinguishable from the baseline at a corrected p below .05."""
        return verdict(self.difference, self.p_holm)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "baseline": self.baseline,
            "difference": finite(self.difference),
            "low": finite(self.interval.low),
            "high": finite(self.interval.high),
            "p": finite(self.p),
            "p_holm": finite(self.p_holm),
            "test": self.test,
            "wins": self.wins,
            "losses": self.losses,
            "detectable": finite(self.detectable),
            "verdict": self.verdict,
        }


@dataclass(frozen=True, eq=False)
class Scores:
    """What one system achieved on one split.

    Attributes:
        system: its name.
        data: the collection.
        split: the qrels that were used.
        queries: rows of the queries measured, int32 (n,), ascending.
        per_query: measure -> float64 (n,), aligned with ``queries``.
        intervals: measure -> bootstrap interval of its mean.
        ranking: what was measured, with score and rank column ``run``.
        excluded: queries of the split that have judgements but no positive; they are in no mean.
        unanswered: queries measured for which the system returned nothing; they count as 0.
        versus: measure -> comparison with the baseline; empty without one.
    """

    system: str
    data: Collection = field(repr=False)
    split: str
    queries: NDArray[np.int32] = field(repr=False)
    per_query: Mapping[str, Floats] = field(repr=False)
    intervals: Mapping[str, Interval]
    ranking: Pairs = field(repr=False)
    excluded: int
    unanswered: int
    versus: Mapping[str, Comparison] = field(default_factory=dict)

    @property
    def query_ids(self) -> list[str]:
        """External ids of ``queries``."""
        return self.data.queries.id_list(self.queries)

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures."""
        return tuple(self.per_query)

    def mean(self, measure: str) -> float:
        """Mean of a measure over the queries."""
        return float(self.per_query[measure].mean())

    def write(self, path: str | Path) -> Path:
        """Write the values per query, columns ``query_id`` and one per measure, as Parquet or TSV by the suffix.

        Raises:
            SpecError: another suffix than .parquet, .tsv or .txt.
        """
        path = Path(path)
        table = pa.table({"query_id": pa.array(self.query_ids, pa.string()), **self.per_query})
        if path.suffix not in (".parquet", ".tsv", ".txt"):
            raise SpecError(f"{path}: values per query are written as .parquet or .tsv, not {path.suffix!r}.")
        with replacing(path) as partial:
            if path.suffix == ".parquet":
                import pyarrow.parquet as pq

                pq.write_table(table, partial)
            else:
                rows = zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True)
                lines = ["\t".join(map(str, row)) + "\n" for row in (table.column_names, *rows)]
                partial.write_text("".join(lines), encoding="utf-8")
        return path

    def write_run(self, path: str | Path) -> Path:
        """Write the ranking as a TREC run file; see `foils.evaluate.ranking.write_run`."""
        rankings.write_run(self.ranking, self.data, Path(path), tag=self.system)
        return Path(path)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: means, intervals and comparisons; no values per query (see `write`)."""
        measures = {
            name: {
                "mean": finite(self.mean(name)),
                "low": finite(self.intervals[name].low),
                "high": finite(self.intervals[name].high),
                "versus": self.versus[name].to_dict() if name in self.versus else None,
            }
            for name in self.measures
        }
        return {
            "system": self.system,
            "collection": self.data.name,
            "split": self.split,
            "queries": len(self.queries),
            "excluded": self.excluded,
            "unanswered": self.unanswered,
            "measures": measures,
        }


def compare(
    systems: Mapping[str, Mapping[str, Floats]], baseline: str, *, rounds: int, seed: int = 0
) -> dict[str, dict[str, Comparison]]:
    """Compare systems with a baseline, measure by measure, over the same queries.

    The p-values of one measure are corrected by Holm for the number of systems. Measures are not corrected for one
    another: choose the one that decides before looking.

    Args:
        systems: name -> measure -> values per query, all aligned.
        baseline: one of the names.
        rounds: of the sign-flip test and of the bootstrap.
        seed: of both.

    Returns:
        Name -> measure -> comparison, for every system but the baseline.
    """
    others = [name for name in systems if name != baseline]
    measures = list(systems[baseline])
    differences = {(name, m): systems[name][m] - systems[baseline][m] for name in others for m in measures}
    tests = {key: sign_flip(values, rounds=rounds, seed=seed) for key, values in differences.items()}
    spans = dict(zip(differences, _intervals(list(differences.values()), rounds, seed), strict=True))
    corrected = {m: dict(zip(others, holm([tests[name, m].p for name in others]), strict=True)) for m in measures}
    return {
        name: {
            m: Comparison(
                baseline=baseline,
                difference=float(differences[name, m].mean()),
                interval=spans[name, m],
                p=tests[name, m].p,
                p_holm=float(corrected[m][name]),
                test=_said(tests[name, m]),
                wins=int((differences[name, m] > 0).sum()),
                losses=int((differences[name, m] < 0).sum()),
                detectable=detectable(differences[name, m]),
            )
            for m in measures
        }
        for name in others
    }


def mean_intervals(
    systems: Mapping[str, Mapping[str, Floats]], *, rounds: int, seed: int = 0
) -> dict[str, dict[str, Interval]]:
    """Bootstrap interval of every mean: name -> measure -> interval; all share the same resamples of the queries."""
    columns = [values for measured in systems.values() for values in measured.values()]
    spans = iter(_intervals(columns, rounds, seed))
    return {name: {measure: next(spans) for measure in measured} for name, measured in systems.items()}


def verdict(difference: float, p: float) -> Literal["better", "worse", "unclear"]:
    """What a difference says at a corrected p: ``unclear`` unless it is below .05."""
    if not p < ALPHA:
        return "unclear"
    return "better" if difference > 0 else "worse"


def finite(value: float) -> float | None:
    """A float that JSON can hold: None for NaN and infinities."""
    return value if math.isfinite(value) else None


def _said(test: SignFlip) -> str:
    return f"sign flips, {test.rounds:,} {'drawn' if test.method == 'sampled' else 'patterns, all counted'}"


def _intervals(columns: Sequence[Floats], rounds: int, seed: int) -> list[Interval]:
    return intervals(np.stack(columns, axis=1), rounds=rounds, seed=seed) if columns else []
