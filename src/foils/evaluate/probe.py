"""`probe`: can a linear classifier on a model's vectors tell negatives of one source from those of another?

Where it can, a student can lower its loss by pushing away a *source* instead of what is irrelevant: of written
negatives their style, of edited ones their edits. CausalNeg (arXiv:2606.01304) calls it the gap between generation and
discrimination. The bound of .9 is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foils.adapters.models import load_encoder
from foils.adapters.protocols import Encoder, Kind
from foils.adapters.vectors import vectors
from foils.core import noise
from foils.core.cache import cache_root
from foils.core.collection import Collection
from foils.core.errors import DataError, need
from foils.core.pairs import CANDIDATE, Pairs
from foils.core.ragged import places
from foils.core.segments import starts_of
from foils.core.text import did_you_mean
from foils.evaluate import geometry
from foils.evaluate.linear import Measured, separate
from foils.evaluate.retrieval import System
from foils.store import Negatives

WRITTEN = "written"
ALARM = 0.9  # balanced accuracy above which a source gives itself away
SIZE = 2000
OTHERS = "others"

Of = Literal["document", "difference"]
Encode = Callable[[NDArray[np.int32], Kind], NDArray[np.floating]]


@dataclass(frozen=True)
class Told:
    """How well two sources are told apart.

    Attributes:
        one: name of a source.
        other: name of the other one; ``others`` for all the others together.
        each: negatives of each that were looked at.
        queries: whose negatives they are.
        accuracy: balanced accuracy; .5 for not at all, 1 for perfectly.
        auc: area under the ROC curve; .5 for not at all.
    """

    one: str
    other: str
    each: int
    queries: int
    accuracy: Measured
    auc: Measured

    @property
    def alarming(self) -> bool:
        """Whether the accuracy is above .9."""
        return self.accuracy.value > ALARM

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "alarm": self.alarming}


@dataclass(frozen=True)
class Probe:
    """Which sources a model's vectors give away.

    Attributes:
        model: its name.
        of: what the classifier saw: the ``document``, or its ``difference`` from the query.
        seed: of the draw.
        rows: a comparison each.
        left: names of comparisons that there was too little for, and why.
    """

    model: str
    of: Of
    seed: int
    rows: tuple[Told, ...]
    left: Mapping[str, str]

    @property
    def highest(self) -> float:
        """The highest balanced accuracy; 0 without a comparison."""
        return max((row.accuracy.value for row in self.rows), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": self.model,
            "of": self.of,
            "seed": self.seed,
            "alarm_above": ALARM,
            "comparisons": [row.to_dict() for row in self.rows],
            "left_out": dict(self.left),
        }


def probe(
    negatives: Negatives | str | Path,
    model: System,
    *,
    data: Collection | None = None,
    sources: Sequence[str] = (),
    of: Of = "document",
    seed: int = 0,
) -> Probe:
    """Tell negatives apart by source, linearly, from a model's vectors.

    Of each source as many negatives are drawn, at most 1,000, by a hash of the ids: of each document one, of each
    query as few as possible; what both sources found for a query is left out. Vectors have length 1. Logistic
    regression in five folds (`foils.evaluate.linear.separate`): the negatives of a query, and texts that were written
    from the same document, are never on both sides of a fold, and neither is a document.

    Args:
        negatives: mined; a folder or opened.
        model: a bi-encoder, as `foils.adapters.models.load_encoder` takes it: the student before or after training.
        data: the collection; the one they were mined from by default.
        sources: names of sources: each is compared with each. By default each one with all the others.
        of: what is looked at: ``document`` vectors, or their ``difference`` from the query's.
        seed: of the draw.

    Returns:
        Balanced accuracy and AUC with 95 % intervals for each comparison.

    Raises:
        DataError: fewer than two sources, an unknown one, or too few negatives to compare any two.
        MissingExtra: scikit-learn is not installed.
    """
    store = negatives if isinstance(negatives, Negatives) else Negatives.open(negatives)
    collection = store.collection() if data is None else data
    encoder = load_encoder(model)
    pairs = candidates(store.kept(collection))
    found = members(pairs)
    _check(store, sources, tuple(found))
    rows, left = [], {}
    for one, other in _comparisons(sources, tuple(found)):
        try:
            rows.append(tell_apart(collection, pairs, (one, other), cached(encoder, collection), of=of, seed=seed))
        except DataError as error:
            left[f"{one} - {other}"] = str(error)
    if not rows:
        name, why = next(iter(left.items()))
        raise DataError(f"{store.path}: {name}: {why}")
    return Probe(encoder.name, of, seed, tuple(rows), left)


def candidates(pairs: Pairs) -> Pairs:
    """The negatives alone."""
    return pairs.take(pairs.alive & (pairs.label == CANDIDATE))


def members(pairs: Pairs) -> dict[str, NDArray[np.bool_]]:
    """Which pairs each source found, by its name; sources that found none are left out."""
    return {name: rank > 0 for name, rank in sorted(pairs.ranks.items()) if (rank > 0).any()}


def cached(encoder: Encoder, data: Collection) -> Encode:
    """Vectors of rows from the cache, where those of other runs are."""
    cache = cache_root() / "vectors"

    def encode(rows: NDArray[np.int32], kind: Kind) -> NDArray[np.floating]:
        return vectors(encoder, data.queries if kind == "query" else data.corpus, kind, cache=cache, rows=rows)

    return encode


def tell_apart(
    data: Collection,
    pairs: Pairs,
    names: tuple[str, str],
    encode: Encode,
    *,
    of: Of = "document",
    size: int = SIZE,
    seed: int = 0,
) -> Told:
    """One comparison; see `probe`.

    Args:
        data: the collection.
        pairs: negatives with raw ranks by source.
        names: of two sources; the second may be ``others``.
        encode: vectors of rows of a side.
        of: see `probe`.
        size: negatives of both at most.
        seed: of the draw.

    Raises:
        DataError: too few that only one of them found.
    """
    found = members(pairs)
    nothing = np.zeros(len(pairs), bool)
    one = found.get(names[0], nothing)
    rest = [rows for name, rows in found.items() if name != names[0]]
    other = np.any([nothing, *rest], axis=0) if names[1] == OTHERS else found.get(names[1], nothing)
    rows = draw(data, pairs, one, other, size, seed)
    query, doc, first = pairs.query[rows], pairs.doc[rows], one[rows]
    group = groups(data, query, doc)
    x = _of(query, doc, encode, of)
    measured = separate(x, first, group, seed=seed)
    return Told(*names, int(first.sum()), len(np.unique(query)), measured["accuracy"], measured["auc"])


def draw(
    data: Collection, pairs: Pairs, one: NDArray[np.bool_], other: NDArray[np.bool_], size: int, seed: int
) -> NDArray[np.int64]:
    """As many pairs of two sources, at most ``size`` in all: row numbers, ascending. See `probe`."""
    rows = np.flatnonzero(one ^ other)
    turn = noise.uniform(seed, "probe", data.queries.keys[pairs.query[rows]], data.corpus.keys[pairs.doc[rows]])
    doc = data.same[pairs.doc[rows]]
    order = np.lexsort((turn, doc))
    first = order[np.concatenate(([True], np.diff(doc[order]) > 0))[: len(order)]]
    rows, turn = rows[first], turn[first]
    side = one[rows]
    order = np.lexsort((turn, pairs.query[rows], side))
    rows, turn, side = rows[order], turn[order], side[order]
    place = places(starts_of(2 * pairs.query[rows].astype(np.int64) + side))
    each = min(int(side.sum()), int((~side).sum()), size // 2)
    taken = []
    for kind in (side, ~side):
        at = np.flatnonzero(kind)
        taken.append(at[np.lexsort((turn[at], place[at]))[:each]])
    return np.sort(rows[np.concatenate(taken)])


def groups(data: Collection, query: NDArray[np.int32], doc: NDArray[np.int32]) -> NDArray[np.int64]:
    """Numbers of what must stay together, int64 (n,), in an order that the ids decide.

    Pairs of one query belong together, and those whose documents were written from the same document.
    """
    links = data.written
    asked, of_query = np.unique(query, return_inverse=True)
    owner, origin = np.zeros(0, np.int64), np.zeros(0, np.int64)
    if len(links):
        order = np.argsort(links.doc, kind="stable")
        at = np.minimum(np.searchsorted(links.doc[order], doc), len(links) - 1)
        hit = links.doc[order][at] == doc
        owner, origin = of_query[hit], np.unique(data.same[links.source[order][at[hit]]], return_inverse=True)[1]
    sparse, graphs = need("scipy.sparse", "eval"), need("scipy.sparse.csgraph", "eval")
    count = len(asked) + int(origin.max(initial=-1)) + 1
    edges = np.ones(len(owner)), (owner, origin + len(asked))
    label = graphs.connected_components(sparse.coo_matrix(edges, shape=(count, count)), directed=False)[1]
    label = label[: len(asked)]
    keys = noise.bits(0, "probe", data.queries.keys[asked], np.zeros(1, np.uint64))
    least = np.full(label.max(initial=-1) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(least, label, keys.ravel())
    return np.unique(least[label], return_inverse=True)[1][of_query]


def _of(query: NDArray[np.int32], doc: NDArray[np.int32], encode: Encode, of: Of) -> NDArray[np.float64]:
    x = geometry.unit(_rows(doc, "document", encode))
    return x if of == "document" else x - geometry.unit(_rows(query, "query", encode))


def _rows(rows: NDArray[np.int32], kind: Kind, encode: Encode) -> NDArray[np.floating]:
    distinct, at = np.unique(rows, return_inverse=True)
    return encode(distinct, kind)[at]


def _comparisons(sources: Sequence[str], names: Sequence[str]) -> list[tuple[str, str]]:
    if sources or len(names) == 2:
        chosen = list(dict.fromkeys(sources or names))
        return [(one, other) for i, one in enumerate(chosen) for other in chosen[i + 1 :]]
    return [(name, OTHERS) for name in names]


def _check(store: Negatives, sources: Sequence[str], names: Sequence[str]) -> None:
    for name in sources:
        if name not in names:
            listed = ", ".join(names) or "none"
            raise DataError(
                f"{store.path}: no negative is of source {name!r}.{did_you_mean(name, names)} There are: {listed}."
            )
    if len(set(sources) or names) < 2:
        raise DataError(
            f"{store.path}: negatives of one source only: {', '.join(sources or names) or 'none'}.",
            remedy="To tell sources apart takes two: mine with A + B.",
        )
