"""`calibrate`: find the thresholds of a `Calibrated` stage on labelled candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.calibration import expected_calibration_error, fit, sigmoid
from foils.adapters.protocols import Encoder, Reranker
from foils.calibrate.coverage import unreached
from foils.calibrate.labels import Drawn, Labels, labels_of
from foils.calibrate.pipeline import Cut, Seen
from foils.calibrate.search import Chance, Sample
from foils.core import risk, segments
from foils.core.cache import cache_root
from foils.core.collection import Collection
from foils.core.cutoffs import Cutoffs
from foils.core.errors import DataError
from foils.core.pairs import CANDIDATE, Pairs
from foils.core.spec import parse
from foils.stages.context import Context
from foils.stages.stage import Stage
from foils.store import Negatives

Models = Mapping[str, Encoder | Reranker]


def calibrate(
    negatives: Negatives | str | Path,
    pipeline: Stage | str,
    labels: Labels | str | Path,
    *,
    data: Collection | None = None,
    encoders: Models | None = None,
    seed: int = 0,
) -> Cutoffs:
    """Find the loosest thresholds that keep the false-negative rate below the target, and save them.

    The pipeline is the one to mine with afterwards. Its stages before and after `Calibrated` are run as they are, over
    all candidates of ``negatives`` (those dropped then take part again), once for each of 61 thresholds; sources in it
    give way to those candidates. See `foils.core.risk` for the test and `Calibrated` for what is promised.

    Args:
        negatives: candidates with the scores that the stage reads, mined from ``data``.
        pipeline: with exactly one `Calibrated` in its chain, whose file is written.
        labels: see `labels_of`: ``qrels:SPLIT``, or the folder or the filled-in sheet of an audit. Labels of documents
            that are no candidates here, or known positives, do not count.
        data: the collection; found in the cache if left out.
        encoders: models that stages of the pipeline score with.
        seed: of the order in which queries are looked at, the only thing that is drawn.

    Returns:
        What was written: for each group of queries its threshold, and with 95 % bootstrap intervals over queries the
        rate before and after, and the share of the true negatives that is lost.

    Raises:
        PipelineError: the pipeline cannot be calibrated.
        DataError: no label fits a candidate; the sample is too small for the target; no threshold meets it; or
            what is kept is in part of a kind that no label is of.
    """
    store = negatives if isinstance(negatives, Negatives) else Negatives.open(negatives)
    cut = Cut.of(parse(pipeline) if isinstance(pipeline, str) else pipeline, store.path)
    collection = data or store.collection()
    given = labels if isinstance(labels, Labels) else labels_of(labels, collection)
    if cut.stage.test == "drawn" and given.drawn is None:
        raise DataError(
            f"{given.name}: test='drawn' rests on how labels were drawn, which is not known of these.",
            remedy="Give the folder of an audit, whose sample.parquet says it, or pass another test.",
        )
    seen, origin = _seen(store, cut, collection, encoders or {}, given, seed)
    relevance, weight = given.on(seen.living)
    weight = np.where(seen.candidate, weight, 0.0)
    if not (weight > 0).any():
        raise DataError(
            f"{given.name}: none of the labels is of a candidate of {store.path} that comes to {cut.stage!r}.",
            remedy="Label candidates of these negatives: foils audit draws them.",
        )
    pool = store.pairs(collection)
    most = float(given.weight.max()) * _longest(cut, pool)
    chance = None
    if cut.stage.test == "drawn" and given.drawn is not None:
        chance, weight = _chance(seen, given, given.drawn, pool, weight)
    samples = grouped(seen, relevance, weight, most, seed, chance)
    _refuse(samples, given)
    if not given.complete:
        _reached(seen, samples, given, weight > 0, pool)
    odds, fitted = _odds(seen, relevance, weight)
    groups = tuple(sample.group() for sample in samples)
    report = {
        "pipeline": str(pipeline) if isinstance(pipeline, str) else repr(pipeline),
        "negatives": {"pipeline": store.pipeline, "split": seen.ctx.split},
        "data": collection.fingerprint,
        "labels": {"name": given.name, "complete": given.complete, "judge": dict(given.judge)},
        "asked": cut.stage.groups,
        "seed": seed,
        **fitted,
    }
    found = Cutoffs(cut.stage.settings(), origin, groups, odds, report)
    found.write(Path(cut.stage.path))
    return found


def _seen(
    store: Negatives, cut: Cut, data: Collection, encoders: Models, labels: Labels, seed: int
) -> tuple[Seen, str]:
    """The candidates of the labelled queries, or of all where the draw is what is tested; and what made the scores."""
    split = store.manifest["split"]
    rows = data.query_rows(split)
    block = np.intersect1d(rows, labels.query).astype(np.int32)
    if not len(block):
        raise DataError(
            f"{labels.name}: none of its {len(np.unique(labels.query)):,} queries has a positive in split {split!r}.",
            remedy=f"The labels must be of the queries that were mined for, those of {split!r}.",
        )
    if cut.stage.test == "drawn":
        block = rows
    ctx = Context(data, split, seed, rows, block, encoders, cache_root(None))
    columns = cut.checked(ctx)
    name = columns.latest if cut.stage.by == "score" else cut.stage.by
    return Seen.of(cut, ctx), columns.origins.get(str(name), "")


def _longest(cut: Cut, pool: Pairs) -> int:
    """How many candidates any query may keep: what the sampler takes, else the longest list of the pool.

    Neither depends on which queries are labelled. The longest list of the pool bounds every threshold's.
    """
    if cut.cap is not None:
        return cut.cap
    return int(segments.count(pool.label == CANDIDATE, pool.starts).max(initial=1))


def _chance(
    seen: Seen, labels: Labels, drawn: Drawn, pool: Pairs, weight: NDArray[np.float64]
) -> tuple[Chance, NDArray[np.float64]]:
    """What the draw says of the living rows, and their weights: 0 for labels that were not drawn.

    Raises:
        DataError: the audit was of other candidates.
    """
    step = np.abs(pool.dropped[pool.label == CANDIDATE].astype(np.int64))
    there = np.array([(step == one).sum() for one in drawn.steps])
    audited = np.bincount(drawn.draw.part, drawn.draw.size, minlength=len(drawn.steps)).astype(np.int64)
    if (there != audited).any():
        raise DataError(
            f"{labels.name}: the audit drew from {audited.sum():,} candidates, and here are {there.sum():,} of their "
            "kind: it was of others, and test='drawn' promises nothing of these.",
            remedy="Audit the candidates that are calibrated, or pass another test.",
        )
    at = pool.find(seen.living)
    fate = np.where(at >= 0, np.abs(pool.dropped[np.maximum(at, 0)].astype(np.int64)), -1)
    place = np.minimum(np.searchsorted(drawn.steps, fate), len(drawn.steps) - 1)
    part = np.where(np.array(drawn.steps)[place] == fate, place, -1)
    own = Pairs.build(labels.query, labels.doc).find(seen.living)
    chance = Chance(drawn.draw, part, labels.judge.get("kind") == "consensus")
    return chance, np.where((own >= 0) & (drawn.stratum[own] >= 0), weight, 0.0)


def grouped(
    seen: Seen,
    relevance: NDArray[np.float64],
    weight: NDArray[np.float64],
    most: float,
    seed: int,
    chance: Chance | None = None,
) -> list[Sample]:
    """The labelled queries by rising difficulty, in at most as many groups as were asked for.

    Groups are cut at quantiles of the difficulty over queries. One that is too small to pass even if none of its labels
    were false is joined with the next harder one, the last with the one before; that depends on no label.
    """
    stage = seen.cut.stage
    per_query = seen.difficulty[seen.living.starts[:-1]]
    bounds = _bounds(per_query, stage.groups)

    def sample(lowest: float, hardest: float) -> Sample:
        rows = (seen.difficulty > lowest) & (seen.difficulty <= hardest)
        part = seen.only(np.unique(seen.living.query[rows]))
        mine = None if chance is None else replace(chance, part=chance.part[rows])
        return Sample(part, relevance[rows], weight[rows], hardest, seed, most, mine)

    samples: list[Sample] = []
    lowest = -math.inf
    for hardest in bounds:
        here = sample(lowest, hardest)
        if here.able:
            samples.append(here)
            lowest = hardest
        elif hardest == math.inf:
            below = samples[-2].hardest if len(samples) > 1 else -math.inf
            samples[-1:] = [sample(below, math.inf)]
    return samples


def _bounds(difficulty: NDArray[np.float64], groups: int) -> list[float]:
    """The largest difficulty of each group of queries, the last one's without bound."""
    below = difficulty[difficulty < difficulty.max(initial=0.0)]
    if groups == 1 or not len(below):
        return [math.inf]
    cuts = np.quantile(difficulty, np.arange(1, groups) / groups, method="inverted_cdf")
    # Where many queries share the largest difficulty, as do those whose positive no list holds, they are a group.
    return [*np.unique(np.minimum(cuts, below.max())).tolist(), math.inf]


def _refuse(samples: list[Sample], given: Labels) -> None:
    """Say what is lacking if no group has a threshold."""
    whole = samples[-1]
    stage = whole.seen.cut.stage
    queries, labels = len(whole.order[0]), int((whole.weight > 0).sum())
    if not any(sample.able for sample in samples):
        best = float(whole.hopes.min(initial=0.0))
        if stage.test == "drawn":
            more = math.ceil(labels * math.log(1 - stage.level) / best) if best < 0 else 0
            raise DataError(
                f"{stage!r}: {labels:,} labels are too few: even if none of them were false, they could not show a "
                f"rate of at most {stage.target:.1%} with {stage.level:.0%} confidence."
                + (f" That takes about {more:,}, and more with each false one among what is kept." if more else "")
                + _unaudited(whole),
                remedy="Label more (foils audit --budget), audit what will be used, raise target, or lower level.",
            )
        others = "test='asymptotic'" if given.drawn is None else "test='drawn' or test='asymptotic'"
        least = risk.needed(stage.target, stage.level) if stage.test == "exact" else queries + 1
        more = max(least, math.ceil(queries * math.log(1 - stage.level) / best)) if best < 0 else least
        raise DataError(
            f"{stage!r}: {labels:,} labels of {queries:,} queries are too few: even if none of them were false, they "
            f"could hardly show a rate of at most {stage.target:.1%} with {stage.level:.0%} confidence. That takes "
            f"labels of about {more:,} queries, and more with each false one among what is kept.",
            remedy="Label more (foils audit --budget), raise target, or lower level"
            + (f", or pass {others}." if stage.test == "exact" else "."),
        )
    if any(sample.chosen is not None for sample in samples):
        return
    kept, false = (sums.sum(axis=0) for sums in whole.outcomes)
    rates = false / np.maximum(kept, 1e-300)
    testable = np.flatnonzero(whole.hopes <= math.log(1 - stage.level))
    best_at = testable[rates[testable].argmin()]
    lowest = whole.lowest_target()
    hint = "" if lowest is None else f"; the lowest that passes here is about {lowest:.0%}"
    raise DataError(
        f"{stage!r}: no threshold is shown to keep the rate at {stage.target:.1%} with {stage.level:.0%} confidence. "
        f"Of {queries:,} labelled queries, {rates[-1]:.1%} of what is used without it are false; the best threshold "
        f"that they could test leaves {rates[best_at]:.1%}.{_unaudited(whole)}",
        remedy=f"Raise target{hint}, label more, or use the scores of a better model: by=….",
    )


def _unaudited(sample: Sample) -> str:
    share = float(sample.unaudited.min(initial=1.0))
    return f" At least {share:.1%} of what is kept was not audited, and counts as false." if share > 0 else ""


def _reached(seen: Seen, samples: list[Sample], given: Labels, labelled: NDArray[np.bool_], pool: Pairs) -> None:
    """Refuse to promise anything of candidates that nobody labelled."""
    if given.missing > 0:
        raise DataError(
            f"{given.name}: {given.missing:.1%} of the audited candidates are of strata without any label: nothing "
            "is known of them.",
            remedy="Label some rows of each stratum (sample.parquet says whose they are), or audit what will be used.",
        )
    used, lowest = np.zeros(len(seen.near), np.bool_), -math.inf
    for sample in samples:
        mine = (seen.difficulty > lowest) & (seen.difficulty <= sample.hardest)
        if sample.chosen is not None:
            used |= mine & seen.kept(float(sample.grid[sample.chosen]))
        lowest = sample.hardest
    lacking = unreached(seen, labelled, pool) & used
    if lacking.any():
        raise DataError(
            f"{given.name}: {lacking.sum() / used.sum():.1%} of what {seen.cut.stage!r} and the stages after it would "
            "keep are of ranks, sources, closeness or filters that no label is of, so no rate can be promised.",
            remedy="Audit the candidates that are calibrated: foils audit of the same folder, with its --dropped, if "
            "it has candidates that were dropped; or calibrate the folder that the labels are of.",
        )


def _odds(
    seen: Seen, relevance: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[tuple[float, float] | None, dict[str, Any]]:
    """Probabilities of relevance by closeness, among all candidates that come to the stage."""
    rows = (weight > 0) & np.isfinite(seen.near)
    found = fit(seen.near[rows], relevance[rows], weight[rows]) if rows.any() else None
    if found is None:
        return None, {"ece": None}
    probability = sigmoid(found[0] * seen.near[rows] + found[1])
    return found, {"ece": expected_calibration_error(probability, relevance[rows], weights=weight[rows])}
