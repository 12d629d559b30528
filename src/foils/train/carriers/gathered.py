"""The documents of the other processes, with gradient."""

from __future__ import annotations

import torch
from sentence_transformers.util import all_gather, all_gather_with_grad
from torch import Tensor
from torch.nn.functional import pad

from foils.train.carriers.carrier import Carrier
from foils.train.contrasts.bringer import Bringer
from foils.train.step import Brought, Step, nothing


class Gatherer(Carrier):
    """Gathers documents in the forward pass and hands their gradients back to their owners in the backward pass.

    Args:
        processes: how many there are.
        rank: which one this is.
    """

    def __init__(self, processes: int, rank: int) -> None:
        super().__init__()
        self.processes, self.rank = processes, rank

    def bring(self, contrast: Bringer, step: Step) -> Brought:
        """Documents that are in the step of another process and not in this one's, ascending, each once."""
        if self.processes == 1:
            return nothing(step)
        sizes = all_gather(step.doc.new_tensor([len(step.doc)])).tolist()
        widest = max(sizes)
        missing = widest - len(step.doc)
        doc = all_gather(pad(step.doc, (0, missing), value=-1))
        # As wide on every process, as a collective operation needs it; what is padded never gets a gradient.
        vectors = all_gather_with_grad(pad(step.docs, (0, 0, 0, missing)))
        chosen = self._elsewhere(doc, step.doc)
        everyone = chosen.new_ones((len(step.at), len(chosen)), dtype=torch.bool)
        return Brought(doc[chosen], vectors[chosen], everyone, fresh=True)

    def _elsewhere(self, doc: Tensor, own: Tensor) -> Tensor:
        """Where each document that others have and this process has not is found first, int64 (E,)."""
        distinct, place = torch.unique(doc, return_inverse=True)
        at = torch.arange(len(doc), device=doc.device)
        first = at.new_full((len(distinct),), len(doc)).scatter_reduce_(0, place, at, "amin")
        return first[(distinct >= 0) & ~torch.isin(distinct, own)]
