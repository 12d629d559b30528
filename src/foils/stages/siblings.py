"""Context negatives: other parts of what a positive is a part of."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foils.core import ragged
from foils.core.spec import declare, require
from foils.stages.context import Context
from foils.stages.lists import CELLS, Found, counts_of, drawn, is_positive, joined, merged, positives_of
from foils.stages.parents import Parents, parents
from foils.stages.writers import Source


@declare
class Siblings(Source):
    """Other parts of the document that a positive is a part of: same article, same topic, another passage.

    The context negatives of Lu et al. (2020, arXiv:2010.12523; EMNLP 2021 main 492): other passages or sentences of the
    gold document. They share its vocabulary and subject, and may well contain the answer: follow them with a filter
    such as NoAnswer(). What a document is a part of is said by its metadata, or by its title; ``foils import --cut``
    makes sentences or passages that know their document.

    ``near`` orders by the number of parts between the sibling and the nearest positive of the same parent (ties to the
    smaller document row); parts are ordered by the number ``metadata.position`` if all have one, else as in the corpus.
    ``drawn`` shuffles, keyed by (seed, query id, document id). Positives without a parent have no siblings. No score
    column.
    """

    k: int  # candidates per query
    parent: str = "parent"  # metadata key that names the parent, or 'title' for documents of the same title
    order: Literal["near", "drawn"] = "near"  # which siblings come first

    def check(self) -> None:
        """Bound of k."""
        require(self.k >= 1, self, "k", "at least 1")
        require(self.parent != "", self, "parent", "a metadata key, or 'title'")

    def retrieve(self, query: NDArray[np.int32], depth: int, ctx: Context) -> Found:
        """Neighbours in the parent's order, or draws from all its parts; never a known positive."""
        family = parents(ctx, self.parent)
        return self._near(query, depth, family, ctx) if self.order == "near" else self._drawn(query, depth, family, ctx)

    def _near(self, query: NDArray[np.int32], depth: int, family: Parents, ctx: Context) -> Found:
        groups, known = family.groups, counts_of(query, ctx)
        found = []
        for part in ragged.slices(known * (2 * (depth + known) + 1), CELLS):
            owner, positive = positives_of(query[part], ctx)
            inside = family.code[positive] >= 0
            owner, positive = owner[inside], positive[inside]
            # A query's positives may take up places of the window, so it is wider by as many.
            reach = depth + known[part][owner]
            place, code = groups.place[positive], family.code[positive]
            first = np.maximum(place - reach, groups.starts[code])
            last = np.minimum(place + reach + 1, groups.starts[code + 1])
            which, at = ragged.expand(first, last - first)
            doc = groups.order[at]
            free = ~is_positive(query[part][owner[which]], doc, ctx)
            which, at, doc = which[free], at[free], doc[free]
            nearness = -np.abs(at - place[which]).astype(np.float32)
            found.append(merged(owner[which], doc, nearness, part.stop - part.start, depth))
        return joined(found, depth)

    def _drawn(self, query: NDArray[np.int32], depth: int, family: Parents, ctx: Context) -> Found:
        owner, positive = positives_of(query, ctx)
        inside = family.code[positive] >= 0
        pairs = np.unique(np.stack([owner[inside], family.code[positive[inside]]]), axis=1)
        return drawn("Siblings", query, (pairs[0], pairs[1], family.groups.lists), depth, ctx)
