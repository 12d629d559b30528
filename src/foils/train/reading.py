"""From row numbers to what a model's forward pass takes: text is read and tokenised here and nowhere earlier."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.protocols import Kind
from foils.adapters.routes import side
from foils.core.ragged import spans
from foils.core.texts import Texts
from foils.train.student import Student

KEPT = 1 << 26  # tokens of a side that are remembered, 256 MB
_FIRST = 1 << 20


class Reader:
    """Reads the queries or the documents of a collection for a student.

    A static model does so little with a text that tokenising it again in each epoch would take most of the time. So its
    tokens are remembered, up to a bound; then remembering starts afresh.

    Args:
        student: the model.
        texts: one side of the collection.
        kind: which side.
        max_length: tokens that a transformer sees of a text, at most; None for its own limit.
    """

    def __init__(self, student: Student, texts: Texts, kind: Kind, max_length: int | None) -> None:
        self.student, self.texts, self.kind, self.max_length = student, texts, kind, max_length
        self._static = type(side(student.model, kind)[0]).__name__ == "StaticEmbedding"
        self._tokens = _Tokens(len(texts) if self._static else 0)

    def features(self, rows: NDArray[np.int32]) -> dict[str, Any]:
        """Features of the texts in these rows, on the CPU."""
        if self._static:
            return self._remembered(rows)
        return self.student.features(self.texts.texts(rows), self.kind, self.max_length)

    def _remembered(self, rows: NDArray[np.int32]) -> dict[str, Any]:
        import torch

        if self._tokens.used > KEPT:
            self._tokens = _Tokens(len(self.texts))
        new = rows[~self._tokens.has(rows)]
        if len(new):
            made = self.student.features(self.texts.texts(new), self.kind, None)
            self._tokens.add(new, made["input_ids"].numpy(), made["offsets"].numpy())
        tokens, offsets = self._tokens.take(rows)
        return {
            "input_ids": torch.from_numpy(tokens),
            "offsets": torch.from_numpy(offsets),
            **self.student.route(self.kind),
        }


class _Tokens:
    """Tokens of rows in one growing array; small arrays by the thousand would fragment the heap beneath PyTorch."""

    def __init__(self, rows: int) -> None:
        self.used = 0
        self._values = np.empty(_FIRST, np.int32)
        self._starts, self._sizes = np.full(rows, -1, np.int64), np.zeros(rows, np.int64)

    def has(self, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which rows are known."""
        return self._starts[rows] >= 0

    def add(self, rows: NDArray[np.int32], values: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
        """Remember rows, whose tokens lie one after the other from these offsets on."""
        end = self.used + len(values)
        if end > len(self._values):
            self._values = np.concatenate((self._values[: self.used], np.empty(max(end, self.used), np.int32)))
        self._values[self.used : end] = values
        self._starts[rows] = self.used + offsets
        self._sizes[rows] = np.diff(offsets, append=len(values))
        self.used = end

    def take(self, rows: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The tokens of rows, one after the other, and where each row begins."""
        sizes = self._sizes[rows]
        owner, within = spans(sizes)
        values = self._values[self._starts[rows][owner] + within].astype(np.int64)
        return values, np.cumsum(sizes) - sizes
