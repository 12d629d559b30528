"""`Mixed`: negatives made in the space of vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foils.core.spec import declare, require
from foils.train.contrasts.bringer import Bringer, Site

if TYPE_CHECKING:
    from foils.train.carriers import Carrier


@declare
class Mixed(Bringer):
    """Vectors made of a row's hardest negatives n and its query q; no document has them.

    Parents are drawn with replacement from the ``hardest`` documents, by the student's score, of what the rest of the
    contrast allows the row: in ``InBatch() + MemoryBank(4096) + Mixed(pairs=32)`` from batch and bank. So a known
    positive is never a parent, nor is what a filter of the rest drops. The six types of SynCo (Giakoumoglou and
    Stathaki 2024, arXiv:2410.02401) and their numbers for each row:

    1. ``interpolate``: ``α q + (1 - α) n``, α uniform in (0, ``alpha``)
    2. ``extrapolate``: ``q + β (n - q)``, β uniform in (1, ``beta``): beyond n, farther from q
    3. ``pairs``: ``γ n + (1 - γ) n'``, γ uniform in (0, 1)
    4. ``noisy``: ``n + ε``, ε normal with deviation ``sigma`` in each dimension
    5. ``gradient``: ``n + delta ∂s/∂n``; s is an inner product, so this is ``n + delta q``
    6. ``sign``: ``n + eta sign(∂s/∂n)``, that is ``n + eta sign(q)``

    MoCHi (Kalantidis et al. 2020, arXiv:2010.01028) is ``pairs=1024, interpolate=128`` with ``hardest=1024``, of a
    queue of 65,536. Every vector is brought to its parent's length (1 for cosines; the mean of two parents' lengths)
    and has no gradient: what is made pushes the query only. It belongs to the row that it was made for; nobody else
    considers it. SynCo: 256 each of types 1 to 3 and 64 each of 4 to 6, alpha 0.5, beta 1.5, sigma, delta and eta 0.01.

    A mixture with the query can be nearer to it than any document, and then pushes it away from its positive. So what
    scores more than ``s⁺ - margin`` is left out (``mixed_kept`` is the share that stays); None keeps all, as the papers
    do. Mixing a false negative multiplies it. Both papers are on images; nothing is published for retrieval.

    Draws are keyed by seed, step and query. Each made vector is a column of the step: rows times their sum.
    """

    hardest: int = 1024  # documents per row that parents are drawn from
    interpolate: int = 0  # vectors of type 1 per row
    extrapolate: int = 0  # of type 2
    pairs: int = 0  # of type 3
    noisy: int = 0  # of type 4
    gradient: int = 0  # of type 5
    sign: int = 0  # of type 6
    alpha: float = 0.5  # greatest share of the query in type 1; 0 to 1
    beta: float = 1.5  # greatest reach of type 2; at least 1
    sigma: float = 0.01  # deviation of the noise of type 4
    delta: float = 0.01  # step of type 5
    eta: float = 0.01  # step of type 6
    margin: float | None = 0.0  # below the positive's score that a made vector has to stay, absolute; None for no bound
    start: int = 0  # optimiser steps before the first one is made

    late = True

    def check(self) -> None:
        """Bounds."""
        require(self.hardest >= 1, self, "hardest", "at least 1")
        for name in ("interpolate", "extrapolate", "pairs", "noisy", "gradient", "sign", "start"):
            require(getattr(self, name) >= 0, self, name, "at least 0")
        require(0 <= self.alpha <= 1, self, "alpha", "between 0 and 1")
        require(self.beta >= 1, self, "beta", "at least 1")
        for name in ("sigma", "delta", "eta"):
            require(getattr(self, name) >= 0, self, name, "at least 0")

    def open(self, site: Site) -> Carrier:
        """It remembers nothing."""
        from foils.train.carriers.mixed import Mixer

        return Mixer(site)
