"""Guides: frozen models whose scores of a batch decide who is a negative. GISTEmbed's idea, for any filter.

A guide's vectors never change, so they are made once, through the store that mining uses, and a step only gathers rows
of them: a guide costs a small matrix product a step, however large the model is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foils.adapters.protocols import Encoder
from foils.adapters.vectors import vectors
from foils.core.collection import Collection

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Guide:
    """One guide's vectors of the queries trained on and of all documents.

    Attributes:
        rows: int32 (q,), rows of the queries, ascending.
        queries: float32 (q, d).
        docs: float32 (n, d), memory-mapped.
    """

    rows: NDArray[np.int32]
    queries: NDArray[np.float32]
    docs: NDArray[np.float32]

    def score(self, queries: NDArray[np.int32], docs: NDArray[np.int32]) -> NDArray[np.float32]:
        """Inner products of some queries with some documents, by row, float32 (U, M)."""
        left = np.asarray(self.queries[np.searchsorted(self.rows, queries)])
        found: NDArray[np.float32] = left @ np.asarray(self.docs[docs]).T
        return found


def guides(
    models: Mapping[str, Encoder], data: Collection, queries: NDArray[np.int32], cache: Path
) -> dict[str, Guide]:
    """Vectors of each model, encoded now or found in the cache.

    Args:
        models: by the name that filters read, as in ``InBatch() >> PositiveAware(by='guide')``.
        data: the collection.
        queries: rows that are trained on, ascending.
        cache: folder for vectors.
    """
    found = {}
    for name, model in models.items():
        tell = partial(_tell, name)
        asked = vectors(model, data.queries, "query", cache=cache, rows=queries, progress=tell)
        found[name] = Guide(queries, asked, vectors(model, data.corpus, "document", cache=cache, progress=tell))
    return found


def _tell(name: str, done: int, total: int) -> None:
    if done < total:
        log.info("encoding with %s: %s of %s texts", name, f"{done:,}", f"{total:,}")
