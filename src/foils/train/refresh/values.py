"""When to mine again: values for ``refresh:`` of a recipe. Nothing here needs PyTorch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from foils.core.declared import Declared, Kind, declare, require

Encode = Literal["all", "queries", "pool"]


class Refresh(Declared):
    """When negatives are mined again, and what of it is computed anew.

    Attributes:
        waits: whether training waits until the new negatives are there.
    """

    role: ClassVar[Kind] = "refresh"
    waits: ClassVar[bool] = True
    encode: Encode = "all"  # what is encoded with the new weights
    share: float = 0.15  # of the documents that 'pool' encodes
    missed: float = 0.05  # of the lists that may be missed, by estimate; above it, everything is encoded
    chunks: int = 1  # generations until every query was mined for once
    keep: int = 2  # generations whose checkpoints stay, to go back to

    def due(self, steps: int, steps_per_epoch: int) -> tuple[int, ...]:
        """After how many steps the weights are to be mined with, ascending, above 0 and below ``steps``.

        Args:
            steps: optimiser steps of the run.
            steps_per_epoch: of an epoch.
        """
        return ()

    def check(self) -> None:
        """Bounds that all share."""
        require(self.chunks >= 1, self, "chunks", "at least 1")
        require(0 < self.share <= 1, self, "share", "above 0, at most 1")
        require(0 <= self.missed <= 1, self, "missed", "between 0 and 1")
        require(self.keep >= 1, self, "keep", "at least 1")


@declare
class Never(Refresh):
    """The negatives that were mined before training are used to its end."""


@declare
class Every(Refresh):
    """Again and again; training waits meanwhile, so that the result depends on nothing but inputs and seed.

    Negatives that the model finds hard at one time are easy for it a while later (Xiong et al. 2021, ANCE,
    arXiv:2007.00808, section 3). With ``chunks`` each generation mines for one share of the queries in turn, as ANCE
    does with its ``ann_chunk_factor`` of 5; the others keep the lists they have.

    What is encoded with the new weights (queries always):

    - ``all`` documents.
    - ``queries``: no document, as ADORE (Zhan et al. 2021, arXiv:2104.08051, section 4.2) does throughout; 2 % of them
      are encoded for the estimate alone.
    - ``pool``: a ``share`` of the documents, half of it those that stand highest in most lists and half at random. The
      others are moved as those have moved, by a linear map.

    The first generation encodes everything. Later ones estimate from the random documents what share of the lists they
    miss (in the manifest, with a 95 % interval); beyond ``missed`` they encode everything after all.
    """

    steps: int | None = None  # optimiser steps between two generations
    epochs: float | None = None  # or passes over the training rows
    encode: Encode = "all"  # what is encoded with the new weights
    share: float = 0.15  # of the documents that 'pool' encodes
    missed: float = 0.05  # of the lists that may be missed, by estimate; above it, everything is encoded
    chunks: int = 1  # generations until every query was mined for once
    keep: int = 2  # generations whose checkpoints stay, to go back to

    def check(self) -> None:
        """One of steps and epochs."""
        super().check()
        _spaced(self, self.steps, self.epochs)

    def due(self, steps: int, steps_per_epoch: int) -> tuple[int, ...]:
        """Multiples of the distance, rounded to whole steps."""
        return _multiples(self.steps or (self.epochs or 1) * steps_per_epoch, steps)


@declare
class At(Refresh):
    """At given times of training; training waits meanwhile, as with `Every`."""

    times: tuple[float, ...]  # progress of training, ascending, above 0 and below 1
    encode: Encode = "all"
    share: float = 0.15
    missed: float = 0.05
    chunks: int = 1
    keep: int = 2

    def check(self) -> None:
        """Order of the times."""
        super().check()
        ascending = all(a < b for a, b in zip(self.times, self.times[1:], strict=False))
        inside = all(0 < time < 1 for time in self.times)
        require(bool(self.times) and ascending and inside, self, "times", "ascending, above 0 and below 1")

    def due(self, steps: int, steps_per_epoch: int) -> tuple[int, ...]:
        """The nearest whole steps."""
        return _within((round(time * steps) for time in self.times), steps)


@declare
class Alongside(Refresh):
    """A second process mines with the newest checkpoint while training goes on with older negatives.

    ANCE (Xiong et al. 2021, arXiv:2007.00808, section 4). Training takes up a generation at the first step that begins
    after it is complete; how many steps its weights are behind is logged as staleness. Since that depends on the speed
    of both, two runs are not the same; `Every` is. The trainer starts the second process, or waits for nobody:
    ``foils mine --watch RUN`` may run on another machine or accelerator that sees the folder.
    """

    steps: int | None = None  # optimiser steps between two checkpoints for the second process
    epochs: float | None = None  # or passes over the training rows
    miner: Literal["started", "elsewhere"] = "started"  # who starts the second process: the trainer, or you
    encode: Encode = "all"
    share: float = 0.15
    missed: float = 0.05
    chunks: int = 1
    keep: int = 2

    waits: ClassVar[bool] = False

    def check(self) -> None:
        """One of steps and epochs."""
        super().check()
        _spaced(self, self.steps, self.epochs)

    def due(self, steps: int, steps_per_epoch: int) -> tuple[int, ...]:
        """When a checkpoint is written."""
        return _multiples(self.steps or (self.epochs or 1) * steps_per_epoch, steps)


def _spaced(value: Refresh, steps: int | None, epochs: float | None) -> None:
    require(steps is None or steps >= 1, value, "steps", "at least 1")
    require(epochs is None or epochs > 0, value, "epochs", "above 0")
    require((steps is None) != (epochs is None), value, "steps", "given, or epochs, and not both")


def _multiples(distance: float, steps: int) -> tuple[int, ...]:
    return _within((round(distance * turn) for turn in range(1, int(steps / distance) + 1)), steps)


def _within(found: Iterable[int], steps: int) -> tuple[int, ...]:
    return tuple(sorted({step for step in found if 0 < step < steps}))
