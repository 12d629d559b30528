"""Thresholds from a file: what is compared with them, for which queries, and which files are refused."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from foils.core.cutoffs import Cutoffs, Group
from foils.core.errors import DataError, PipelineError, SpecError
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs
from foils.core.thresholds import ceiling, closeness
from foils.stages import BM25, BiEncoder, Calibrated, Dense, Ensure, MarginQuantile, Top
from foils.stages.calibrated import difficulty, nearness


@pytest.fixture
def view():
    rng = np.random.default_rng(0)
    query = np.repeat(np.arange(7), 9)
    label = np.where(np.arange(63) % 9 < 1 + query % 3, POSITIVE, CANDIDATE)
    label[query == 5] = CANDIDATE  # a query without a positive
    score = rng.integers(-4, 5, 63) / 4  # ties, negative scores and a zero
    return Pairs.build(query, np.arange(63), label, scores={"a": score})


def slow(view, kind, how):
    found = np.full(len(view), np.nan)
    reduce = {"min": min, "max": max, "mean": lambda x: sum(x) / len(x)}[how]
    for q in view.queries.tolist():
        rows = np.flatnonzero(view.query == q)
        s = view["a"].astype(float)
        positives = [s[i] for i in rows if view.label[i] == POSITIVE]
        others = [s[i] for i in rows if view.label[i] == CANDIDATE]
        if kind == "score":
            found[rows] = s[rows]
        elif positives:
            plus = reduce(positives)
            for i in rows:
                if kind == "quantile":
                    found[i] = (sum(x < s[i] for x in others) - sum(x < plus for x in others)) / len(others)
                elif kind == "absolute":
                    found[i] = s[i] - plus
                else:
                    gap = s[i] - plus
                    found[i] = gap / abs(plus) if plus else math.copysign(math.inf, gap) if gap else 0.0
    return found


@pytest.mark.parametrize("kind", ["relative", "absolute", "quantile", "score"])
@pytest.mark.parametrize("how", ["min", "max", "mean"])
def test_closeness_is_the_slow_loop(view, kind, how):
    assert np.allclose(nearness(view, "a", kind, how), slow(view, kind, how), equal_nan=True)


@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_closeness_and_ceiling_are_the_same_margin(kind):
    rng = np.random.default_rng(1)
    score, positive = rng.normal(size=1000), rng.normal(size=1000)
    assert np.array_equal(closeness(score, positive, kind) < -0.1, score < ceiling(positive, 0.1, kind))


def test_only_the_order_matters_in_quantiles(view):
    other = Pairs.build(view.query, view.doc, view.label, scores={"a": 100 * np.exp(3 * view["a"])})
    assert np.array_equal(
        nearness(view, "a", "quantile", "min"), nearness(other, "a", "quantile", "min"), equal_nan=True
    )
    kept = MarginQuantile(margin=0.25, by="a").decide(view, None)
    assert np.array_equal(kept, MarginQuantile(margin=0.25, by="a").decide(other, None))
    assert kept[view.query == 5].all()
    looser = MarginQuantile(margin=0.1, by="a").decide(view, None)
    assert not (kept & ~looser).any()
    with pytest.raises(SpecError, match="below 1"):
        MarginQuantile(margin=1.0)


def test_difficulty_counts_what_beats_the_positive():
    view = Pairs.build([0] * 4 + [1] * 2, range(6), [1, 0, 0, 0, 1, 0], scores={"a": [0.5, 0.5, 0.7, 0.1, 0.9, 0.8]})
    assert difficulty(view, "a", "min").tolist() == [2, 2, 2, 2, 0, 0]


@pytest.fixture
def table(tmp_path):
    def make(**changes):
        stage = Calibrated(str(tmp_path / "t.json"), by="student", groups=2)
        groups = (Group(2.0, -0.01), Group(math.inf, -0.3))
        values = {"settings": stage.settings(), "origin": "", "groups": groups, "odds": (9.0, 0.5), **changes}
        Cutoffs(**values).write(tmp_path / "t.json")
        return stage

    return make


def test_each_group_has_its_threshold(context, table):
    ctx, stage = context(), table()
    out = (Dense("student", k=20) >> stage)(ctx.data.positives("train").bare(), ctx)
    candidate = out.label == CANDIDATE
    hard = difficulty(out, "student", "min") > 2
    near = nearness(out, "student", "absolute", "min")
    assert 0 < hard[candidate].sum() < candidate.sum()
    assert np.array_equal(out.dropped[candidate] == 0, (near < np.where(hard, -0.3, -0.01))[candidate])
    assert set(out.dropped.tolist()) == {0, 2}


@pytest.mark.parametrize("kind", ["absolute", "relative", "score"])
def test_starving_queries_are_deepened_below_the_threshold(context, tmp_path, kind):
    """And what is left is what a pool leaves that is as deep as that goes: its promise is of all of it."""
    ctx = context()
    bound = {"absolute": -0.1, "relative": -0.1, "score": 0.7}[kind]
    stage = Calibrated(str(tmp_path / "t.json"), by="student", kind=kind)
    Cutoffs(stage.settings(), "", (Group(math.inf, bound),), None).write(tmp_path / "t.json")
    known = ctx.data.positives("train").bare()

    def kept(pipeline):
        whole = pipeline(known, ctx)
        rows = whole.alive & (whole.label == CANDIDATE)
        assert (nearness(whole, "student", kind, "min")[rows] < bound).all()
        out = whole.take(rows)
        return set(zip(out.query.tolist(), out.doc.tolist(), strict=True))

    shallow = kept(Dense("student", k=5) >> stage >> Top(k=4))
    deepened = kept(Dense("student", k=5) >> stage >> Top(k=4) >> Ensure("deepen"))
    assert shallow < deepened
    assert deepened == kept(Dense("student", k=40) >> stage >> Top(k=4))


@pytest.mark.parametrize(
    "stage", [Calibrated("t.json", kind="quantile"), Calibrated("t.json", groups=2), MarginQuantile()]
)
def test_what_depends_on_the_depth_is_not_deepened(stage):
    with pytest.raises(PipelineError, match=r"depends on how deep the lists are.*Mine all queries deeper"):
        Ensure("deepen").check_after((Dense("student", k=5), stage, Top(k=4)))
    Ensure("drop").check_after((Dense("student", k=5), stage, Top(k=4)))


def test_infinite_thresholds_keep_all_and_none(context, table):
    for threshold, share in ((math.inf, 1.0), (-math.inf, 0.0)):
        ctx, stage = context(), table(groups=(Group(math.inf, threshold),))
        assert Cutoffs.read(stage.path).groups[0].threshold == threshold
        out = (Dense("student", k=20) >> stage)(ctx.data.positives("train").bare(), ctx)
        assert (out.dropped[out.label == CANDIDATE] == 0).mean() == share


def test_the_file_is_part_of_the_result(context, table):
    stage = table()
    before = stage.inputs(context())
    table(odds=(9.0, 0.6))
    assert list(before) == [stage.path]
    assert before != stage.inputs(context())


def test_thresholds_of_other_settings_or_another_model_are_refused(context, table):
    ctx, stage = context(), table()
    positives = ctx.data.positives("train").bare()
    with pytest.raises(PipelineError, match=r"found with target=0\.02"):
        (Dense("student", k=9) >> dataclasses.replace(stage, target=0.05))(positives, ctx)
    other = table(origin=Dense("teacher", k=9).origin(ctx.identity))
    with pytest.raises(PipelineError, match="another model"):
        (Dense("student", k=9) >> other)(positives, context())
    same = table(origin=Dense("student", k=9).origin(ctx.identity))
    (BM25(k=9) >> BiEncoder("student") >> same)(positives, context())


def test_files_that_are_none_are_refused(context, table, tmp_path):
    stage, ctx = table(), context()
    positives, file = ctx.data.positives("train").bare(), tmp_path / "t.json"
    for text, message in (
        ("{", "cannot be read as JSON"),
        ("[1]", "holds 'list'"),
        (json.dumps({"kind": "foils thresholds", "version": 2}), "of version 1"),
        (json.dumps({"kind": "foils thresholds", "version": 1}), "not what foils calibrate writes"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=message):
            (Dense("student", k=9) >> stage)(positives, context())
    file.unlink()
    with pytest.raises(DataError, match="foils calibrate NEG"):
        (Dense("student", k=9) >> stage)(positives, context())


def test_bounds():
    for wrong, bound in (({"target": 0.0}, "above 0"), ({"groups": 0}, "at least 1"), ({"level": 1.0}, "below 1")):
        with pytest.raises(SpecError, match=bound):
            Calibrated("t.json", **wrong)
    with pytest.raises(SpecError, match="name of a file"):
        Calibrated("")
