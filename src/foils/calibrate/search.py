"""The loosest threshold that passes, for queries of one difficulty."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.calibrate.pipeline import Seen
from foils.core import draws, noise, risk
from foils.core.cutoffs import Group
from foils.core.draws import Draw
from foils.evaluate.significance import ratio

GRID = 60  # thresholds that are tried
_ROUNDS = 2_000  # of the bootstrap
_FINEST = 0.002  # share of the candidates that the loosest of them drops, but for the one that drops none

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Chance:
    """What is known of the draw of an audit.

    Attributes:
        draw: its strata and their parts.
        part: the part of each living row, int64 (n,); -1 for what was not audited.
        shares: whether labels are shares by their nature, as those of a consensus; of others any share counts whole.
    """

    draw: Draw
    part: NDArray[np.int64]
    shares: bool

    def log_p(self, found: Floats, counted: Floats, kept: Floats, target: float) -> Floats:
        """See `foils.core.draws.log_p`; ``kept`` has a first row for what is of no part."""
        return draws.log_p(found, None if self.shares else counted, kept[1:], kept[0], self.draw, target)


@dataclass(frozen=True, eq=False)
class Sample:
    """Queries of one difficulty with their labels.

    Attributes:
        seen: their candidates.
        relevance: of each living row, float64 (n,), 0 to 1.
        weight: of each living row, float64 (n,); 0 where there is no label.
        hardest: largest difficulty of the group.
        seed: of the order in which queries are looked at.
        most: largest weight that any query of the pool may keep, known without labels.
        chance: how the labels were drawn of these very candidates, where that is all that the test rests on.
    """

    seen: Seen
    relevance: Floats
    weight: Floats
    hardest: float
    seed: int
    most: float
    chance: Chance | None = None

    @cached_property
    def grid(self) -> Floats:
        """Thresholds from the strictest to none at all: quantiles of the closeness, ever finer towards the closest.

        They depend on scores, never on labels.
        """
        near = self.seen.near[self.seen.candidate & np.isfinite(self.seen.near)]
        shares = np.geomspace(_FINEST, 0.98, GRID)[::-1]
        inner = np.unique(np.quantile(near, 1 - shares)) if len(near) else np.zeros(0)
        return np.append(inner, np.inf)

    @cached_property
    def order(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The labelled queries in an order drawn by their ids, and for each living row its query's place, or -1."""
        query = self.seen.living.query
        labelled = np.unique(query[self.weight > 0])
        keys = self.seen.ctx.data.queries.keys[labelled]
        drawn = np.argsort(noise.bits(self.seed, "calibrate", keys, np.zeros(len(keys), np.uint64)), kind="stable")
        place = np.full(int(query.max(initial=0)) + 1, -1, np.int64)
        place[labelled[drawn]] = np.arange(len(labelled))
        return labelled[drawn], place[query]

    def sums(self, rows: NDArray[np.bool_], value: Floats | None = None) -> Floats:
        """Sum of weights over some living rows of each labelled query, or of weight times value, float64 (queries,)."""
        place, some = self.order[1], rows & (self.weight > 0)
        weight = self.weight if value is None else self.weight * value
        return np.bincount(place[some], weight[some], minlength=len(self.order[0])).astype(np.float64)

    @cached_property
    def _runs(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Under each threshold what is kept and what is false of it, how many of each part, and of labels not right."""
        columns, parts, wrong, none = [], [], [], np.zeros(len(self.seen.near), np.int64)
        part, most = (none, 1) if self.chance is None else (self.chance.part + 1, 2 + int(self.chance.draw.part.max()))
        for threshold in self.grid:
            rows = self.seen.kept(float(threshold))
            columns.append((self.sums(rows), self.sums(rows, self.relevance)))
            parts.append(np.bincount(part[rows], minlength=most))
            wrong.append(float((rows & (self.weight > 0) & (self.relevance > 0)).sum()))
        kept, false = (np.stack(part, axis=1) for part in zip(*columns, strict=True))
        return kept, false, np.stack(parts, axis=1).astype(np.float64), np.array(wrong)

    @property
    def outcomes(self) -> tuple[Floats, Floats]:
        """What is kept and what is false of it under each threshold, float64 (queries, thresholds) each."""
        return self._runs[:2]

    @cached_property
    def design(self) -> Floats:
        """What the sample may be expected to keep: by the scores of whole lists, whoever of them has a label."""
        queries, every = len(self.order[0]), max(1, int(self.seen.candidate.sum()))
        shares = self._runs[2].sum(axis=0) / every
        labelled = float(self.weight[self.seen.candidate].sum())
        mean = shares * labelled / max(1, queries)
        return risk.even(mean, queries, float(self.weight.max(initial=0.0)), self.most)

    @cached_property
    def hopes(self) -> Floats:
        """Logarithms of the p-values to be expected if nothing were false: what the sample could show at best."""
        return self._hopes(self.target)

    def _hopes(self, target: float) -> Floats:
        if self.chance is not None:
            none = np.zeros(len(self.grid))
            return self.chance.log_p(none, none, self._runs[2], target)
        return self._log_p(self.design, np.zeros_like(self.design), target)

    def _log_p(self, kept: Floats, false: Floats, target: float) -> Floats:
        return risk.log_p(kept, false, target, self.most, self.seen.cut.stage.test, float(self.weight.max(initial=0.0)))

    @property
    def target(self) -> float:
        """The rate to stay below."""
        return self.seen.cut.stage.target

    @property
    def level(self) -> float:
        """The probability to do so."""
        return self.seen.cut.stage.level

    @property
    def able(self) -> bool:
        """Whether the sample could pass at all; depends neither on what the labels say nor on whose they are."""
        return bool(self.hopes.min(initial=0.0) <= math.log(1 - self.level))

    @cached_property
    def chosen(self) -> int | None:
        """The place of the loosest threshold that passes, or None."""
        passed = self.passed(self.target)
        return int(np.flatnonzero(passed)[-1]) if passed.any() else None

    def passed(self, target: float) -> NDArray[np.bool_]:
        """Which thresholds pass for a target."""
        kept, false = self.outcomes
        if self.chance is not None:
            hopes = self._hopes(target)
            starts = risk.sequences(float(hopes.min(initial=0.0)), self.level)
            logs = self.chance.log_p(false.sum(axis=0), self._runs[3], self._runs[2], target)
            return risk.passing(logs, hopes, self.level, starts)
        starts = risk.starts_of(self.design, target, self.level, self.most)
        return risk.passing(self._log_p(kept, false, target), self._hopes(target), self.level, starts)

    @property
    def unaudited(self) -> Floats:
        """Share of what each threshold keeps that the audit could not have drawn, (thresholds,)."""
        if self.chance is None:
            return np.zeros(len(self.grid))
        counts = self._runs[2]
        share: Floats = counts[0] / np.maximum(counts.sum(axis=0), 1)
        return share

    def lowest_target(self) -> float | None:
        """The lowest target, in whole per cent, for which a threshold passes; None if none does up to half."""
        return next((share / 100 for share in range(1, 51) if self.passed(share / 100).any()), None)

    def group(self) -> Group:
        """The result; a group without a threshold that passes keeps nothing."""
        place = self.chosen
        threshold = -math.inf if place is None else float(self.grid[place])
        return Group(self.hardest, threshold, self.report(place))

    def report(self, place: int | None) -> dict[str, Any]:
        """What the sample says of a threshold: rates before and after, and what is lost."""
        kept, false = self.outcomes
        candidate, near = self.seen.candidate, self.seen.near
        threshold = -math.inf if place is None else float(self.grid[place])
        out = candidate & ~self.seen.cut.stage.below(near, threshold)
        right, level = 1 - self.relevance, self.level
        final = np.zeros(len(near), bool) if place is None else self.seen.kept(threshold)
        per_query = np.bincount(
            np.searchsorted(self.seen.ctx.block, self.seen.living.query[final]), minlength=len(self.seen.ctx.block)
        )
        quota = self.seen.cut.quota
        return {
            "queries": len(self.order[0]),
            "labels": int((self.weight[candidate] > 0).sum()),
            "false": float(self.relevance[candidate & (self.weight > 0)].sum()),
            "passes": place is not None,
            "before": ratio(false[:, -1], kept[:, -1], level=level, rounds=_ROUNDS).facts(),
            "after": None
            if place is None
            else ratio(false[:, place], kept[:, place], level=level, rounds=_ROUNDS).facts(),
            "kept": float((candidate & ~out).sum() / max(1, candidate.sum())),
            "lost": ratio(self.sums(out, right), self.sums(candidate, right), level=level, rounds=_ROUNDS).facts(),
            "found": ratio(
                self.sums(out, self.relevance), self.sums(candidate, self.relevance), level=level, rounds=_ROUNDS
            ).facts(),
            "starved": None if quota is None else int((per_query < quota).sum()),
        }
