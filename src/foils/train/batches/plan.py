"""`Plan`: the batches of an epoch, planned ahead.

Every process computes the list by itself: equal on every rank and of exact length, so that no rank waits for a batch
that another one never got.
"""

from __future__ import annotations

from collections.abc import Iterator

from foils.core.errors import DataError
from foils.train.batches.orders import Batches, Ground, count, cut


class Plan:
    """The batches of the current epoch, as PyTorch's data loader wants them.

    Args:
        batches: how rows are grouped.
        ground: of what; with several processes, batch i goes to process ``i % processes``.

    Attributes:
        rows: the training rows; others of the same queries and positives may take their place while a run goes on, but
            orders are made of those that it began with, so that a run that is resumed has the same.

    Raises:
        DataError: there are fewer rows than processes.
    """

    drop_last = False

    def __init__(self, batches: Batches, ground: Ground) -> None:
        if len(ground.rows) < ground.processes:
            raise DataError(
                f"{len(ground.rows)} training rows are too few for {ground.processes} processes. Start fewer of them."
            )
        self.batches, self.rows, self.batch_size = batches, ground.rows, ground.size
        self.seed, self.processes = ground.seed, ground.processes
        self.orders = batches.open(ground)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return count(len(self.rows), self.batch_size, self.processes)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in cut(self.orders(self.epoch), self.batch_size, self.processes):
            yield batch.tolist()
