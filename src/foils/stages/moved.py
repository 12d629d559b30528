"""Sources that search with a query vector that they moved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foils.adapters.exact import pair_scores
from foils.stages.context import Context
from foils.stages.lists import Found
from foils.stages.writers import Source


class MovedQuery(Source):
    """The nearest documents to a query vector that was moved. An author writes ``moved``."""

    encoder: str

    def moved(self, query: NDArray[np.int32], ctx: Context) -> NDArray[np.float32]:
        """Vectors to search with, float32 (queries, d)."""
        raise NotImplementedError

    def retrieve(self, query: NDArray[np.int32], depth: int, ctx: Context) -> Found:
        """Search with the moved queries."""
        return ctx.index(self.encoder).search(self.moved(query, ctx), depth)

    def score(self, query: NDArray[np.int32], doc: NDArray[np.int32], ctx: Context) -> NDArray[np.float32]:
        """Inner product of the moved query and the document."""
        distinct, at = np.unique(query, return_inverse=True)
        return pair_scores(self.moved(distinct, ctx), ctx.vectors(self.encoder, "document"), at, doc)
