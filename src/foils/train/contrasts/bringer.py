"""`Bringer`: a contrast with documents from outside the batch, such as a memory bank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foils.adapters.protocols import Encoder
from foils.core.collection import Collection
from foils.train.batch import Batch
from foils.train.contrasts.contrast import Contrast
from foils.train.student import Student

if TYPE_CHECKING:
    from torch import Tensor

    from foils.train.carriers import Carrier


@dataclass(frozen=True, eq=False)
class Site:
    """Where a contrast works: what it is given when a run begins or goes on.

    Attributes:
        data: the collection.
        student: the model that is trained, at its start weights when the run begins.
        max_length: tokens that it sees of a text; None for all.
        rows: training rows of a batch, at most.
        seed: of the run.
        processes: how many there are.
        rank: which one this is.
        models: other models by name.
        cache: folder for vectors and indexes.
    """

    data: Collection
    student: Student
    max_length: int | None
    rows: int
    seed: int
    processes: int
    rank: int
    models: Mapping[str, Encoder]
    cache: Path


class Bringer(Contrast):
    """A contrast that adds columns to a step. An author writes ``open`` and a `Carrier`."""

    def open(self, site: Site) -> Carrier:
        """What carries its documents through a run; called once, before the first step of this process.

        Import the carrier in here: a contrast is declared without loading PyTorch.
        """
        raise NotImplementedError

    def slow(self) -> tuple[float, ...]:
        """Decays of the moving averages of the weights that it reads through ``Step.slow``."""
        return ()

    def bringers(self) -> tuple[Bringer, ...]:
        """Itself."""
        return (self,)

    def members(self, batch: Batch) -> Tensor:
        """What it brought to this step and considers for each row."""
        found = batch.brought.get(self)
        return batch.own & False if found is None else found
