"""What is audited: the negatives, what each step of the pipeline dropped, and what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foils.core import segments
from foils.core.collection import Collection
from foils.core.errors import DataError, FoilsError
from foils.core.foreign import is_run, pairs_from, read_listing
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs, union
from foils.core.spec import parse
from foils.core.trec import read_run
from foils.parts import Step
from foils.stages.stage import Pool, Stage, Then
from foils.store import MANIFEST, Negatives, fingerprint_of

KEPT = 0
_SOURCES = 8  # named apart; the rarest of more are "others"
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Population:
    """The candidates of some negatives, one item for each (query, document); positives are not among them.

    Attributes:
        path: the folder or file, as it was given.
        pairs: all rows, positives too.
        rows: rows of the items in ``pairs``, int64 (n,).
        fate: 0 for a negative, i for an item that step i took out, int64 (n,).
        source: who found it, int64 (n,): place in ``sources``.
        sources: names.
        rank: the best of its sources' raw ranks, int64 (n,); 0 where there is none.
        score: float64 (n,), in ``column``; NaN where there is none.
        column: the score column, or None.
        difficulty: rank of the query's best positive under the same source or score, int64 (n,); 0 where it was not
            found.
        steps: the stages of the pipeline; none for a file of another tool.
        through: for each step, which items came to it if nothing was dropped before, bool (n,).
        split: whose qrels are known.
        origin: what was mined how, as the reports show it.
        probabilities: score columns that are probabilities of a cross-encoder.
        fingerprint: of the folder or file.
    """

    path: str
    pairs: Pairs
    rows: Ints
    fate: Ints
    source: Ints
    sources: tuple[str, ...]
    rank: Ints
    score: NDArray[np.float64]
    column: str | None
    difficulty: Ints
    steps: tuple[Step, ...]
    through: tuple[NDArray[np.bool_], ...]
    split: str
    origin: str
    probabilities: tuple[str, ...] = ()
    fingerprint: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def query(self) -> NDArray[np.int32]:
        """Query row of each item."""
        return self.pairs.query[self.rows]

    @property
    def doc(self) -> NDArray[np.int32]:
        """Document row of each item."""
        return self.pairs.doc[self.rows]

    @cached_property
    def negative(self) -> NDArray[np.bool_]:
        """Which items are negatives."""
        kept: NDArray[np.bool_] = self.fate == KEPT
        return kept

    def before(self, step: Step) -> NDArray[np.bool_]:
        """Items that came to a step."""
        came: NDArray[np.bool_] = self.through[step.number - 1] & ((self.fate == KEPT) | (self.fate >= step.number))
        return came

    def after(self, step: Step) -> NDArray[np.bool_]:
        """Items that it let pass."""
        left: NDArray[np.bool_] = self.through[step.number - 1] & ((self.fate == KEPT) | (self.fate > step.number))
        return left


def of_negatives(store: Negatives, data: Collection, by: str | None = None) -> Population:
    """Of a folder of negatives, with all its candidates.

    Raises:
        PipelineError: there is no score column ``by``.
    """
    steps = tuple(store.steps)
    text = str(store.manifest.get("pipeline_full", store.pipeline))
    split = str(store.manifest["split"])
    found = _made(str(store.path), store.pairs(data), by, steps, split=split, origin=store.pipeline, text=text)
    models = store.manifest.get("encoders", {})
    sure = tuple(name for name in found.pairs.scores if models.get(name, {}).get("scale") == "probability")
    return replace(found, probabilities=sure, fingerprint=store.fingerprint)


def of_file(
    path: Path, data: Collection, *, split: str, layout: str | None = None, by: str | None = None
) -> Population:
    """Of a run or another tool's file; what it does not call a positive is a negative.

    Where the file does not say what is a positive, the positives of the split are, whether the file lists them or not.
    """
    if layout is None and is_run(path):
        pairs, told = read_run(path, data), False
    else:
        listing = read_listing(path, layout)
        pairs, told = pairs_from(listing, data), listing.told
    if not told:
        known = data.positives(split)
        pairs = union([pairs, known.take(np.isin(known.query, pairs.queries)).bare()])
    found = _made(str(path), pairs, by, (), split=split, origin="a file of negatives", text="")
    return replace(found, fingerprint=fingerprint_of(path))


def opened(
    negatives: str | Path | Negatives,
    data: Collection | None,
    *,
    split: str | None = None,
    layout: str | None = None,
    by: str | None = None,
) -> tuple[Population, Collection]:
    """The population of a folder or file, and its collection.

    Raises:
        DataError: a file without a collection; no negatives.
    """
    if isinstance(negatives, Negatives) or (Path(negatives) / MANIFEST).is_file() or Path(negatives).is_dir():
        store = negatives if isinstance(negatives, Negatives) else Negatives.open(negatives)
        data = data or store.collection()
        found = of_negatives(store, data, by)
    else:
        path = Path(negatives)
        if not path.exists():
            raise DataError("no such file or folder.", file=path, remedy="Name a folder of negatives or a file.")
        if data is None:
            raise DataError("is a file; its collection is needed.", file=path, remedy="Name it with --data.")
        first = split or ("train" if "train" in data.splits else data.splits[0])
        found = of_file(path, data, split=first, layout=layout, by=by)
    if not found.negative.any():
        raise DataError("has no negative, so there is nothing to audit.", file=found.path, remedy="Mine some.")
    return found, data


def _made(
    path: str, pairs: Pairs, by: str | None, steps: tuple[Step, ...], *, split: str, origin: str, text: str
) -> Population:
    rows = np.flatnonzero(pairs.label == CANDIDATE)
    column = pairs.column(by) if by is not None else (pairs.latest or next(iter(pairs.scores), None))
    names = sorted(pairs.ranks)
    found = np.stack([pairs.ranks[name] for name in names]) if names else np.zeros((0, len(pairs)), np.int32)
    ranks = np.where(found > 0, found, np.iinfo(np.int32).max).min(axis=0, initial=np.iinfo(np.int32).max)
    ranks = np.where(ranks == np.iinfo(np.int32).max, 0, ranks).astype(np.int64)
    if not names and column is not None:
        ranks = _positions(pairs, column)
    source, sources = _sources(found[:, rows] > 0, names, column)
    score = np.full(len(rows), np.nan) if column is None else pairs.scores[column][rows].astype(np.float64)
    fate = np.abs(pairs.dropped[rows].astype(np.int64))
    through = tuple(_fed(fed, names, found[:, rows] > 0, len(rows)) for fed in _feeds(text, len(steps)))
    return Population(
        path, pairs, rows, fate, source, sources, ranks[rows], score, column, _difficulty(pairs, ranks)[rows],
        steps, through, split, origin,
    )  # fmt: skip


def _positions(pairs: Pairs, column: str) -> Ints:
    """1-based position of each scored row in its list, 0 of the others."""
    values = pairs.scores[column]
    scored = ~np.isnan(values)
    place = segments.ranks(np.where(scored, values, -np.inf), pairs.starts, pairs.doc)
    return np.where(scored, place, 0).astype(np.int64)


def _difficulty(pairs: Pairs, ranks: Ints) -> Ints:
    """For each row, the best rank of its query's positives; 0 where none was found."""
    if not len(pairs):
        return np.zeros(0, np.int64)
    seen = (pairs.label == POSITIVE) & (ranks > 0)
    best = segments.reduce(ranks.astype(np.float64), seen, pairs.starts, "min")
    return np.repeat(np.nan_to_num(best, nan=0.0).astype(np.int64), np.diff(pairs.starts))


def _sources(found: NDArray[np.bool_], names: Sequence[str], column: str | None) -> tuple[Ints, tuple[str, ...]]:
    """Which sources found each item, as a number, and the names of the combinations, most items first."""
    if not names:
        return np.zeros(found.shape[1], np.int64), (column or "listed",)
    bits = (found.astype(np.int64) << np.arange(len(names), dtype=np.int64)[:, None]).sum(axis=0)
    values, place, count = np.unique(bits, return_inverse=True, return_counts=True)
    order = np.argsort(-count, kind="stable")
    turn = np.empty(len(order), np.int64)
    turn[order] = np.arange(len(order))
    words = [
        "+".join(n for i, n in enumerate(names) if value >> i & 1) or "no rank" for value in values[order].tolist()
    ]
    if len(words) > _SOURCES:
        words = [*words[: _SOURCES - 1], "others"]
    return np.minimum(turn[place.reshape(-1)], len(words) - 1), tuple(words)


def _feeds(text: str, count: int) -> list[frozenset[str] | None]:
    """For each step, the sources whose documents come to it; None for all, or where it cannot be told."""
    if not count:
        return []
    try:
        stage = parse(text)
    except FoilsError:  # a stage of somebody else's that is not installed
        return [None] * count
    seen: list[frozenset[str] | None] = []
    whole = _walk(stage, frozenset(), seen)
    if len(seen) != count or whole is None:
        return [None] * count
    return [None if fed == whole else fed for fed in seen]


def _walk(stage: Stage, came: frozenset[str] | None, seen: list[frozenset[str] | None]) -> frozenset[str] | None:
    if isinstance(stage, Then):
        for one in stage.stages:
            came = _walk(one, came, seen)
        return came
    if isinstance(stage, Pool):
        parts = []
        for branch in stage.branches:
            afresh = next(branch.steps()).family == "source"
            parts.append(_walk(branch, frozenset() if afresh else came, seen))
        return None if None in parts else frozenset().union(*(part for part in parts if part is not None))
    if stage.family == "source":
        name = getattr(stage, "column", None)
        came = None if came is None or not isinstance(name, str) else came | {name}
    seen.append(came)
    return came


def _fed(fed: frozenset[str] | None, names: Sequence[str], found: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    if fed is None or not fed or not fed <= set(names):
        return np.ones(count, bool)
    some: NDArray[np.bool_] = np.logical_or.reduce(found[[names.index(name) for name in fed]], axis=0)
    return some
