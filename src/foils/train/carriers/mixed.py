"""What `Mixed` makes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from foils.core import noise
from foils.train.batch import STUDENT, Batch
from foils.train.carriers.carrier import Carrier
from foils.train.contrasts.bringer import Bringer, Site
from foils.train.contrasts.mixed import Mixed
from foils.train.step import Brought, Report, Step, nothing


class Mixer(Carrier):
    """Makes negatives of those that a step has.

    Args:
        site: where it works.
    """

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site
        self._made = self._kept = 0

    @torch.no_grad()
    def derive(self, contrast: Bringer, step: Step, batch: Batch, allowed: Tensor) -> Brought:
        """Columns of the row they were made for, type by type."""
        assert isinstance(contrast, Mixed)
        assert batch.query_vectors is not None
        assert batch.doc_vectors is not None
        if step.number < contrast.start:
            return nothing(step)
        rows = len(step.at)
        queries, scores = batch.query_vectors[:rows].detach(), batch[STUDENT][:rows].detach()
        parents = Parents(self.site, step, batch.doc_vectors.detach(), scores, allowed[:rows], contrast.hardest)
        made = torch.cat(list(_made(contrast, queries, parents)), dim=1)
        count = made.shape[1]
        if not count:
            return nothing(step)
        members = parents.some.unsqueeze(1).expand(rows, count)
        if contrast.margin is not None:
            right = scores.gather(1, batch.target[:rows].unsqueeze(1)) - contrast.margin
            members = members & ((made * queries.unsqueeze(1)).sum(dim=2) <= right)
        self._made += int(parents.some.sum()) * count
        self._kept += int(members.sum())
        own = torch.eye(rows, dtype=torch.bool, device=made.device).repeat_interleave(count, dim=1)
        everyone = members.reshape(1, -1) & own
        # Rows without parents, and what came too close, need no columns.
        some = everyone.any(dim=0)
        doc = step.doc.new_full((int(some.sum()),), -1)
        return Brought(doc, made.reshape(rows * count, -1)[some], everyone[:, some])

    def report(self) -> Report:
        """The share of made vectors that stayed far enough below the positive, since the last report."""
        made, kept, self._made, self._kept = self._made, self._kept, 0, 0
        return {"mixed_kept": kept / made} if made else {}


class Parents:
    """The hardest allowed documents of each row, and draws from them.

    Args:
        site: has the seed and the ids.
        step: its number and its queries are the key of all draws.
        vectors: (N, d).
        scores: (B, N), the student's.
        allowed: bool (B, N).
        hardest: how many at most.

    Attributes:
        some: bool (B,), which rows have any.
    """

    def __init__(self, site: Site, step: Step, vectors: Tensor, scores: Tensor, allowed: Tensor, hardest: int) -> None:
        self.seed, self.number, self.vectors = site.seed, step.number, vectors
        self.keys = site.data.queries.keys[step.query[step.at].cpu().numpy()]
        ranked = scores.masked_fill(~allowed, float("-inf"))
        self.columns = ranked.topk(min(hardest, ranked.shape[1]), dim=1).indices
        self.sizes = allowed.sum(dim=1).clamp(max=self.columns.shape[1])
        self.some = self.sizes > 0

    def uniform(self, name: str, count: int) -> Tensor:
        """Draws in (0, 1), float (B, count), by name."""
        every = np.arange(count, dtype=np.uint64)[None, :]
        draws = noise.uniform(self.seed, f"mixed/{name}/{self.number}", self.keys[:, None], every)
        return torch.from_numpy(draws).to(self.vectors.device, self.vectors.dtype)

    def normal(self, name: str, count: int) -> Tensor:
        """Standard normal draws, (B, count, d), by Box and Muller's transformation."""
        dim = self.vectors.shape[1]
        one, two = (self.uniform(f"{name}/{part}", count * dim).view(-1, count, dim) for part in "ab")
        return (-2 * one.log()).sqrt() * (2 * torch.pi * two).cos()

    def draw(self, name: str, count: int) -> Tensor:
        """Vectors of parents, with replacement, (B, count, d); those of a row without any mean nothing."""
        places = (self.uniform(name, count) * self.sizes.unsqueeze(1)).long()
        places = torch.minimum(places, (self.sizes - 1).clamp(min=0).unsqueeze(1))
        return self.vectors[self.columns.gather(1, places)]


def _made(contrast: Mixed, queries: Tensor, parents: Parents) -> list[Tensor]:
    """Each type's vectors, (B, its number, d), at their parents' length."""
    query = queries.unsqueeze(1)
    made = []
    if contrast.interpolate:
        parent = parents.draw("1", contrast.interpolate)
        share = contrast.alpha * parents.uniform("1/share", contrast.interpolate).unsqueeze(2)
        made.append(_as_long(share * query + (1 - share) * parent, parent))
    if contrast.extrapolate:
        parent = parents.draw("2", contrast.extrapolate)
        reach = 1 + (contrast.beta - 1) * parents.uniform("2/share", contrast.extrapolate).unsqueeze(2)
        made.append(_as_long(query + reach * (parent - query), parent))
    if contrast.pairs:
        parent, other = parents.draw("3", contrast.pairs), parents.draw("3/other", contrast.pairs)
        share = parents.uniform("3/share", contrast.pairs).unsqueeze(2)
        made.append(_as_long(share * parent + (1 - share) * other, parent, other))
    if contrast.noisy:
        parent = parents.draw("4", contrast.noisy)
        made.append(_as_long(parent + contrast.sigma * parents.normal("4/noise", contrast.noisy), parent))
    if contrast.gradient:
        parent = parents.draw("5", contrast.gradient)
        made.append(_as_long(parent + contrast.delta * query, parent))
    if contrast.sign:
        parent = parents.draw("6", contrast.sign)
        made.append(_as_long(parent + contrast.eta * query.sign(), parent))
    return made or [queries[:, None][:, :0]]


def _as_long(made: Tensor, *parents: Tensor) -> Tensor:
    length = torch.stack([parent.norm(dim=2, keepdim=True) for parent in parents]).mean(dim=0)
    return nn.functional.normalize(made, dim=2) * length
