"""Which training rows form a batch.

An epoch is planned ahead as a list of batches that every process can compute by itself: equal on every rank and of
exact length, so that no rank waits for a batch that another one never got.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foils.core import noise
from foils.core.errors import DataError
from foils.core.spec import Declared, Kind, declare
from foils.train.rows import Rows


class Batches(Declared):
    """How rows are grouped. An author writes ``order``; consecutive rows become a batch."""

    role: ClassVar[Kind] = "batches"

    def order(self, rows: Rows, seed: int, epoch: int) -> NDArray[np.int64]:
        """Every row once, int64 (n,)."""
        raise NotImplementedError


@declare
class Shuffled(Batches):
    """Rows in random order, another one each epoch, keyed by (seed, epoch, query id, document id)."""

    def order(self, rows: Rows, seed: int, epoch: int) -> NDArray[np.int64]:
        """Sort by a hash; the order in which rows are stored does not matter."""
        draws = noise.bits(seed, f"Shuffled/{epoch}", rows.keys, np.zeros(1, np.uint64))
        return np.lexsort((rows.keys, draws)).astype(np.int64)


def cut(order: NDArray[np.int64], size: int, processes: int) -> list[NDArray[np.int64]]:
    """Cut an order into batches; their number is a multiple of the number of processes.

    Round by round, each process gets one batch of ``size`` rows. What is left for the last round is shared evenly; if
    it is too little for one row per process, it is left out (another few rows each epoch).

    >>> [batch.tolist() for batch in cut(np.arange(7), 2, 2)]
    [[0, 1], [2, 3], [4, 5], [6]]
    """
    whole = len(order) // (size * processes) * (size * processes)
    batches = [order[start : start + size] for start in range(0, whole, size)]
    rest = order[whole:]
    return batches + (np.array_split(rest, processes) if len(rest) >= processes else [])


def count(rows: int, size: int, processes: int) -> int:
    """How many batches `cut` makes of that many rows."""
    rounds, rest = divmod(rows, size * processes)
    return (rounds + (rest >= processes)) * processes


class Plan:
    """The batches of the current epoch, as PyTorch's data loader wants them.

    Args:
        batches: how rows are grouped.
        rows: the training rows.
        size: rows per batch and process.
        seed: of the order.
        processes: how many processes share an epoch; batch i goes to process ``i % processes``.

    Raises:
        DataError: there are fewer rows than processes.
    """

    drop_last = False

    def __init__(self, batches: Batches, rows: Rows, size: int, seed: int, processes: int = 1) -> None:
        if len(rows) < processes:
            raise DataError(f"{len(rows)} training rows are too few for {processes} processes. Start fewer of them.")
        self.batches, self.rows, self.batch_size = batches, rows, size
        self.seed, self.processes = seed, processes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return count(len(self.rows), self.batch_size, self.processes)

    def __iter__(self) -> Iterator[list[int]]:
        order = self.batches.order(self.rows, self.seed, self.epoch)
        for batch in cut(order, self.batch_size, self.processes):
            yield batch.tolist()
