"""Score many (query, document) pairs with a cross-encoder: each distinct pair once, in order of length, remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foils.adapters.protocols import UNCACHED, Reranker
from foils.adapters.score_store import Keys, ScoreStore, keys_of
from foils.adapters.sentence import CrossEncoderScorer

CHUNK = 2048  # pairs; what a kill loses at most

Rows = NDArray[np.integer]
Progress = Callable[[int, int], None]


class Queue:
    """Scores pairs of texts with one model.

    Pairs are told apart by their texts. What was scored before by the same weights and settings is read from the disk;
    the rest is scored longest first, in chunks that are kept as soon as they are done, so that a killed run goes on
    where it was. A calibration is applied afterwards: another one needs no new scores, nor do log-odds in place of
    probabilities. Of a model that cannot tell its weights nothing is kept.

    A score may differ in its last bits when its pair is read among others, as with any padded batch; what was kept
    comes back to the bit.

    Args:
        model: the cross-encoder.
        cache: folder for stored scores.
    """

    def __init__(self, model: Reranker, cache: Path) -> None:
        self.model = model
        self.asked = self.read = 0
        self._own = model if isinstance(model, CrossEncoderScorer) else None
        self._score = model.score if self._own is None else self._own.raw
        fingerprint = model.fingerprint if self._own is None else self._own.raw_fingerprint
        self._store = None if fingerprint.startswith(UNCACHED) else ScoreStore(cache, fingerprint)

    def score(
        self, queries: Sequence[str], docs: Sequence[str], at: tuple[Rows, Rows], progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Scores of pairs, float32 (n,); those that are no number come back, but are not kept.

        Args:
            queries: texts.
            docs: texts.
            at: places of each pair in ``queries`` and ``docs``, (n,) each.
            progress: called with (pairs scored, pairs to score) after each chunk.

        Raises:
            StoreError: stored scores that foils did not leave so.
        """
        pairs = np.stack([keys_of(queries)[at[0]], keys_of(docs)[at[1]]], axis=1)
        distinct, first, place = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
        left, right = distinct[:, 0], distinct[:, 1]
        values = np.full(len(distinct), np.nan, np.float32)
        if self._store is not None:
            values = self._store.find(left, right)
        self._fill(values, (left, right), (queries, docs), (at[0][first], at[1][first]), progress)
        if self._own is not None:
            values = self._own.finish(values)
        return values[place.reshape(-1)]

    def _fill(
        self,
        values: NDArray[np.float32],
        keys: tuple[Keys, Keys],
        texts: tuple[Sequence[str], Sequence[str]],
        at: tuple[Rows, Rows],
        progress: Progress | None,
    ) -> None:
        """Score the pairs whose value is NaN."""
        missing = np.flatnonzero(np.isnan(values))
        self.asked += len(values)
        self.read += len(values) - len(missing)
        sizes = [np.array([len(text) for text in side], np.int64)[rows] for side, rows in zip(texts, at, strict=True)]
        queue = missing[np.argsort(-(sizes[0] + sizes[1])[missing], kind="stable")]
        for start in range(0, len(queue), CHUNK):
            chunk = queue[start : start + CHUNK]
            queries = [texts[0][i] for i in at[0][chunk].tolist()]
            docs = [texts[1][i] for i in at[1][chunk].tolist()]
            values[chunk] = self._score(queries, docs)
            if self._store is not None:
                fine = chunk[np.isfinite(values[chunk])]
                self._store.add(keys[0][fine], keys[1][fine], values[fine])
            if progress is not None:
                progress(start + len(chunk), len(queue))
