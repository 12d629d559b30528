"""Negatives of several kinds, in given shares."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from foils.core import noise, segments
from foils.core.errors import PipelineError
from foils.core.pairs import CANDIDATE, Pairs
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.readers import Sampler
from foils.stages.shortfall import TAGS, Ensure
from foils.stages.stage import Stage
from foils.stages.writers import Source


@declare
class Mix(Sampler):
    """Negatives of several kinds of sources, drawn in given shares.

    For each of the k places a kind is drawn by its weight, then one of that kind's candidates uniformly. A kind that
    has none left leaves its share to the others in proportion. A candidate that several sources found is drawn once,
    through whichever kind comes first, and remains marked with all of them. Candidates of no named kind are not drawn.

    Lu et al. 2020, arXiv:2010.12523, and 2021 (EMNLP): kinds of negatives complement each other, and drawing from their
    union does about as well as the best one on every task. Equal shares are ours; the paper's were not at hand.
    ``(BM25(k=50) + Dense('student', k=50) + Random(k=20)) >> Mix(k=8, kinds=['bm25', 'student', 'random'])``
    """

    k: int  # negatives per query
    kinds: tuple[str, ...]  # sources: 'bm25', 'random', an encoder's name, …
    weights: tuple[float, ...] = ()  # share of each kind, above 0; equal by default

    def check(self) -> None:
        """One positive weight for each of at least one kind."""
        super().check()
        require(bool(self.kinds) and len(set(self.kinds)) == len(self.kinds), self, "kinds", "different names")
        fitting = not self.weights or len(self.weights) == len(self.kinds)
        require(fitting and all(w > 0 for w in self.weights), self, "weights", "one number above 0 for each kind")

    def check_after(self, stages: tuple[Stage, ...]) -> None:
        """Its kinds must be among the sources before it, where all of those are known before the start."""
        steps = [step for stage in stages for step in stage.steps()]
        sources = [step for step in steps if step.family == "source"]
        if sources and all(isinstance(step, Source) for step in sources):
            tags = (TAGS.get(step.short) for step in steps if isinstance(step, Ensure))
            self._refuse_unknown({*(step.kind for step in sources if isinstance(step, Source)), *filter(None, tags)})

    def _refuse_unknown(self, known: Collection[str]) -> None:
        missing = [kind for kind in self.kinds if kind not in known]
        if missing:
            have = ", ".join(repr(name) for name in sorted(known)) or "none"
            raise PipelineError(f"{self!r}: no source here is called {missing[0]!r}; there is: {have}.")

    def weigh(self, view: Pairs, ctx: Context) -> NDArray[np.float64]:
        """Log-probability in the first draw."""
        member = self._members(view)
        size = np.stack([segments.count(of, view.starts) for of in member])
        share = np.where(size > 0, self._weights[:, None], 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            each = np.nan_to_num(share / share.sum(axis=0) / size)
            logits: NDArray[np.float64] = np.log((member * np.repeat(each, np.diff(view.starts), axis=1)).sum(axis=0))
        return logits

    @property
    def _weights(self) -> NDArray[np.float64]:
        return np.asarray(self.weights or (1.0,) * len(self.kinds), np.float64)

    def _members(self, view: Pairs) -> NDArray[np.bool_]:
        """Which candidates are of which kind, (kinds, n)."""
        if not len(view):
            return np.zeros((len(self.kinds), 0), bool)
        self._refuse_unknown(view.ranks)
        return np.stack([(view.ranks[kind] > 0) & (view.label == CANDIDATE) for kind in self.kinds])

    def draw(self, view: Pairs, logits: NDArray[np.float64], ctx: Context) -> NDArray[np.float64]:
        """The order of draws: k for the first, k - 1 for the second, …; ``-inf`` for the rest."""
        member = self._members(view)
        # A random order of each kind's candidates, drawn once: the next unused one is uniform among those left.
        keys = ctx.keys(view.query, view.doc)
        turn = np.stack([noise.uniform(ctx.seed, f"Mix/{kind}", *keys) for kind in self.kinds])
        asked = ctx.data.queries.keys[view.queries]
        rows = np.arange(len(view))
        drawn = np.full(len(view), -np.inf)
        for place in range(self.k):
            left = np.stack([segments.count(of, view.starts) > 0 for of in member])
            share = np.cumsum(np.where(left, self._weights[:, None], 0.0), axis=0)
            pick = noise.uniform(ctx.seed, f"Mix/{place}", asked, np.zeros(len(asked), np.uint64)) * share[-1]
            kind = np.minimum((share <= pick).sum(axis=0), len(self.kinds) - 1)
            at = segments.spread(kind, view.starts)
            best = segments.best(np.where(member[at, rows], turn[at, rows], -np.inf), view.starts, view.doc)
            found = best[best >= 0]
            if not len(found):
                break
            drawn[found] = self.k - place
            member[:, found] = False
        return drawn


@declare
class AdaptiveMix(Mix):
    """`Mix` whose shares follow what each kind does in training; they change whenever negatives are mined again.

    ``w_k = floor + (1 - K floor) softmax_k(eta (utility_k - penalty · false_k))`` for K kinds. Utility is the push of
    one negative of the kind, ``|∂L/∂s|`` (``share/KIND`` by ``count/KIND`` of what training logs), as a share of the
    sum over kinds: a kind does not gain by being drawn more often. ``false`` is the share of its negatives that score
    above the positive, a proxy of false negatives: those push hardest of all, and without the penalty they would win.
    Both are means over what was logged since the generation in use; a kind of which nothing was logged counts as the
    mean of the others. Without ``refresh:``, and in generation 0, it is `Mix` with ``weights``.

    The floor and the softmax are those of EXP3 (Auer et al. 2002), whose rewards are divided by the probability of the
    draw likewise; formula and defaults are ours, no paper measures them for retrieval. Rewards of a bandit are noisy:
    a large ``eta`` follows the noise. ``Mix(weights=[Linear(…), Linear(…)])`` anneals shares instead.
    """

    eta: float = 3.0  # how far shares follow utility; 0 for equal shares
    penalty: float = 1.0  # what a share of 1 above the positive takes from a utility of 1; 0 for no penalty
    floor: float = 0.05  # least share of each kind, above 0
    judge: str = "student"  # whose scores say what is above the positive: the student, or a column of the negatives

    def check(self) -> None:
        """Bounds; the floors of all kinds must fit into 1."""
        super().check()
        require(self.eta >= 0, self, "eta", "at least 0")
        require(self.penalty >= 0, self, "penalty", "at least 0")
        most = f"above 0 and at most {1 / len(self.kinds):.3g}, one by the number of kinds"
        require(0 < self.floor <= 1 / len(self.kinds), self, "floor", most)

    def reads(self) -> tuple[str, ...]:
        """The column of the judge, which has to be mined to be saved."""
        return () if self.judge == "student" else (self.judge,)

    def adapted(self, push: Mapping[str, float], false: Mapping[str, float]) -> Self:
        """The same with the shares that these figures give.

        Args:
            push: mean push of a negative of each kind, in any unit; a kind may be missing.
            false: share of the negatives of each kind that score above the positive; a kind may be missing.
        """
        known = [kind for kind in self.kinds if kind in push]
        total = sum(push[kind] for kind in known)
        if not known or not total > 0:
            return self
        worth = {kind: push[kind] / total - self.penalty * false.get(kind, 0.0) for kind in known}
        mean = sum(worth.values()) / len(worth)
        powers = np.array([self.eta * worth.get(kind, mean) for kind in self.kinds], np.float64)
        shares = np.exp(powers - powers.max())
        shares = self.floor + (1 - len(shares) * self.floor) * shares / shares.sum()
        return replace(self, weights=tuple(round(share, 6) for share in shares.tolist()))
