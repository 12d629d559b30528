"""`Tally`: what negatives did, summed over training by pair, document, query, source and rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foils.core.packing import pack
from foils.core.ranks import RANKS
from foils.train.batch import STUDENT, Batch
from foils.train.influence.pressure import Pressure

PAIR = ("times", "mass", "gradient", "gap", "above", "ranked", "rank")
GROUP = PAIR[:5]
DOCUMENT = QUERY = PAIR[:3]
IN_BATCH, OWN = "in-batch", "own"
_NUMBERS = ("first", "last", "batches", "temperature", "side")
_WAITING = 1 << 17  # rows that wait before they are added up: 8 MB of the widest

Floats = NDArray[np.float64]


class Sums:
    """Sums by key; keys become known as they come. Memory grows with distinct keys only.

    Args:
        width: number of columns that are summed.

    Attributes:
        keys: int64 (n,), ascending, after `settle`.
        values: float64 (n, width).
        codes: int64 (n,), the greatest code that came with a key.
    """

    def __init__(self, width: int) -> None:
        self.keys, self.values = np.zeros(0, np.int64), np.zeros((0, width))
        self.codes = np.zeros(0, np.int64)
        self._waiting: list[tuple[NDArray[np.int64], Floats, NDArray[np.int64]]] = []
        self._rows = 0

    def add(self, keys: NDArray[np.integer], values: Floats, codes: NDArray[np.integer] | None = None) -> None:
        """Add rows.

        Args:
            keys: (n,), repeats allowed.
            values: float64 (n, width).
            codes: (n,), at least 0; 0 by default.
        """
        given = np.zeros(len(keys), np.int64) if codes is None else codes.astype(np.int64)
        self._waiting.append((keys.astype(np.int64), values, given))
        self._rows += len(keys)
        if self._rows > _WAITING:
            self.settle()

    def settle(self) -> None:
        """Add up what waits."""
        parts = [(self.keys, self.values, self.codes), *self._waiting]
        keys, values, codes = (np.concatenate(column) for column in zip(*parts, strict=True))
        self.keys, at = np.unique(keys, return_inverse=True)
        size = len(self.keys)
        self.values = np.stack([np.bincount(at, weights=column, minlength=size) for column in values.T], axis=1)
        self.codes = np.zeros(size, np.int64)
        np.maximum.at(self.codes, at, codes)
        self._waiting, self._rows = [], 0

    def state(self) -> dict[str, Tensor]:
        """Everything, as tensors."""
        self.settle()
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in ("keys", "values", "codes")}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave."""
        self.keys, self.values, self.codes = (state[name].cpu().numpy() for name in ("keys", "values", "codes"))
        self._waiting, self._rows = [], 0


class Tally(nn.Module):
    """Sums over all steps. It is part of every checkpoint, so a run that was killed counts on from where it goes on.

    Mined negatives are counted one by one, by (query, document); all others by document, by query and by where they
    come from. So memory is bounded by the number of mined pairs, not by what is compared in training.

    Attributes:
        first: optimiser step that counting began before; 0 for the whole run.
        last: optimiser steps until now.
        batches: counted.
        temperature: of the last step.
        side: whose vectors the gradients are by; see `foils.train.influence.pressure.Lengths`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.batches, self.temperature = -1, 0, 0, 1.0
        self.side = "document"
        self.pairs, self.documents, self.queries = Sums(len(PAIR)), Sums(len(DOCUMENT)), Sums(len(QUERY))
        self.names: list[str] = []
        self.groups: dict[str, Floats] = {}

    def count(self, batch: Batch, allowed: Tensor, seen: Pressure, ranks: Mapping[str, Tensor], number: int) -> None:
        """Count one step.

        Args:
            batch: the step.
            allowed: bool (B, N), the negatives.
            seen: what they do.
            ranks: raw ranks of own negatives by source, float32 (B, M), NaN where a source did not return one.
            number: optimiser steps done before this one.
        """
        self.first = number if self.first < 0 else self.first
        self.last, self.batches = number + 1, self.batches + 1
        self.temperature, self.side = seen.temperature, str(seen.side)
        with torch.no_grad():
            scores = batch[STUDENT].detach()
            gaps = scores.gather(1, batch.target.unsqueeze(1)) - scores
            figures = [allowed, seen.mass, seen.gradient, gaps, gaps < 0]
            own = batch.own & allowed
            self._groups(batch, allowed, own, figures)
            found = own.nonzero(as_tuple=True)
            query, doc = _numpy(batch.query[found[0]]), _numpy(batch.doc[found[1]])
            values = np.stack([_numpy(figure[found]).astype(np.float64) for figure in figures], axis=1)
            best, source = self._ranked(ranks, [_numpy(part) for part in found])
            self._own(values, best, source)
            known = np.isfinite(best)
            ranked = np.stack((known, np.where(known, best, 0.0)), axis=1)
            self.pairs.add(pack(query, doc), np.concatenate((values, ranked), axis=1), source)
            for sums, axis, ids in ((self.documents, 0, batch.doc), (self.queries, 1, batch.query)):
                totals = np.stack([_numpy(figure.double().nansum(dim=axis)) for figure in figures[:3]], axis=1)
                rows = _numpy(ids)
                counts = (rows >= 0) & (totals[:, 0] > 0)
                sums.add(rows[counts], totals[counts])

    def get_extra_state(self) -> dict[str, Any]:
        """For a checkpoint."""
        sums = {name: getattr(self, name).state() for name in ("pairs", "documents", "queries")}
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        groups = {name: torch.from_numpy(values.copy()) for name, values in self.groups.items()}
        return {**sums, **numbers, "names": list(self.names), "groups": groups}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        for name in ("pairs", "documents", "queries"):
            getattr(self, name).load(state[name])
        for name in _NUMBERS:
            setattr(self, name, state[name])
        self.names = list(state["names"])
        self.groups = {name: values.cpu().numpy() for name, values in state["groups"].items()}

    def _ranked(self, ranks: Mapping[str, Tensor], at: list[NDArray[Any]]) -> tuple[Floats, NDArray[np.int64]]:
        """Best raw rank of own negatives (infinite for none), and the first source that returned each (0 for none)."""
        best, source = np.full(len(at[0]), np.inf), np.zeros(len(at[0]), np.int64)
        for name, rank in ranks.items():
            if name not in self.names:
                self.names.append(name)
            values = _numpy(rank)[tuple(at)].astype(np.float64)
            has = ~np.isnan(values)
            source[has & (source == 0)] = 1 + self.names.index(name)
            best = np.minimum(best, np.where(has, values, np.inf))
        return best, source

    def _own(self, values: Floats, best: Floats, source: NDArray[np.int64]) -> None:
        for code, name in enumerate([OWN, *self.names]):
            self._add(f"source/{name}", values[source == code].sum(axis=0))
        for lo, hi in RANKS:
            inside = np.isfinite(best) & (best >= lo) & (best <= (np.inf if hi is None else hi))
            self._add(f"tier/{lo}-{hi}" if hi else f"tier/{lo}+", values[inside].sum(axis=0))

    def _groups(self, batch: Batch, allowed: Tensor, own: Tensor, figures: list[Tensor]) -> None:
        masks = {IN_BATCH: allowed & batch.inside & ~own}
        for contrast, members in batch.brought.items():
            masks[type(contrast).__name__] = members & allowed & ~batch.inside
        for name, mask in masks.items():
            # Not a sum of everything times a mask: what is not known would spread.
            sums = [figure.double().masked_fill(~mask, 0.0).sum() for figure in figures]
            self._add(f"source/{name}", _numpy(torch.stack(sums)))

    def _add(self, name: str, values: Floats) -> None:
        if values[0]:
            self.groups[name] = self.groups.get(name, np.zeros(len(values))) + values


def _numpy(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array
