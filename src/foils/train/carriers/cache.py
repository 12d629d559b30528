"""What a `NegativeCache` holds and draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foils.core import noise
from foils.train.carriers.carrier import Carrier
from foils.train.contrasts.bringer import Bringer, Site
from foils.train.contrasts.cache import NegativeCache
from foils.train.step import Brought, Report, Step, nothing

_NEVER = float("-inf")
_MOST = 80.0  # logarithm of the largest weight; the exponential of 89 is no float32
_CHUNK = 256  # documents that are encoded at a time to fill the cache


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a step drew.

    Attributes:
        place: int64 (E,), distinct places in the cache, ascending.
        times: int64 (B, E), how often each row drew each.
        mass: float (B,), logarithm of the row's sum of ``exp(ŝ)``.
    """

    place: Tensor
    times: Tensor
    mass: Tensor


class Cache(Carrier):
    """Documents with the vector and the time of their last encoding.

    Args:
        contrast: the cache as declared.
        site: where it works.

    Attributes:
        doc: int64 (size,), rows; -1 for an empty place.
        vectors: float32 (size, dim).
        time: int64 (size,), when each was last encoded (``fifo``: came in); -1 for an empty place.
        clock: int64 (), calls of ``after``; -1 before the cache was filled.
    """

    doc: Tensor
    vectors: Tensor
    time: Tensor
    clock: Tensor

    def __init__(self, contrast: NegativeCache, site: Site) -> None:
        super().__init__()
        self.site = site
        self.register_buffer("doc", torch.full((contrast.size,), -1))
        self.register_buffer("vectors", torch.zeros(contrast.size, site.student.encoder(site.max_length).dim))
        self.register_buffer("time", torch.full((contrast.size,), -1))
        self.register_buffer("clock", torch.tensor(-1))
        self._fresh: tuple[Tensor, Tensor] | None = None
        self._seen: dict[str, float] = {}

    def bring(self, contrast: Bringer, step: Step) -> Brought:
        """Draw, encode and weigh."""
        assert isinstance(contrast, NegativeCache)
        assert step.encode is not None
        self._fresh = None
        if self.clock < 0:
            if contrast.fill == "random":
                self._fill(step)
            self.clock.fill_(0)
        if not bool((self.doc >= 0).any()):
            return nothing(step, *contrast.brings())
        stale = self.stale(contrast, step)
        drawn = self.draw(contrast, step, stale)
        if not len(drawn.place):
            step.encode(step.doc[:1].cpu().numpy().astype(np.int32), "document")  # other processes wait for the call
            return nothing(step, *contrast.brings())
        doc = self.doc[drawn.place]
        fresh = step.encode(doc.cpu().numpy().astype(np.int32), "document")
        self._fresh = (drawn.place, fresh.detach())
        logits = (step.queries.detach() @ fresh.detach().T)[step.at] / contrast.temperature
        weight = drawn.mass.unsqueeze(1) - logits + (drawn.times / contrast.k).log()
        self._watch(stale[:, drawn.place], logits, drawn)
        return Brought(doc, fresh, drawn.times > 0, {"weight": weight.clamp(max=_MOST).exp()})

    @torch.no_grad()
    def stale(self, contrast: NegativeCache, step: Step) -> Tensor:
        """Stale logits ŝ of each row with each place, (B, size); minus infinity for what cannot be drawn."""
        logits = (step.queries @ self.vectors.T.to(step.queries.dtype))[step.at] / contrast.temperature
        rows, positives = step.known.shape
        place, held = self._where(torch.cat((step.doc, step.known.reshape(-1))))
        never, here = self.doc < 0, len(step.doc)
        never[place[:here][held[:here]]] = True
        logits.masked_fill_(never, _NEVER)
        row = torch.arange(rows, device=place.device).repeat_interleave(positives)
        logits[row[held[here:]], place[here:][held[here:]]] = _NEVER
        return logits

    def _where(self, doc: Tensor) -> tuple[Tensor, Tensor]:
        """The place of each document, and whether it is there at all."""
        ordered, order = self.doc.sort(stable=True)
        at = torch.searchsorted(ordered, doc).clamp(max=len(order) - 1)
        return order[at], (ordered[at] == doc) & (doc >= 0)

    @torch.no_grad()
    def draw(self, contrast: NegativeCache, step: Step, stale: Tensor) -> Drawn:
        """``k`` places for each row by Gumbel-max, none for a row that has nothing to draw from.

        Args:
            contrast: the cache as it is now.
            step: the step; its number and the ids are the key of the noise.
            stale: see there.
        """
        value, place = stale, None
        if contrast.top_k is not None:
            value, place = stale.topk(min(contrast.top_k, stale.shape[1]), dim=1)
        query = self.site.data.queries.keys[step.query[step.at].cpu().numpy()][:, None]
        held = (self.doc if place is None else self.doc[place]).clamp(min=0)
        doc = self.site.data.corpus.keys[held.cpu().numpy()]
        choices = []
        for draw in range(contrast.k):
            gumbel = self._noise(f"cache/{draw}/{step.number}", query, doc).to(stale)
            # Masked once more: 0 times minus infinity is NaN, which argmax takes for the largest.
            tried = (contrast.inv_temp * value + gumbel).masked_fill(value == _NEVER, _NEVER)
            best = tried.argmax(dim=1, keepdim=True)
            choices.append(best if place is None else place.gather(1, best))
        chosen = torch.cat(choices, dim=1)
        mass = value.logsumexp(dim=1)
        some = mass > _NEVER
        distinct = torch.unique(chosen[some])
        times = (chosen.unsqueeze(2) == distinct).sum(dim=1) * some.unsqueeze(1)
        return Drawn(distinct, times, mass)

    def _noise(self, stream: str, query: NDArray[np.uint64], doc: NDArray[np.uint64]) -> Tensor:
        return torch.from_numpy(noise.gumbel(self.site.seed, stream, query, doc).astype(np.float32))

    @torch.no_grad()
    def after(self, contrast: Bringer, step: Step) -> None:
        """Write back what was encoded anew, then take in the documents of the batch."""
        assert isinstance(contrast, NegativeCache)
        now = self.clock
        if self._fresh is not None:
            place, fresh = self._fresh
            self.vectors[place] = fresh.to(self.vectors.dtype)
            if contrast.evict == "lru":
                self.time[place] = now
            self._fresh = None
        doc, vectors = step.doc[: len(self.doc)], step.docs[: len(self.doc)].detach().to(self.vectors.dtype)
        same, known = self._where(doc)
        new = self._oldest(int((~known).sum()), same[known])
        place = same.clone()
        place[~known] = new
        self.doc[place], self.vectors[place], self.time[place] = doc, vectors, now.expand(len(place)).clone()
        self.clock += 1

    def _oldest(self, number: int, but: Tensor) -> Tensor:
        """Places of the least time, the lowest first, except some."""
        # Time and place in one number, so that nothing has to be sorted.
        key = self.time * len(self.time) + torch.arange(len(self.time), device=but.device)
        key[but] = torch.iinfo(key.dtype).max
        return key.topk(number, largest=False).indices

    @torch.no_grad()
    def _fill(self, step: Step) -> None:
        """A random sample of the distinct documents, another one in each process."""
        data = self.site.data
        rows = np.flatnonzero(data.base.same == np.arange(len(data.base.same)))
        nobody = np.zeros(1, np.uint64)
        draws = noise.bits(self.site.seed, f"fill/{self.site.rank}", nobody, data.corpus.keys[rows])
        chosen = np.sort(rows[np.argsort(draws, kind="stable")[: len(self.doc)]]).astype(np.int32)
        assert step.encode is not None
        for start in range(0, len(chosen), _CHUNK):
            part = chosen[start : start + _CHUNK]
            self.vectors[start : start + len(part)] = step.encode(part, "document").to(self.vectors.dtype)
        self.doc[: len(chosen)] = torch.from_numpy(chosen).long().to(self.doc.device)
        self.time[: len(chosen)] = 0

    def _watch(self, stale: Tensor, fresh: Tensor, drawn: Drawn) -> None:
        """Note how far what was drawn has moved since it was last encoded."""
        assert self._fresh is not None
        old = self.vectors[drawn.place]
        gap = 1 - nn.functional.cosine_similarity(old, self._fresh[1].to(old.dtype), dim=1).mean()
        drift = (fresh - stale)[drawn.times > 0].abs().max()
        self._seen["steps"] = self._seen.get("steps", 0.0) + 1
        self._seen["gap"] = self._seen.get("gap", 0.0) + float(gap)
        self._seen["drift"] = max(self._seen.get("drift", 0.0), float(drift))

    def report(self) -> Report:
        """How many documents it holds, and how stale what was drawn since the last report had become."""
        seen, self._seen = self._seen, {}
        shown = {"cache": float((self.doc >= 0).sum())}
        if seen:
            shown["cache_staleness"] = seen["gap"] / seen["steps"]
            shown["cache_drift"] = seen["drift"]
            shown["cache_bound"] = math.tanh(seen["drift"] / 2)
        return shown
