"""CL-DRD's groups and targets: counts of documents and of loss pairs, the golden loss, and a loop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foils.core.errors import SpecError
from foils.core.pairs import Pairs
from foils.stages import Dense, Ensure, Grades, Groups
from reference.drawing import frequencies


def ranking(n, positive_at, ctx):
    """The same list of n documents for every query, best first, the positive at a rank."""
    queries = ctx.rows
    return Pairs.build(
        np.repeat(queries, n),
        np.tile(np.arange(n), len(queries)),
        np.tile(np.arange(1, n + 1) == positive_at, len(queries)),
        scores={"t": np.tile(np.linspace(9, -9, n), len(queries))},
    )


@pytest.mark.parametrize(
    ("groups", "pairs"), [((5, 12, 13), 291), ((10, 10, 10), 345), ((20, 5, 5), 415)], ids=["1", "2", "3"]
)
def test_thirty_documents_and_the_published_number_of_loss_pairs(context, groups, pairs):
    ordered, hard, rest = groups
    pool = ranking(200, 3, context())
    graded = Grades(ordered=ordered, by="t").run(pool, context(), 1)
    assert graded.latest == "t"
    out = Groups(ordered=ordered, hard=hard, rest=rest, by="t").run(graded, context(), 2)
    for query in out.queries[:5]:
        kept = out.take((out.query == query) & (out.dropped == 0))
        place, grade = kept.doc + 1, kept["grade"]
        assert len(kept) == 30
        assert grade[place <= ordered] == pytest.approx(1 / place[place <= ordered])
        assert (grade == -0.25).sum() == hard == ((place > ordered) & (place <= ordered + 50)).sum()
        assert (grade == -0.5).sum() == rest == (place > ordered + 50).sum()
        assert (grade[:, None] > grade[None, :]).sum() == pairs


def test_golden_loss_of_the_targets():
    # Specification, appendix A8: student scores and the loss with these targets.
    y = Grades(ordered=2, window=2, by="t").rate(
        Pairs.build([0] * 5, range(5), [1, 0, 0, 0, 0], scores={"t": [9, 8, 3, 2, 1]})
    )
    assert y.tolist() == [1, 0.5, -0.25, -0.25, -0.5]
    s = [1, 2, 0.5, 1.5, 0]
    rank = {i: 1 + sum(other > s[i] for other in s) for i in range(5)}
    terms = [
        abs(1 / rank[i] - 1 / rank[j]) * math.log1p(math.exp(-(s[i] - s[j])))
        for i in range(5)
        for j in range(5)
        if y[i] > y[j]
    ]
    assert len(terms) == 9
    assert sum(terms) / 9 == pytest.approx(0.188100, abs=1e-6)


def test_groups_are_drawn_uniformly_each_from_its_ranks(context):
    score = np.linspace(1, 0, 12)
    label = [0, 1, *[0] * 10]  # a positive in the head fills a place of it
    got, sd = frequencies(Groups(ordered=3, hard=2, rest=1, window=4, by="t"), context, label, {"t": score}, rounds=60)
    assert got == pytest.approx([1, 0, 1, *[0.5] * 4, *[0.2] * 5], abs=4 * sd)


def test_a_deep_positive_stays_and_short_groups_are_not_filled(context):
    pool = ranking(9, 9, context())
    out = Groups(ordered=2, hard=5, rest=5, window=5, by="t").run(pool, context(), 1)
    kept = out.take((out.query == out.query[0]) & (out.dropped == 0))
    assert kept.doc.tolist() == list(range(9))
    out = Groups(ordered=2, hard=1, rest=5, window=5, by="t").run(pool, context(), 1)
    kept = out.take((out.query == out.query[0]) & (out.dropped == 0))
    assert len(kept) == 2 + 1 + 1 + 1
    assert 8 in kept.doc


def test_in_a_pipeline_and_bounds(context):
    ctx = context()
    out = (Dense("student", k=30) >> Grades(ordered=3, window=9) >> Groups(ordered=3, hard=4, rest=4, window=9))(
        ctx.data.positives("train").bare(), ctx
    )
    assert out.latest == "student"
    assert np.isfinite(out["grade"]).all()
    for bad in ({"ordered": -1}, {"hard": 60}, {"ordered": 0, "hard": 0, "rest": 0}):
        with pytest.raises(SpecError, match="Groups"):
            Groups(**bad)


def test_ensure_fills_up_behind_ratings_and_groups(context):
    ctx = context()
    pipeline = Dense("student", k=8) >> Grades(ordered=2, window=3) >> Groups(ordered=2, hard=3, rest=4, window=3)
    out = (pipeline >> Ensure("random"))(ctx.data.positives("train").bare(), ctx)
    kept = (out.label == 0) & (out.dropped == 0)
    assert (np.bincount(out.query[kept])[ctx.rows] == 9).all()
