"""A text once more, altered: what losses of augmented views compare with. Nothing here is imported with PyTorch.

What is left out of which text depends on the run's seed, the step and the text's id, so not on who else is in the
batch, nor on whether a run was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from foils.core import noise

if TYPE_CHECKING:
    from torch import Tensor

Make = Callable[[NDArray[np.bool_]], dict[str, Any]]
Whose = Literal["query", "positive"]
How = Literal["dropout", "drop", "crop"]


@dataclass(frozen=True)
class Augmentation:
    """Texts of a step, and how they are altered before they are encoded a second time.

    Attributes:
        of: each row's query, or its training positive.
        how: not at all, so that only the model's dropout differs; by dropping tokens; by cutting out a piece.
        share: of the tokens that are left out.
    """

    of: Whose
    how: How
    share: float

    def altered(
        self, features: Mapping[str, Any], rows: Tensor, keys: NDArray[np.uint64], seed: int, number: int
    ) -> dict[str, Any]:
        """Features of some of the texts, altered.

        The first and the last token of a text that has an attention mask are always kept: the marks that models pool
        by or that end a text. Of the others at least one is.

        Args:
            features: of n texts; tokens of a static model one after the other, or padded with an attention mask.
            rows: int64 (m,), which texts.
            keys: uint64 (m,), of their ids.
            seed: of the run.
            number: of the step.
        """
        taken, real = _taken(features, rows)
        if self.how == "dropout":
            return taken(real)
        places = np.arange(real.shape[1] + 1, dtype=np.uint64)
        draws = noise.uniform(seed, f"Augmented/{self.of}/{self.how}/{number}", keys[:, None], places)
        inner = real & ~_ends(real) if "attention_mask" in features else real
        left_out = self._dropped if self.how == "drop" else self._cropped
        return taken(real & ~(inner & left_out(inner, draws)))

    def _dropped(self, inner: NDArray[np.bool_], draws: NDArray[np.float64]) -> NDArray[np.bool_]:
        chance = np.where(inner, draws[:, 1:], -1.0)
        dropped: NDArray[np.bool_] = (chance < self.share) & (chance < chance.max(axis=1, keepdims=True))
        return dropped

    def _cropped(self, inner: NDArray[np.bool_], draws: NDArray[np.float64]) -> NDArray[np.bool_]:
        size = inner.sum(axis=1, keepdims=True)
        width = np.maximum(np.rint((1 - self.share) * size), 1)
        start = np.floor(draws[:, :1] * (size - width + 1))
        place = np.cumsum(inner, axis=1) - 1
        outside: NDArray[np.bool_] = (place < start) | (place >= start + width)
        return outside


def _ends(real: NDArray[np.bool_]) -> NDArray[np.bool_]:
    # Padding may be on either side.
    place = np.cumsum(real, axis=1)
    ends: NDArray[np.bool_] = (place == 1) | (place == real.sum(axis=1, keepdims=True))
    return ends


def _taken(features: Mapping[str, Any], rows: Tensor) -> tuple[Make, NDArray[np.bool_]]:
    """A function from the tokens that are kept of some texts to their features, and what are tokens, bool (m, L)."""
    import torch

    device = rows.device
    if "offsets" in features:
        tokens, offsets = features["input_ids"], features["offsets"].cpu().numpy()
        sizes = np.diff(offsets, append=len(tokens))[rows.cpu().numpy()]
        places = np.arange(max(sizes.max(initial=0), 1))
        at = offsets[rows.cpu().numpy()][:, None] + places

        def ragged(kept: NDArray[np.bool_]) -> dict[str, Any]:
            ends = np.cumsum(kept.sum(axis=1))
            starts = np.concatenate((np.zeros(1, np.int64), ends[:-1]))
            chosen = torch.from_numpy(at[kept]).to(device)
            return {**features, "input_ids": tokens[chosen], "offsets": torch.from_numpy(starts).to(device)}

        return ragged, places < sizes[:, None]

    count, mask = len(features["attention_mask"]), features["attention_mask"][rows]

    def padded(kept: NDArray[np.bool_]) -> dict[str, Any]:
        chosen = {
            name: value[rows] if isinstance(value, torch.Tensor) and value.ndim and len(value) == count else value
            for name, value in features.items()
        }
        return {**chosen, "attention_mask": mask * torch.from_numpy(kept).to(device)}

    return padded, mask.cpu().numpy().astype(bool)
