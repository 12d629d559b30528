"""`Bringer`: a contrast with documents from outside the batch, such as a memory bank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from foils.core.collection import Collection
from foils.core.errors import PipelineError, SpecError
from foils.core.spec import scheduled
from foils.train.batch import Batch
from foils.train.contrasts.contrast import Contrast
from foils.train.student import Student

if TYPE_CHECKING:
    from torch import Tensor

    from foils.train.carriers import Carrier
    from foils.train.losses import Loss


@dataclass(frozen=True, eq=False)
class Site:
    """Where a contrast works: what it is given when a run begins or goes on.

    Attributes:
        data: the collection.
        student: the model that is trained, at its start weights when the run begins.
        max_length: tokens that it sees of a text; None for all.
        seed: of the run.
        processes: how many there are.
        rank: which one this is.
        queries: rows of the queries that are trained on, ascending.
        docs: vectors of all documents where those stand, float32 (n, d); None where they are trained.
        cache: folder for vectors and indexes.
        known: all known positives of queries trained on, by row, int32 (n, P) padded with -1.
    """

    data: Collection
    student: Student
    max_length: int | None
    seed: int
    processes: int
    rank: int
    queries: NDArray[np.int32]
    docs: NDArray[np.float32] | None
    cache: Path
    known: Callable[[NDArray[np.int32]], NDArray[np.int32]] | None = None


class Bringer(Contrast):
    """A contrast that adds columns to a step. An author writes ``open`` and a `Carrier`."""

    encodes: ClassVar[bool] = False  # encodes further texts with gradient (`Step.encode`), as gradient caching cannot
    late: ClassVar[bool] = False  # its documents are made of what the other contrasts consider; see `Carrier.derive`

    def open(self, site: Site) -> Carrier:
        """What carries its documents through a run; called once, before the first step of this process.

        Import the carrier in here: a contrast is declared without loading PyTorch.
        """
        raise NotImplementedError

    def slow(self) -> tuple[float, ...]:
        """Decays of the moving averages of the weights that it reads through ``Step.slow``."""
        return ()

    def brings(self) -> tuple[str, ...]:
        """Score columns that it brings along, for the loss to read."""
        return ()

    def suits(self, loss: Loss) -> None:
        """Refuse a loss that would not give what this contrast is for.

        Raises:
            PipelineError: the loss does not read a column that is brought.
        """
        for name in self.brings():
            if name not in loss.reads():
                raise PipelineError(
                    f"{self!r} brings {name!r}, which {loss!r} does not read: InfoNCE(weight={name!r})."
                )

    def bringers(self) -> tuple[Bringer, ...]:
        """Itself."""
        return (self,)

    def frozen(self) -> tuple[str, ...]:
        """See `Contrast.frozen`."""
        return ()

    def members(self, batch: Batch) -> Tensor:
        """What it brought to this step and considers for each row."""
        found = batch.brought.get(self)
        return batch.own & False if found is None else found


def fixed(contrast: Bringer, *names: str) -> None:
    """Refuse schedules for numbers that cannot change while a run goes on, such as the size of a memory.

    Raises:
        SpecError: one of these fields is a schedule.
    """
    for name in names:
        value: Any = getattr(contrast, name)
        if scheduled(value):
            raise SpecError(f"{contrast!r}: {name} cannot change in training; write a number, not {value!r}.")
