"""CL-DRD: a teacher's ranking in three groups, and what each document is worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.core import noise, segments
from foils.core.pairs import CANDIDATE, Pairs
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.readers import ListScorer, Sampler


@declare
class Groups(Sampler):
    """Three groups of a teacher's ranking: its head as it is, some of the next ranks, some of the remainder.

    All documents at the ranks 1 to ``ordered`` stay; ``hard`` are drawn uniformly from the ``window`` ranks after
    them, ``rest`` from whatever is deeper. Ranks are positions under ``by`` among what is alive; positives have theirs
    like the rest, as the paper uses no labels. A positive always stays; one in the head fills a place of it, so such a
    query has one negative fewer. A group that has too few documents is not filled up from another.

    Zeng, Zamani and Vinay 2022, CL-DRD, arXiv:2204.13679, over the student's 200 candidates, re-ranked by a
    cross-encoder: three rounds with (5, 12, 13), (10, 10, 10) and (20, 5, 5), each from the student of the one before,
    30 documents a query. The bounds of the groups are not published; the window is ours. See `Grades` for the targets.
    """

    ordered: int = 5  # documents of the head
    hard: int = 12  # documents drawn from the window
    rest: int = 13  # documents drawn from below the window
    window: int = 50  # ranks after the head from which the hard ones are drawn
    by: str = "score"  # score column, the teacher's

    def check(self) -> None:
        """Bounds of the groups."""
        for name in ("ordered", "hard", "rest"):
            require(getattr(self, name) >= 0, self, name, "at least 0")
        require(self.k >= 1, self, "ordered", "at least 1 if the other groups are empty")
        require(self.window >= self.hard, self, "window", f"at least hard={self.hard}")

    @property
    def k(self) -> int:  # type: ignore[override]
        """Documents per query."""
        return self.ordered + self.hard + self.rest

    def weigh(self, view: Pairs, ctx: Context) -> NDArray[np.float64]:
        """Minus the place for the head and the best draws of the other two groups; ``-inf`` for what is not chosen."""
        place = _places(view, self.by)
        draws = noise.uniform(ctx.seed, "Groups", *ctx.keys(view.query, view.doc))
        chosen = place <= self.ordered
        deep = place > self.ordered + self.window
        for size, group in ((self.hard, ~chosen & ~deep), (self.rest, deep)):
            among = np.where(group & (view.label == CANDIDATE), draws, -np.inf)
            chosen = chosen | segments.topk_mask(among, view.starts, size, view.doc)
        return np.where(chosen, -place.astype(np.float64), -np.inf)

    def draw(self, view: Pairs, logits: NDArray[np.float64], ctx: Context) -> NDArray[np.float64]:
        """Drawn already: each group by itself."""
        return logits


@declare
class Grades(ListScorer):
    """Target of listwise training by the teacher's rank: 1/rank in the head, -0.25 in the window, -0.5 below.

    The groups are those of `Groups` with the same ``ordered`` and ``window``, so this stands before it:
    ``Dense('student', k=200) >> CrossEncoder('teacher') >> Grades(ordered=5) >> Groups(ordered=5, by='teacher')``.
    Pairs inside the window, and pairs below it, have no order. Zeng, Zamani and Vinay 2022, CL-DRD, arXiv:2204.13679,
    whose values these are. Column: ``grade``; ``score`` keeps its meaning.
    """

    ordered: int = 5  # documents of the head
    window: int = 50  # ranks after the head that count as hard
    by: str = "score"  # score column, the teacher's

    def check(self) -> None:
        """Bounds of the groups."""
        require(self.ordered >= 0, self, "ordered", "at least 0")
        require(self.window >= 0, self, "window", "at least 0")

    @property
    def column(self) -> str:
        """Always ``grade``."""
        return "grade"

    def rate(self, view: Pairs) -> NDArray[np.floating]:
        """By position among what is alive, positives included."""
        place = _places(view, self.by)
        return np.where(place <= self.ordered, 1 / place, np.where(place <= self.ordered + self.window, -0.25, -0.5))


def _places(view: Pairs, by: str) -> NDArray[np.int32]:
    view.positive(by)  # refuses positives without a score: they have no place
    return segments.ranks(view[by], view.starts, view.doc)
