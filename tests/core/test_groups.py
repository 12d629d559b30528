import numpy as np
import pytest

from foils.core.groups import Groups
from foils.core.ragged import expand


def test_members_are_the_rows_of_each_group_in_order():
    rng = np.random.default_rng(0)
    code = rng.integers(-1, 6, 200).astype(np.int32)
    by = rng.integers(0, 9, 200).astype(np.float64)
    groups = Groups(code, 8, by)
    asked = np.array([5, 7, 0, 5])
    which, row = groups.members(asked)
    slow = [
        (i, r)
        for i, c in enumerate(asked)
        for r in sorted(np.flatnonzero(code == c).tolist(), key=lambda row: (by[row], row))
    ]
    assert list(zip(which.tolist(), row.tolist(), strict=True)) == slow
    assert groups.sizes.tolist() == [(code == c).sum() for c in range(8)]
    assert (groups.place[code < 0] == -1).all()
    assert np.array_equal(groups.order[groups.place[code >= 0]], np.flatnonzero(code >= 0))


@pytest.mark.parametrize("sizes", [[], [0, 0], [2, 0, 3]])
def test_expand(sizes):
    first = np.arange(len(sizes)) * 10
    run, at = expand(first, np.array(sizes, np.int64))
    slow = [(i, first[i] + j) for i, size in enumerate(sizes) for j in range(size)]
    assert list(zip(run.tolist(), at.tolist(), strict=True)) == slow
