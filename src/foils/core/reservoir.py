"""Samples of a stream whose length nobody knows: the same whatever the chunks, and mergeable between shards.

Vitter's algorithm R (1985) keeps the first k items and lets item i replace a random one with probability k/i; its
sample depends on the order. Here every item draws its own number, E = -ln(u) / w with u uniform and keyed by (seed,
stream, key of the item), and the k smallest stay. With equal weights that is as uniform as algorithm R; with weights it
is sampling without replacement one by one, each time in proportion to the weights left (Efraimidis and Spirakis 2006,
Information Processing Letters 97(5); the Gumbel top-k trick is the same draw, as -ln E = ln w + Gumbel).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foils.core import noise
from foils.core.errors import DataError


@dataclass
class Reservoir:
    """At most k items of a stream, without replacement.

    Attributes:
        k: items to keep, at least 1.
        seed: of the draws.
        stream: name of the consumer, so that two of them do not draw the same items.

    >>> whole, parts = Reservoir(2), Reservoir(2)
    >>> whole.add(np.arange(6))
    >>> parts.add(np.arange(4, 6))
    >>> parts.add(np.arange(4))
    >>> whole.keys.tolist() == parts.keys.tolist()
    True
    """

    k: int
    seed: int = 0
    stream: str = "reservoir"
    _keys: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    _draws: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"Reservoir(k={self.k}): k must be at least 1.")

    @property
    def keys(self) -> NDArray[np.uint64]:
        """Keys of the items that are in, ascending, uint64."""
        return np.sort(self._keys)

    def add(self, keys: ArrayLike, weights: ArrayLike | None = None) -> None:
        """Let more items of the stream pass.

        Args:
            keys: one non-negative integer an item, such as its row or the key of its id; distinct in the whole stream.
            weights: chances in proportion to these, float64, finite and not negative; equal by default. An item of
                weight 0 is never taken.

        Raises:
            DataError: a weight that is negative or not finite.
        """
        drawn = np.asarray(keys, np.uint64)
        chances = np.ones(len(drawn)) if weights is None else np.asarray(weights, np.float64)
        bad = ~(np.isfinite(chances) & (chances >= 0))
        if bad.any():
            raise DataError(f"a weight is {chances[bad][0]}; expected finite numbers of at least 0.")
        uniform = noise.uniform(self.seed, self.stream, np.zeros(1, np.uint64), drawn)
        taken = chances > 0
        self._keep(drawn[taken], -np.log(uniform[taken]) / chances[taken])

    def merge(self, other: Reservoir) -> None:
        """Take in the sample of another part of the stream, drawn with the same k, seed and name.

        Raises:
            ValueError: it was drawn otherwise.
        """
        if (self.k, self.seed, self.stream) != (other.k, other.seed, other.stream):
            raise ValueError("samples merge only if k, seed and stream are the same.")
        self._keep(other._keys, other._draws)

    def _keep(self, keys: NDArray[np.uint64], draws: NDArray[np.float64]) -> None:
        keys, draws = np.concatenate([self._keys, keys]), np.concatenate([self._draws, draws])
        best = np.lexsort((keys, draws))[: self.k]
        self._keys, self._draws = keys[best], draws[best]


def sample(keys: NDArray[np.uint64], k: int, *, seed: int, stream: str) -> NDArray[np.int64]:
    """At most k of some items, uniformly and without replacement.

    Args:
        keys: distinct, uint64 (n,).
        k: at least 1.
        seed: of the draws.
        stream: name of the consumer.

    Returns:
        Their places in ``keys``, ascending, int64.
    """
    chosen = Reservoir(k, seed, stream)
    chosen.add(keys)
    return np.flatnonzero(np.isin(keys, chosen.keys)).astype(np.int64)
