"""The source of documents that were written for a query."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from foils.core import noise, segments
from foils.core.errors import DataError
from foils.core.links import ROLES, Links
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs, union
from foils.core.ragged import places
from foils.core.spec import declare, require
from foils.core.text import did_you_mean
from foils.stages.context import Context
from foils.stages.stage import Columns, Stage, complete

NAME = "written"


@declare
class Written(Stage):
    """The documents that were written for each query: see ``foils write``, and give its shard as the collection.

    Negatives become candidates; positives (paraphrases, views) become positives of their query. At most ``k`` of a
    query, those with the least draws, keyed by (seed, query id, document id). No other source finds them, and a query
    gets its own only. Their source is called ``written``. No score column; but scores that are there already are
    completed, so that filters see them beside what was mined.

    How many written negatives may stand beside mined ones is not settled: SyNeg (arXiv:2412.17250) mixes both, "Don't
    Retrieve, Generate" (arXiv:2504.21015, final version) finds written ones worse than mined ones. Begin with one or
    none beside each mined one, and measure with ``foils compare``.
    """

    family = "source"

    k: int | None = None  # at most so many of a query; all by default
    kinds: tuple[str, ...] | None = None  # only those of these kinds, as their authors call them; all by default
    of: Literal["negative", "positive"] = "negative"  # what they are to their query

    def check(self) -> None:
        """Bound of k; some kind if any is named."""
        require(self.k is None or self.k >= 1, self, "k", "at least 1, or None")
        require(self.kinds is None or len(self.kinds) > 0, self, "kinds", "a list of at least one, or None")

    @property
    def kind(self) -> str:
        """What its candidates' ranks are called."""
        return NAME

    def deeper(self, factor: int) -> Stage:
        """``factor`` times its k, if it has one."""
        return self if self.k is None else replace(self, k=self.k * factor)

    def run(self, pairs: Pairs, ctx: Context, step: int) -> Pairs:
        """Merge what was written for the block's queries."""
        links = ctx.once(("written", self), lambda: self._links(ctx))
        found = links.take(slice(*np.searchsorted(links.query, [ctx.block[0], ctx.block[-1] + 1])))
        found = found.take(np.isin(found.query, ctx.block))
        starts = segments.starts_of(found.query)
        draws = -noise.uniform(ctx.seed, "Written", *ctx.keys(found.query, found.doc))
        if self.k is not None:
            chosen = segments.topk_mask(draws, starts, self.k, found.doc)
            found, draws = found.take(chosen), draws[chosen]
            starts = segments.starts_of(found.query)
        order = np.lexsort((found.doc, -draws, found.query))
        rank = np.empty(len(order), np.int32)
        rank[order] = places(starts) + 1
        label = np.full(len(found), POSITIVE if self.of == "positive" else CANDIDATE, np.int8)
        brought = Pairs.build(found.query, found.doc, label, ranks={NAME: rank})
        return complete(union([pairs, brought]), ctx)

    def _links(self, ctx: Context) -> Links:
        links = self._all(ctx)
        chosen = links.role == ROLES.index(self.of)
        if self.kinds is not None:
            chosen &= np.isin(links.kind, [links.kinds.index(kind) for kind in self.kinds])
        return links.take(chosen)

    def _all(self, ctx: Context) -> Links:
        """What was written for the collection; refuses where that is nothing at all, and kinds that there are not."""
        links = ctx.data.written
        if not (links.role == ROLES.index(self.of)).any():
            remedy = "Write some: foils write DATA AUTHOR -o SHARD; then give SHARD in place of the collection."
            raise DataError(f"{self!r}: no {self.of} was written for {ctx.data.name!r}.", remedy=remedy)
        for kind in self.kinds or ():
            if kind not in links.kinds:
                there = ", ".join(map(repr, links.kinds))
                raise DataError(
                    f"{self!r}: nothing of kind {kind!r} was written for {ctx.data.name!r}; there is: {there}."
                    f"{did_you_mean(kind, links.kinds)}"
                )
        return links

    def check_columns(self, columns: Columns, ctx: Context) -> Columns:
        """Can stand anywhere; brings candidates if they are negatives."""
        self._all(ctx)
        return replace(columns, candidates=columns.candidates or self.of == "negative")
