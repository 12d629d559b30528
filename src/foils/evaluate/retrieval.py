"""`evaluate` and `evaluate_all`: exact retrieval, measured per query, with intervals and paired tests."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foils.adapters.models import load_encoder
from foils.core.cache import cache_root
from foils.core.collection import Collection
from foils.core.errors import DataError, SpecError
from foils.core.pairs import Pairs
from foils.core.text import did_you_mean
from foils.evaluate import ranking as rankings
from foils.evaluate.measures import DEFAULT, Judge, depth_for, parse
from foils.evaluate.ranking import Progress
from foils.evaluate.scores import Scores, compare, mean_intervals
from foils.evaluate.significance import ROUNDS
from foils.evaluate.tables import Table

log = logging.getLogger(__name__)

System = Any
"""What can be measured: ``bm25``, a TREC run file, pairs with scores, or whatever `load_encoder` takes."""

_RUN_SUFFIXES = (".run", ".trec", ".txt", ".tsv", ".gz")


@dataclass(frozen=True)
class Settings:
    """How systems are searched and compared. The defaults are ours, except where a source is given.

    Attributes:
        own: whether a query whose id is also a document's may retrieve that document: ``keep`` (sentence-transformers,
            MTEB) or ``exclude`` (BEIR; right for collections such as ArguAna and Quora, whose queries are documents).
        depth: documents retrieved per query; None for what the measures need, at least 100.
        rounds: sign patterns and resamples drawn.
        seed: of the draws.
        cache: folder for vectors and indexes; None for the usual one.
        progress: called with (what, done, total) during long work.
    """

    own: Literal["keep", "exclude"] = "keep"
    depth: int | None = None
    rounds: int = ROUNDS
    seed: int = 0
    cache: Path | None = None
    progress: Progress | None = None


def evaluate(
    data: Collection,
    model: System,
    *,
    split: str = "test",
    measures: Sequence[str] = DEFAULT,
    baseline: System | None = None,
    settings: Settings | None = None,
) -> Scores:
    """Measure how well one system retrieves, against a baseline if one is given.

    All documents are searched, exactly; what was written for the collection is not (`Collection.base`). The qrels are
    used as given, with their grades. Measured are the queries of the split that have a positive; one for which a system
    returns nothing counts as 0.

    Args:
        data: the collection.
        model: a bi-encoder (whatever `foils.adapters.models.load_encoder` takes: a name, a folder, an object), the word
            ``bm25``, the path of a TREC run file, or pairs with scores (ranked by their latest score, ties to the lower
            document row). A run file is ranked as trec_eval would: by score, ties by document id, descending.
        split: whose queries and qrels to use.
        measures: ir-measures names.
        baseline: what to compare with, like ``model``.
        settings: see `Settings`.

    Returns:
        Means with 95 % bootstrap intervals, values per query, the ranking, and per measure the comparison with the
        baseline: mean difference, its interval, and the p of a paired sign-flip test.

    Raises:
        SpecError: a measure or setting that does not exist.
        DataError: a split without positives, or a run file that has none of its queries.
    """
    name, system = _named(model)
    systems, other = {name: system}, None
    if baseline is not None:
        other, against = _named(baseline)
        other = f"{other} (baseline)" if other == name else other
        systems[other] = against
    table = evaluate_all(data, systems, split=split, measures=measures, baseline=other, settings=settings)
    return table.scores[name]


def evaluate_all(
    data: Collection,
    systems: Mapping[str, System],
    *,
    split: str = "test",
    measures: Sequence[str] = DEFAULT,
    baseline: str | None = None,
    settings: Settings | None = None,
) -> Table:
    """Measure several systems on the same queries and compare each with a baseline.

    The p-values of a measure are corrected (Holm) for the number of systems compared.

    Args:
        data: the collection.
        systems: name -> system; see `evaluate`. The table keeps this order.
        split: whose queries and qrels to use.
        measures: ir-measures names.
        baseline: the name of the system that the others are compared with, or None.
        settings: see `Settings`.

    Raises:
        SpecError: no systems, an unknown baseline, measure or setting.
        DataError: see `evaluate`.
    """
    settings = settings or Settings()
    parsed = parse(measures)
    depth = _depth(parsed, settings)
    _check(systems, baseline, settings)
    data = _base(data, split)
    qrels, queries = data.qrels(split), data.query_rows(split)
    if not len(queries):
        raise DataError(f"no query of split {split!r} in {data.name!r} has a positive, so nothing can be measured.")
    excluded = len(qrels.queries) - len(queries)
    if excluded:
        log.warning("%d queries of split %r have judgements but no positive; they are left out", excluded, split)
    judge = Judge(parsed, qrels, queries)
    ranked = {name: _rank(data, system, queries, depth, settings) for name, system in systems.items()}
    values = {name: judge.per_query(run) for name, run in ranked.items()}
    spans = mean_intervals(values, rounds=settings.rounds, seed=settings.seed)
    versus = {} if baseline is None else compare(values, baseline, rounds=settings.rounds, seed=settings.seed)
    scores = {
        name: Scores(
            system=name,
            data=data,
            split=split,
            queries=queries,
            per_query=values[name],
            intervals=spans[name],
            ranking=ranked[name],
            excluded=excluded,
            unanswered=len(queries) - len(ranked[name].queries),
            versus=versus.get(name, {}),
        )
        for name in systems
    }
    return Table(scores, baseline)


def _base(data: Collection, split: str) -> Collection:
    """The collection without what was written for it: written texts are never measured on."""
    if split in data.splits and split not in data.base.splits:
        remedy = "Measure on queries that people asked, such as --split test."
        raise DataError(f"the queries of split {split!r} in {data.name!r} were written, not asked.", remedy=remedy)
    return data.base


def _named(system: System) -> tuple[str, System]:
    """A short name for a system (the last part of a path, a text as it is, an encoder's own) and the system, loaded."""
    if isinstance(system, Pairs):
        return system.latest or "run", system
    if isinstance(system, str | Path):
        text = str(system)
        return (Path(text).name if Path(text).exists() else text), system
    encoder = load_encoder(system)
    return encoder.name, encoder


def _rank(data: Collection, system: System, queries: NDArray[np.int32], depth: int, settings: Settings) -> Pairs:
    own = rankings.own_documents(data, queries) if settings.own == "exclude" else Pairs.empty()
    spare = int(np.diff(own.starts).max(initial=0))
    run = _search(data, system, queries, depth + spare, settings)
    run = run.take(np.isin(run.query, queries))
    return rankings.without(run, own, depth if spare else None)


def _search(data: Collection, system: System, queries: NDArray[np.int32], depth: int, settings: Settings) -> Pairs:
    cache = cache_root(settings.cache)
    if isinstance(system, Pairs):
        return rankings.ordered(system.take(system.doc < len(data.corpus)), "score")
    if isinstance(system, str) and system == "bm25":
        return rankings.by_bm25(data, queries, depth, cache / "bm25")
    if isinstance(system, str | Path) and _is_run_file(Path(system)):
        run = rankings.by_run_file(data, Path(system))
        if not np.isin(run.query, queries).any():
            message = f"has results for none of the {len(queries):,} queries to be measured."
            raise DataError(message, file=system, remedy="Is it the run of another split or collection?")
        return run
    return rankings.by_encoder(data, load_encoder(system), queries, depth, cache / "vectors", settings.progress)


def encodes(system: System) -> bool:
    """Whether a system is a bi-encoder, which has vectors to look at."""
    if isinstance(system, str | Path):
        return str(system) != "bm25" and not _is_run_file(Path(system))
    return not isinstance(system, Pairs)


def _is_run_file(path: Path) -> bool:
    # A name with a run file's suffix is one even where it is missing: the reader then says so, not the model hub.
    return path.is_file() or (path.suffix in _RUN_SUFFIXES and not path.is_dir())


def _depth(measures: Sequence[Any], settings: Settings) -> int:
    needed = depth_for(measures)
    if settings.depth is None:
        return needed
    cutoff = max((measure.params.get("cutoff", 1) for measure in measures), default=1)
    if settings.depth < cutoff:
        raise SpecError(f"depth={settings.depth}: the measures look {cutoff} documents deep. Raise depth.")
    return settings.depth


def _check(systems: Mapping[str, System], baseline: str | None, settings: Settings) -> None:
    if not systems:
        raise SpecError("no systems given: name at least one model, run file or 'bm25'.")
    if baseline is not None and baseline not in systems:
        have = ", ".join(repr(name) for name in systems)
        raise SpecError(f"baseline {baseline!r} is none of the systems: {have}.{did_you_mean(baseline, list(systems))}")
    if settings.own not in ("keep", "exclude"):
        raise SpecError(f"own={settings.own!r}: it is 'keep' or 'exclude'.")
    if settings.rounds < 1:
        raise SpecError(f"rounds={settings.rounds}: it must be at least 1.")
