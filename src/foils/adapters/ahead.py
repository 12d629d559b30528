"""Search for the blocks of queries to come along with the one that is asked for.

Mining works on a thousand queries at a time. A search costs something for the documents whatever the number of queries
(large collections are coded anew for each), so several blocks are searched for at once, and the results wait.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.protocols import Found, Index

_QUERIES = 8192  # searched for at once
_CELLS = 1 << 22  # results that wait: 32 MB


class Ahead:
    """An index whose queries are known beforehand and come in their order.

    Args:
        index: finds for each query the same whichever others it is asked with.
        vectors: of all queries, (q, d).
    """

    def __init__(self, index: Index, vectors: NDArray[Any]) -> None:
        self.index, self.vectors = index, vectors
        self._start = 0
        self._found: Found = np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32)

    def search(self, rows: NDArray[np.integer], k: int) -> Found:
        """The k best documents of the queries in these rows (ascending); see `foils.adapters.protocols.Index`."""
        if not len(rows):
            return self.index.search(self.vectors[:0], k)
        first, stop = int(rows[0]), int(rows[-1]) + 1
        held, depth = self._found[0].shape
        if first < self._start or stop > self._start + held or depth < k:
            if stop - first > 2 * len(rows):  # scattered
                return self.index.search(self.vectors[rows], k)
            stop = max(stop, min(first + _QUERIES, first + _CELLS // k))
            self._found = self.index.search(self.vectors[first:stop], k)
            self._start = first
        doc, score = self._found
        return doc[rows - self._start, :k], score[rows - self._start, :k]
