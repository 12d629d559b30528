"""`Carrier`: the running state of a contrast that brings documents."""

from __future__ import annotations

from torch import Tensor, nn

from foils.train.batch import Batch
from foils.train.contrasts.bringer import Bringer
from foils.train.step import Brought, Report, Step


class Carrier(nn.Module):
    """The running state of a `Bringer`. Buffers and parameters are saved with checkpoints and come back on resumption.

    No submodule may be called ``model``: sentence-transformers puts the wrapped student in the place of those.
    """

    def bring(self, contrast: Bringer, step: Step) -> Brought:
        """Documents for this step.

        Args:
            contrast: the contrast with its scheduled numbers as they are at this step.
            step: the step; vectors with gradient.
        """
        raise NotImplementedError

    def derive(self, contrast: Bringer, step: Step, batch: Batch, allowed: Tensor) -> Brought:
        """Documents made of what the other contrasts consider; called in place of ``bring`` if the contrast is `late`.

        Args:
            contrast: as for ``bring``.
            step: the step.
            batch: with all columns that others brought, without gradient.
            allowed: bool (B, N), the negatives of each row without this contrast's.
        """
        raise NotImplementedError

    def after(self, contrast: Bringer, step: Step) -> None:
        """Once the loss of the step is known: remember what is to be remembered. Vectors are detached."""

    def report(self) -> Report:
        """What to log, such as the staleness of what it holds; reset by the call."""
        return {}
