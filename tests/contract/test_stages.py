"""What every stage promises, over the registry: a new stage is tested on arrival."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest

from foils.core.errors import FoilsError, PipelineError, SpecError
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs, joined
from foils.core.spec import full, parse, registry
from foils.filling import share
from foils.stages import BM25, CrossEncoder, Dense, PositiveSimilarity, Random, Stage

# Fields that have no sensible default. A new stage with a required field of another name needs a line here.
REQUIRED = {
    "k": 4,
    "encoder": "student",
    "at": 0.95,
    "path": "given",
    "by": "student",
    "checkpoints": ["student", "teacher"],
}
OTHERS = {
    "CrossEncoder": {"encoder": "judge"},
    "Denoise": {"encoder": "judge", "hi": 0.5},
    "Ensure": {"k": 4},
    "Between": {"hi": 0.9},
    "Capped": {"share": 1.0},
    "Calibrated": {"path": str(Path(__file__).with_name("thresholds.json")), "groups": 2},
    "Ranks": {"lo": 3, "hi": 12, "by": "student"},
    "Siblings": {"parent": "title"},
    "Apart": {"parent": "title", "adjacent": 2},
    "PerParent": {"parent": "title"},
    "Positions": {"lo": 2, "hi": 9, "by": "student"},
    "Quantile": {"hi": 0.8, "by": "student"},
    "RankPrior": {"judged": "test"},
    "AdaptiveMix": {"kinds": ("bm25", "student"), "weights": (2.0, 1.0)},
    "Mix": {"kinds": ("bm25", "student"), "weights": (2.0, 1.0)},
    "Doubted": {"by": "judge"},
    "Relevance": {"path": str(Path(__file__).with_name("thresholds.json"))},
    "Groups": {"ordered": 2, "hard": 3, "rest": 4, "window": 6},
}
POOL = BM25(k=12) + Dense("student", k=12) + Random(k=5)
# Stages that read a column which no source makes: one of a stage before them.
AFTER = {"Doubted": CrossEncoder("judge"), "TriSampler": PositiveSimilarity("student", positives="lowest")}
# Samplers that leave some candidates out for good, by what they mean; all others keep k where there are k.
SELECTIVE = {"AdaptiveMix", "Denoise", "DistanceWeighted", "Groups", "Mix", "RankPrior", "TriSampler"}


def example(cls: type[Stage]) -> Stage:
    fields, given = dataclasses.fields(cls), OTHERS.get(cls.__name__, {})
    if "by" in {f.name for f in fields}:
        given = {"by": "student", **given}
    required = {f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING}
    return cls(**{**{name: REQUIRED[name] for name in required - given.keys()}, **given})


STAGES = {name: cls for name, cls in registry("stage").items() if cls.__module__.startswith("foils.")}
TESTED = {name: example(cls) for name, cls in STAGES.items() if name not in ("Load", "Written")}
each = pytest.mark.parametrize("stage", TESTED.values(), ids=TESTED)
by_family = {family: [s for s in TESTED.values() if s.family == family] for family in ("filter", "sampler", "labeler")}


def run(stage: Stage, ctx, block: int | None = None) -> Pairs:
    pipeline = stage if stage.family == "source" else before(stage) >> stage
    known = ctx.data.positives(ctx.split).bare()
    size = block or len(ctx.rows)
    blocks = [ctx.rows[i : i + size] for i in range(0, len(ctx.rows), size)]
    return joined([pipeline(share(known, b), ctx.at(b)) for b in blocks])


def before(stage: Stage) -> Stage:
    name = type(stage).__name__
    return POOL >> AFTER[name] if name in AFTER else POOL


def facts(pairs: Pairs) -> dict:
    """What is decided about each (query, document), whatever the order of rows."""
    rows = zip(pairs.key.tolist(), pairs.label.tolist(), pairs.dropped.tolist(), strict=True)
    scores = {name: dict(zip(pairs.key.tolist(), v.tolist(), strict=True)) for name, v in pairs.scores.items()}
    return {"rows": {k: (label, d) for k, label, d in rows}, "scores": scores}


def same(a: Pairs, b: Pairs) -> bool:
    x, y = facts(a), facts(b)
    return x["rows"] == y["rows"] and all(
        np.array_equal(list(x["scores"][n].values()), list(y["scores"][n].values()), equal_nan=True)
        for n in x["scores"]
    )


@each
def test_text_form_round_trips(stage):
    assert parse(repr(stage)) == stage
    assert parse(full(stage)) == stage
    assert all(f.name in full(stage) or f.name in ("encoder", "by", "path") for f in dataclasses.fields(stage))


@pytest.mark.parametrize("cls", STAGES.values(), ids=STAGES)
def test_every_stage_is_documented(cls):
    assert len(inspect.getdoc(cls) or "") > 60
    assert cls.family in {"source", "scorer", "labeler", "filter", "sampler", "shortfall"}


@each
def test_known_positives_survive_with_label_1(stage, context):
    ctx = context()
    out = run(stage, ctx)
    at = out.find(ctx.data.positives("train"))
    assert (at >= 0).all()
    assert (out.label[at] == POSITIVE).all()
    assert (out.dropped[at] == 0).all()
    assert len(np.unique(out.key)) == len(out)


@each
def test_a_copy_of_a_positive_is_a_positive(stage, context):
    out = run(stage, context())
    data = context().data
    positives = out.take(out.label == POSITIVE)
    positive = {(q, data.same[d]) for q, d in zip(positives.query, positives.doc, strict=True)}
    negatives = out.take(out.label == CANDIDATE)
    assert not positive & {(q, data.same[d]) for q, d in zip(negatives.query, negatives.doc, strict=True)}


@each
@pytest.mark.parametrize("block", [1, 7])
def test_blocks_change_nothing(stage, context, block):
    if stage.whole:
        with pytest.raises(PipelineError, match="for all 45 queries at once"):
            run(stage, context(), block)
        return
    assert same(run(stage, context()), run(stage, context(), block))


@each
def test_same_seed_same_result(stage, context):
    assert same(run(stage, context(3)), run(stage, context(3)))


@pytest.mark.parametrize("stage", list(by_family["sampler"]), ids=repr)
def test_a_sampler_keeps_k_without_replacement_and_a_noisy_one_depends_on_the_seed(stage, context):
    ctx = context()
    pool = run_pool(ctx, stage)
    out = stage(pool, ctx)
    possible = pool.label == CANDIDATE
    if type(stage).__name__ in SELECTIVE:
        possible &= stage.weigh(pool, ctx) > -np.inf
    for query in np.unique(out.query):
        kept = (out.query == query) & (out.label == CANDIDATE) & (out.dropped == 0)
        assert kept.sum() == min(stage.k, (possible & (pool.query == query)).sum())
    assert same(out, stage(pool, dataclasses.replace(ctx, seed=1))) == (not stage.noisy)


def run_pool(ctx, stage: Stage) -> Pairs:
    return before(stage)(ctx.data.positives(ctx.split).bare(), ctx)


@each
def test_a_family_does_only_what_it_may(stage, context):
    if stage.family == "source":
        return
    pool, after = run_pool(context(), stage), run(stage, context())
    assert np.array_equal(pool.key, after.key)
    for name, values in pool.scores.items():
        if stage.family != "scorer" or name != stage.column:
            assert np.array_equal(values, after.scores[name], equal_nan=True)
    if stage.family != "labeler":
        assert np.array_equal(pool.label, after.label)
    if stage.family in ("scorer", "labeler"):
        assert np.array_equal(pool.dropped, after.dropped)
    step = 1 + sum(1 for _ in before(stage).steps())
    assert set(after.dropped[pool.label == CANDIDATE].tolist()) <= {0, step, -step}


@each
def test_row_order_within_a_query_changes_nothing(stage, context):
    if stage.family == "source":
        pytest.skip("a source has no rows to permute")
    ctx = context()
    pool = run_pool(ctx, stage)
    shuffled = pool.take(np.random.default_rng(0).permutation(len(pool)))
    shuffled = shuffled.take(np.argsort(shuffled.query, kind="stable"))
    assert facts(stage(shuffled, ctx))["rows"] == facts(stage(pool, ctx))["rows"]


@each
def test_no_candidates_and_all_dropped_are_fine(stage, context):
    ctx = context()
    if stage.family == "source":
        assert len(stage(Pairs.empty(), ctx)) >= 0
        return
    pool = run_pool(ctx, stage)
    gone = dataclasses.replace(pool, dropped=np.where(pool.label == CANDIDATE, 9, 0).astype(np.int16))
    out = stage.run(gone, ctx, 1)
    assert (out.dropped[pool.label == CANDIDATE] == 9).all()
    nothing = stage.run(pool.take(pool.label == POSITIVE), ctx, 1)
    assert (nothing.dropped == 0).all()
    assert len(stage.run(pool.take(np.zeros(len(pool), bool)), ctx, 1)) == 0


def test_bad_bounds_are_refused_for_every_k():
    for name, cls in STAGES.items():
        if "k" in {f.name for f in dataclasses.fields(cls)}:
            values = {f.name: getattr(example(cls), f.name) for f in dataclasses.fields(cls)}
            with pytest.raises(SpecError, match="k must be at least 1"):
                cls(**{**values, "k": 0})
            assert name in repr(example(cls))


def test_an_unknown_encoder_is_named_with_the_remedy(context):
    with pytest.raises(FoilsError, match="--encoder nobody=MODEL"):
        run(Dense("nobody", k=3), context())
