"""`Carrier`: the running state of a contrast that brings documents."""

from __future__ import annotations

from torch import nn

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

    def after(self, contrast: Bringer, step: Step) -> None:
        """Once the loss of the step is known: remember what is to be remembered. Vectors are detached."""

    def report(self) -> Report:
        """What to log, such as the staleness of what it holds; reset by the call."""
        return {}
