"""What a `MemoryBank` holds."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foils.core import noise
from foils.train.carriers.carrier import Carrier
from foils.train.carriers.ring import Ring
from foils.train.contrasts.bank import MemoryBank
from foils.train.contrasts.bringer import Bringer, Site
from foils.train.step import Asked, Brought, Report, Step

PROBED = 64  # entries that are looked at to measure staleness
_DOC = 1 << 32  # a pair is one number: query * 2**32 + document


class Bank(Carrier):
    """Past documents, and past queries with their positives if both sides are kept.

    Args:
        contrast: the bank as declared.
        site: where it works.
    """

    def __init__(self, contrast: MemoryBank, site: Site) -> None:
        super().__init__()
        dim = site.student.encoder(site.max_length).dim
        self.site, self.weighs = site, bool(contrast.brings())
        self.docs = Ring(contrast.size, dim)
        # With the weight of the pair as a further dimension.
        self.pairs = Ring(contrast.size if contrast.sides == "both" else 0, dim + 1)
        self._probed, self._seen = -1, [0.0, 0.0, 0.0]

    def bring(self, contrast: Bringer, step: Step) -> Brought:
        """Everything held that is young enough and not in the batch."""
        assert isinstance(contrast, MemoryBank)
        held = self.docs.held(_oldest(contrast, step))
        held = held[~torch.isin(self.docs.id[held], step.doc)]
        doc = self.docs.id[held]
        asked = self._asked(contrast, step, doc) if contrast.sides == "both" else None
        members = doc.new_ones((len(step.at) + (0 if asked is None else len(asked.query)), len(doc))).bool()
        scores = {"weight": members.float() * contrast.weight} if self.weighs else {}
        plain = isinstance(contrast.scale, float) and contrast.scale == 1.0  # spares a copy of the whole bank
        vectors = self.docs.vectors[held] if plain else self.docs.vectors[held] * contrast.scale
        return Brought(doc, vectors, members, scores, asked)

    def _asked(self, contrast: MemoryBank, step: Step, doc: Tensor) -> Asked:
        held = self.pairs.held(_oldest(contrast, step))
        query, positive = self.pairs.id[held] // _DOC, self.pairs.id[held] % _DOC
        there = torch.isin(positive, torch.cat((step.doc, doc))) & ~torch.isin(query, step.query)
        query, positive, held = query[there], positive[there], held[there]
        assert self.site.known is not None
        known = torch.from_numpy(self.site.known(query.cpu().numpy().astype(np.int32))).long().to(query.device)
        vectors, weight = self.pairs.vectors[held, :-1], self.pairs.vectors[held, -1]
        return Asked(query, positive, known, vectors, weight, contrast.scale)

    def after(self, contrast: Bringer, step: Step) -> None:
        """Measure, then push."""
        assert isinstance(contrast, MemoryBank)
        if contrast.probe is not None and step.number % contrast.probe == 0:
            self._probe(contrast, step)
        if step.number < contrast.start:
            return
        queries, docs = step.queries, step.docs
        if contrast.momentum is not None:
            assert step.slow is not None
            queries, docs = step.slow(contrast.momentum)
        self.docs.push(step.doc, docs, step.number)
        if contrast.sides == "both":
            pairs, index = np.unique(
                (step.query[step.at] * _DOC + step.doc[step.target]).cpu().numpy(), return_index=True
            )
            first = torch.from_numpy(index).to(step.at.device)
            rows = step.at[first]
            kept = step.weight if step.weight is not None else torch.ones_like(step.at)
            entries = torch.cat((queries[rows], kept[first].to(queries.dtype).unsqueeze(1)), dim=1)
            self.pairs.push(torch.from_numpy(pairs).to(rows.device), entries, step.number)

    @torch.no_grad()
    def _probe(self, contrast: MemoryBank, step: Step) -> None:
        held = self.docs.held(_oldest(contrast, step))
        if not len(held) or self._probed == step.number:
            return
        assert step.encode is not None
        self._probed = step.number
        rows = self.docs.id[held].cpu().numpy().astype(np.int32)
        keys = self.site.data.corpus.keys[rows]
        draws = noise.bits(self.site.seed, f"probe/{step.number}", np.zeros(1, np.uint64), keys)
        chosen = np.sort(np.argsort(draws, kind="stable")[:PROBED])
        with _undisturbed(step.doc.device):
            fresh = step.encode(rows[chosen], "document")
        kept = self.docs.vectors[held[torch.from_numpy(chosen).to(held.device)]]
        staleness = 1 - nn.functional.cosine_similarity(kept, fresh, dim=1).mean()
        drift = (step.queries @ (fresh - kept).T).abs().mean()
        self._seen = [total + new for total, new in zip(self._seen, (1.0, float(staleness), float(drift)), strict=True)]

    def report(self) -> Report:
        """How many documents it holds; staleness since the last report."""
        (times, staleness, drift), self._seen = self._seen, [0.0, 0.0, 0.0]
        shown = {"bank": float((self.docs.id >= 0).sum())}
        return shown | ({"bank_staleness": staleness / times, "bank_drift": drift / times} if times else {})


def _oldest(contrast: MemoryBank, step: Step) -> int:
    return 0 if contrast.max_age is None else step.number - contrast.max_age


def _undisturbed(device: torch.device) -> AbstractContextManager[Any]:
    """Looking must not change what is looked at: dropout in a probe would draw from the random numbers of training."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
