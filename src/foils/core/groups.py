"""Rows by the group they belong to: the passages of an article, the members of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from foils.core.ragged import Lists


@dataclass(frozen=True, eq=False)
class Groups:
    """Which group each row is in, and the rows of each group.

    Attributes:
        code: int32 (rows,), the number of the row's group, -1 for none.
        count: number of groups; a group may be empty.
        by: float64 (rows,), what the rows of a group are ordered by, or None for the row number. Ties go to the
            smaller row.

    >>> groups = Groups(np.array([1, 0, -1, 1], np.int32), 2)
    >>> [part.tolist() for part in groups.members(np.array([1, 0]))]
    [[0, 0, 1], [0, 3, 1]]
    """

    code: NDArray[np.int32]
    count: int
    by: NDArray[np.float64] | None = None

    @cached_property
    def order(self) -> NDArray[np.int32]:
        """The rows that are in a group, group after group, int32."""
        rows = np.flatnonzero(self.code >= 0)
        keys = (self.code[rows],) if self.by is None else (self.by[rows], self.code[rows])
        ordered: NDArray[np.int32] = rows[np.lexsort(keys)].astype(np.int32)
        return ordered

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each group begins in ``order``, int64 (count + 1,)."""
        sizes = np.bincount(self.code[self.code >= 0], minlength=self.count)
        return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)

    @cached_property
    def place(self) -> NDArray[np.int64]:
        """Where each row stands in ``order``, -1 for rows in no group, int64 (rows,)."""
        place = np.full(len(self.code), -1, np.int64)
        place[self.order] = np.arange(len(self.order))
        return place

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows in each group, int64 (count,)."""
        return np.diff(self.starts)

    @cached_property
    def lists(self) -> Lists:
        """The rows of each group."""
        return Lists(self.starts, self.order)

    def members(self, codes: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """All rows of the given groups; see `Lists.members`."""
        return self.lists.members(codes)
