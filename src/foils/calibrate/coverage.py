"""Do the labels reach what the pipeline keeps? A rate of labelled candidates says nothing of others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from foils.calibrate.pipeline import Seen
from foils.core.pairs import Pairs

EXPECTED = 7.0  # labels that a part would hold if they were spread evenly; by chance it has none in 1 of 1,000

Bools = NDArray[np.bool_]


def unreached(seen: Seen, labelled: Bools, pool: Pairs) -> Bools:
    """Candidates in parts of the lists that have no label, though an even spread had left `EXPECTED` or more there.

    The parts: of each source what it did not find, and its ranks before the first and after the last one with a label;
    what is closer to the positive than any label, or farther; and what was kept, filtered or left out by a sampler when
    the pool was mined.

    Args:
        seen: the candidates of the labelled queries.
        labelled: which of their living rows have a label, bool (n,).
        pool: the candidates as they were mined, with the steps that dropped them.

    Returns:
        bool (n,).
    """
    candidate = seen.candidate
    labelled = labelled & candidate
    density = labelled.sum() / max(1, candidate.sum())
    found = np.zeros(len(candidate), np.bool_)
    for part in _parts(seen, labelled, pool):
        mine = part & candidate
        if not (mine & labelled).any() and mine.sum() * density >= EXPECTED:
            found |= mine
    return found


def _parts(seen: Seen, labelled: Bools, pool: Pairs) -> Iterator[Bools]:
    living = seen.living
    for ranks in living.ranks.values():
        yield ranks == 0
        yield from _ends(ranks, ranks > 0, labelled)
    yield from _ends(seen.near, np.isfinite(seen.near), labelled)
    at = pool.find(living)
    fate = np.where(at >= 0, np.sign(pool.dropped[at]), 0)
    yield from (fate == sign for sign in (-1, 0, 1))


def _ends(values: NDArray[np.generic], known: Bools, labelled: Bools) -> Iterator[Bools]:
    """What lies before the least labelled value, and behind the largest."""
    said = values[known & labelled]
    if len(said):
        yield known & (values < said.min())
        yield known & (values > said.max())
