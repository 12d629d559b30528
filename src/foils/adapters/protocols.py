"""What foils asks of models and indexes. Anything with these attributes will do; nothing need be inherited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Kind = Literal["query", "document"]
Scale = Literal["probability", "logit"]

Found = tuple[NDArray[np.int32], NDArray[np.float32]]
"""Rows (queries, k), padded with -1, and their scores, padded with ``-inf``."""

UNCACHED = "uncached:"
"""How the fingerprint of a model begins that cannot tell its weights; such a fingerprint is new at every call, so that
nothing is ever found under it. `foils.adapters.vectors.vectors` keeps nothing for it."""


class Readable(Protocol):
    """Texts by row number: `foils.core.texts.Texts`, or anything with these attributes."""

    @property
    def fingerprint(self) -> str:
        """Of the texts in row order."""

    def __len__(self) -> int:
        """Number of rows."""

    def texts(self, rows: ArrayLike | None = None) -> list[str]:
        """The texts of rows; all by default."""


class Encoder(Protocol):
    """A bi-encoder: texts to vectors whose inner product says how close they are; higher is closer, always."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def fingerprint(self, kind: Kind) -> str:
        """Of all that vectors of this kind depend on: weights, tokenizer, prompt, maximum length, pooling, dtype.

        Two encoders with the same fingerprint give the same vectors, whatever they are called.
        """

    def encode(self, texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        """Vectors of texts, float32 (len(texts), dim), finite."""


class Reranker(Protocol):
    """A cross-encoder: (query, document) pairs to scores; higher is more relevant."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def scale(self) -> Scale:
        """What the scores are: within 0 to 1, or unbounded."""

    @property
    def fingerprint(self) -> str:
        """Of all that scores depend on."""

    def score(self, queries: Sequence[str], docs: Sequence[str]) -> NDArray[np.float32]:
        """Score of ``queries[i]`` with ``docs[i]``, float32 (n,), finite."""


class Index(Protocol):
    """Nearest documents by inner product."""

    def search(self, vectors: NDArray[np.float32], k: int) -> Found:
        """The k best documents of each query.

        Args:
            vectors: float32 (queries, dim).
            k: at least 1; may exceed the number of documents.

        Returns:
            Rows int32 and scores float32, (queries, k) each: score descending, then row ascending; padded with -1 and
            ``-inf``. A row is never repeated.
        """
