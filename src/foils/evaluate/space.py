"""`space`: the figures of `foils.evaluate.geometry` for a model on a collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters import exact
from foils.adapters.models import load_encoder
from foils.adapters.vectors import vectors
from foils.core import noise
from foils.core.cache import cache_root
from foils.core.collection import Collection
from foils.core.errors import DataError
from foils.core.texts import Texts
from foils.evaluate import geometry
from foils.evaluate.retrieval import Settings, System

QUERIES, DOCUMENTS = 2_000, 5_000  # looked at, at most
NEIGHBOURS = 10


@dataclass(frozen=True)
class Space:
    """The space of a model's vectors on a collection.

    Attributes:
        system: name of the model.
        queries: looked at.
        documents: looked at, one for each distinct text.
        k: length of the lists of neighbours.
        figures: by name, in the order to show; see `space`.
    """

    system: str
    queries: int
    documents: int
    k: int
    figures: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**vars(self), "figures": dict(self.figures)}


def space(
    data: Collection,
    model: System,
    *,
    name: str | None = None,
    split: str = "test",
    settings: Settings | None = None,
    k: int = NEIGHBOURS,
) -> Space:
    """What the space of a model's vectors looks like, on a sample that is the same for all models.

    At most 2,000 queries of the split and 5,000 documents with distinct texts, by a hash of their ids.

    Args:
        data: the collection.
        model: a bi-encoder, as `foils.adapters.models.load_encoder` takes it.
        name: how to call it.
        split: whose queries and positives.
        settings: cache and progress.
        k: length of the lists of neighbours of documents among documents.

    Returns:
        ``alignment`` of queries and their positives, ``uniformity`` and ``anisotropy`` of queries and of documents,
        ``effective_rank`` of documents out of as many ``dimensions``, ``tower_gap``, and hubs among documents:
        ``skewness``, ``robin_hood``, ``antihubs``, ``hubs``, ``largest``. See `foils.evaluate.geometry`.

    Raises:
        DataError: fewer than two queries with a positive, or not more documents than ``k``.
    """
    settings = settings or Settings()
    data = data.base
    encoder = load_encoder(model)
    positives = data.positives(split)
    asked = _sample(data.queries, positives.queries, QUERIES)
    leaders = np.flatnonzero(data.same == np.arange(len(data.same))).astype(np.int32)
    rows = _sample(data.corpus, leaders, DOCUMENTS)
    if len(asked) < 2 or len(rows) <= k:
        raise DataError(
            f"{len(asked):,} queries with a positive and {len(rows):,} distinct documents in split {split!r} of "
            f"{data.name!r}: the geometry needs at least 2 and {k + 1}."
        )
    cache = cache_root(settings.cache) / "vectors"
    docs = vectors(encoder, data.corpus, "document", cache=cache)
    queries = vectors(encoder, data.queries, "query", cache=cache, rows=asked)
    pairs = positives.take(np.isin(positives.query, asked))
    at = np.searchsorted(asked, pairs.query)
    x, q = geometry.unit(docs[rows]), geometry.unit(queries)
    figures = {
        "alignment": geometry.alignment(q[at], docs[pairs.doc]),
        "uniformity_queries": geometry.uniformity(q),
        "uniformity_documents": geometry.uniformity(x),
        "anisotropy_queries": geometry.anisotropy(q),
        "anisotropy_documents": geometry.anisotropy(x),
        "effective_rank": geometry.effective_rank(x),
        "dimensions": float(x.shape[1]),
        "tower_gap": geometry.tower_gap(q, x),
        **_hubs(x.astype(np.float32), k),
    }
    return Space(name or encoder.name, len(asked), len(rows), k, figures)


def _sample(texts: Texts, rows: NDArray[np.int32], most: int) -> NDArray[np.int32]:
    draws = noise.bits(0, "space", texts.keys[rows], np.zeros(1, np.uint64))
    return np.sort(rows[np.lexsort((rows, draws))[:most]])


def _hubs(x: NDArray[np.float32], k: int) -> dict[str, float]:
    found, _ = exact.search(x, x, k + 1)
    others = found != np.arange(len(x))[:, None]
    # A document need not be nearest to itself where others have the same vector: then the last place is given up.
    others[others.all(axis=1), -1] = False
    return geometry.hubness(geometry.occurrences(found[others].reshape(len(x), k), len(x)), k)
