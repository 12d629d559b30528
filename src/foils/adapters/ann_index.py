"""What all approximate indexes share: they propose rows, and the canonical score decides.

A library's own scores are rounded or quantised and depend on it; so they only choose candidates. These are scored
again by `foils.adapters.exact.pair_scores`, so whatever an index returns has the score that exact search gives it, in
the same order. How many are proposed is fixed by the settings, not by ``k``: the first columns of a result never depend
on how many were asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foils.adapters.ann_rescoring import longest, rescored
from foils.adapters.ann_settings import Settings
from foils.adapters.protocols import Found
from foils.core.errors import ModelError, StoreError

Vectors = NDArray[Any]
Done = Literal["nothing", "re-added", "rebuilt", "rebalanced"]

_BLOCK = 1024  # queries proposed for at a time
_ROWS = "rows.npy"


class Approximate(ABC):
    """An index over some rows of a matrix of document vectors.

    Attributes:
        settings: derived ones; those that only matter while searching may be replaced (`searching_with`).
        docs: vectors of all documents, (n, dim), may be memory-mapped; read for re-scoring.
        rows: int32, ascending, the rows that can be found; all at first.
    """

    def __init__(self, settings: Any, docs: Vectors, folder: Path | None = None) -> None:
        """Build over all of ``docs``, or load what `save` left in ``folder``."""
        self.settings, self.docs = settings, docs
        self.rows = np.arange(len(docs), dtype=np.int32)
        self._longest: float | None = None
        if folder is None:
            self._build()
            return
        try:
            self.rows = np.load(folder / _ROWS, allow_pickle=False)
            self._load(folder)
        except (OSError, ValueError, RuntimeError) as error:
            raise StoreError(f"{folder}: an index that cannot be read ({error}). Delete the folder.") from error

    @abstractmethod
    def _build(self) -> None:
        """Index ``docs[rows]``."""

    @abstractmethod
    def _load(self, folder: Path) -> None:
        """Read what ``_save`` wrote."""

    @abstractmethod
    def _save(self, folder: Path) -> None:
        """Write the index."""

    @abstractmethod
    def _propose(self, queries: NDArray[np.float32], fetch: int) -> NDArray[np.int64]:
        """Candidate rows of each query, (queries, fetch), distinct, padded with -1."""

    @abstractmethod
    def _update(self, changed: NDArray[np.int32], gone: NDArray[np.int32], before: NDArray[np.int32]) -> Done:
        """Index the ``changed`` of ``rows``; of the rows ``before``, those ``gone`` have entries that hold no more."""

    def save(self, folder: Path) -> None:
        """Write the index into an empty folder; vectors stay where they are."""
        np.save(folder / _ROWS, self.rows)
        self._save(folder)

    def searching_with(self, settings: Settings) -> None:
        """Search with other efforts; the built index stays.

        Raises:
            ValueError: the settings ask for an index built otherwise.
        """
        if settings.build() != self.settings.build() or type(settings) is not type(self.settings):
            raise ValueError(f"{settings} is another index than {self.settings}; build that.")
        self.settings = settings

    def search(self, vectors: Vectors, k: int) -> Found:
        """The k best of the documents that the index proposes; see `foils.adapters.protocols.Index`.

        At most ``settings.fetch`` documents come back for a query, whatever k.
        """
        dim = self.docs.shape[1]
        if vectors.ndim != 2 or vectors.shape[1] != dim:
            raise ValueError(f"query vectors of shape {vectors.shape}; expected (queries, {dim}).")
        if k < 1:
            raise ValueError(f"k={k}; expected at least 1.")
        rows = np.full((len(vectors), k), -1, np.int32)
        scores = np.full((len(vectors), k), -np.inf, np.float32)
        fetch = min(self.settings.fetch, len(self.rows))
        if self._longest is None:
            self._longest = longest(self.docs)
        for start in range(0, len(vectors) if fetch else 0, _BLOCK):
            part = slice(start, start + _BLOCK)
            queries = np.ascontiguousarray(vectors[part], np.float32)
            if not np.isfinite(queries).all():
                raise ModelError("query vectors are NaN or infinite. Encode again, or check the model that made them.")
            rows[part], scores[part] = rescored(queries, self.docs, self._propose(queries, fetch), k, self._longest)
        return rows, scores

    def update(self, docs: Vectors, changed: ArrayLike = (), removed: ArrayLike = ()) -> Done:
        """Follow a collection whose vectors moved: no row number changes its meaning.

        Args:
            docs: the vectors of all documents now, (n', dim) with n' at least as many as before.
            changed: rows with another vector, or new ones.
            removed: rows that are not to be found any more.

        Returns:
            What was done: ``re-added`` to the old cells, ``rebalanced`` (ScaNN trained anew), ``rebuilt`` from scratch.
        """
        moved = np.unique(np.asarray(changed, np.int32))
        away = np.setdiff1d(np.asarray(removed, np.int32), moved)
        everything = np.concatenate([moved, away])
        if docs.shape[1:] != self.docs.shape[1:] or len(docs) < len(self.docs):
            raise ValueError(f"vectors of shape {docs.shape}; expected at least {self.docs.shape}.")
        if len(everything) and not 0 <= everything.min() <= everything.max() < len(docs):
            raise IndexError(f"rows {everything.min()} to {everything.max()} of {len(docs)} documents")
        gone = np.intersect1d(self.rows, everything)
        self.docs, self._longest = docs, None
        if not len(moved) and not len(gone):
            return "nothing"
        before, self.rows = self.rows, np.union1d(np.setdiff1d(self.rows, away), moved).astype(np.int32)
        return self._update(moved, gone, before)

    def _rebuilt(self) -> Done:
        self._build()
        return "rebuilt"
