"""What all encoders share: batches of texts of like length, and the check of what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foils.adapters.protocols import Kind
from foils.core.errors import ModelError


def batches(lengths: NDArray[np.integer], budget: int) -> Iterator[NDArray[np.int64]]:
    """Rows in batches that waste little padding: sorted by length, longest first, ``budget`` padded units each.

    Args:
        lengths: int (n,), of each text, in tokens or whatever costs.
        budget: a batch's number of texts times its longest length stays within it, one text excepted.

    >>> [batch.tolist() for batch in batches(np.array([1, 6, 2, 3]), budget=6)]
    [[1], [3, 2], [0]]
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, int(lengths[order[start]])))
        yield order[start : start + size]
        start += size


def checked(vectors: ArrayLike, texts: Sequence[str], dim: int | None, name: str, kind: Kind) -> NDArray[np.float32]:
    """The vectors as float32 (len(texts), dim), or `ModelError` where they are not finite or not of that shape.

    Args:
        vectors: what a model returned.
        texts: what it was given.
        dim: expected length of a vector; None for any.
        name: of the model, for the message.
        kind: of the texts, for the message.
    """
    array = np.asarray(vectors, np.float32)
    if array.ndim != 2 or len(array) != len(texts) or (dim is not None and array.shape[1] != dim):
        wanted = f"({len(texts)}, {'dim' if dim is None else dim})"
        raise ModelError(f"{name}: vectors of shape {array.shape} for {len(texts)} texts; expected {wanted}.")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        first = " ".join(texts[bad[0]].split())[:80]
        message = f"{name}: {len(bad):,} of {len(texts):,} {kind} vectors are NaN or infinite, the first of {first!r}."
        raise ModelError(f"{message} Load the model in float32, or check its weights.")
    return array
