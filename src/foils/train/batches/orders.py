"""`Batches`: the order of the rows in an epoch, and how it is cut.

Every row is in an order once. Consecutive rows become a batch, so an order that means its batches is made for the sizes
that they will have (`Ground.sizes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foils.adapters.protocols import Encoder
from foils.core import noise
from foils.core.collection import Collection
from foils.core.spec import Declared, Kind, declare
from foils.train.rows import Rows

Orders = Callable[[int], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Ground:
    """What batches are made of.

    Attributes:
        rows: the training rows, with the negatives that they have when the run begins.
        size: rows per batch and process.
        seed: of every draw.
        processes: how many processes share an epoch.
        limit: mined negatives that a row uses in an epoch, at most; None for all.
        data: the collection; None where a test needs none.
        models: bi-encoders by name; ``student`` is the model that is trained, at its start weights.
        cache: folder for vectors.
    """

    rows: Rows
    size: int
    seed: int
    processes: int = 1
    limit: int | None = None
    data: Collection | None = None
    models: Mapping[str, Encoder] = field(default_factory=dict)
    cache: Path | None = None

    def sizes(self) -> NDArray[np.int64]:
        """Rows of each batch of an epoch, int64 (batches,)."""
        return sizes(len(self.rows), self.size, self.processes)


class Batches(Declared):
    """How rows are grouped. An author writes ``order``, or ``open`` where an order needs more than the rows.

    Every order is a pure function of the seed, the epoch and the external ids; how rows are stored does not matter.
    """

    role: ClassVar[Kind] = "batches"

    def order(self, rows: Rows, seed: int, epoch: int) -> NDArray[np.int64]:
        """Every row once, int64 (n,); consecutive rows become a batch."""
        raise NotImplementedError

    def open(self, ground: Ground) -> Orders:
        """The orders, by epoch; called once, before the first step, when the student is at its start weights."""
        return partial(self.order, ground.rows, ground.seed)

    def encoders(self) -> tuple[str, ...]:
        """Names of the bi-encoders that it reads."""
        return ()


@declare
class Shuffled(Batches):
    """Rows in random order, another one each epoch, keyed by (seed, epoch, query id, document id)."""

    def order(self, rows: Rows, seed: int, epoch: int) -> NDArray[np.int64]:
        """Sort by a hash; the order in which rows are stored does not matter."""
        return np.lexsort((rows.keys, draws(seed, f"Shuffled/{epoch}", rows.keys))).astype(np.int64)


def draws(seed: int, stream: str, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """64 random bits for each key."""
    return noise.bits(seed, stream, keys, np.zeros(1, np.uint64))


def sizes(rows: int, size: int, processes: int) -> NDArray[np.int64]:
    """How many rows each batch of an epoch has, int64 (batches,); their number is a multiple of the processes.

    Round by round, each process gets one batch of ``size`` rows. What is left for the last round is shared evenly; if
    it is too little for one row per process, it is left out (another few rows each epoch).

    >>> sizes(7, 2, 2).tolist(), sizes(5, 2, 2).tolist()
    ([2, 2, 2, 1], [2, 2])
    """
    rounds, rest = divmod(rows, size * processes)
    whole = np.full(rounds * processes, size, np.int64)
    if rest < processes:
        return whole
    return np.concatenate((whole, rest // processes + (np.arange(processes) < rest % processes)))


def cut(order: NDArray[np.int64], size: int, processes: int) -> list[NDArray[np.int64]]:
    """Cut an order into batches; see `sizes`.

    >>> [batch.tolist() for batch in cut(np.arange(7), 2, 2)]
    [[0, 1], [2, 3], [4, 5], [6]]
    """
    ends = np.cumsum(sizes(len(order), size, processes))
    return [order[end - length : end] for end, length in zip(ends, np.diff(ends, prepend=0), strict=True)]


def count(rows: int, size: int, processes: int) -> int:
    """How many batches `cut` makes of that many rows."""
    rounds, rest = divmod(rows, size * processes)
    return (rounds + (rest >= processes)) * processes
