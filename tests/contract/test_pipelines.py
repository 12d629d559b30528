"""What holds of any pipeline: random ones, composed of every stage there is, on a collection with every fault.

No stage is described here. Where a random pipeline makes no sense, an error of ours must say so.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import foils
from contract.test_stages import TESTED
from foils.core.errors import FoilsError
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs, joined
from foils.filling import share
from foils.stages import (
    Apart,
    BiEncoder,
    Context,
    Dense,
    Ensure,
    HeldOut,
    NearPositive,
    NoAnswer,
    PositiveAware,
    Stage,
)
from foils.stages.readers import Filter
from little import write_jsonl

SOURCES = [stage for stage in TESTED.values() if stage.family == "source"]
SOURCES += [Dense("student", k=5, index="bits"), Dense("teacher", k=60)]
SCORERS = [stage for stage in TESTED.values() if stage.family in ("scorer", "labeler")]
FILTERS = [stage for stage in TESTED.values() if stage.family == "filter"]
SAMPLERS = [stage for stage in TESTED.values() if stage.family == "sampler"]
POLICIES = [Ensure(short, k=5) for short in ("drop", "deepen", "relax", "random")]
# What these say of a pair does not depend on what else is in the list.
PAIRWISE = (Apart, HeldOut, NearPositive, NoAnswer, PositiveAware)
WORDS = ["red", "blue", "green", "salt", "iron", "wood", "Straße", "naïve", "日本", "語"]


@st.composite
def pipelines(draw) -> Stage:
    pipeline = draw(st.sampled_from([Dense("student", k=30), *SOURCES]))
    for source in draw(st.lists(st.sampled_from(SOURCES), max_size=2)):
        pipeline = pipeline + source
    if draw(st.booleans()):
        pipeline = pipeline >> BiEncoder("student")  # else many of the others would have no score to read
    k = draw(st.sampled_from([1, 2, 30]))
    parts = [
        *draw(st.lists(st.sampled_from(SCORERS), max_size=2)),
        *draw(st.lists(st.sampled_from(FILTERS), max_size=3)),
        *draw(st.lists(st.sampled_from(SAMPLERS), max_size=1)),
        *draw(st.lists(st.sampled_from(POLICIES), max_size=2)),
    ]
    for stage in parts:
        fields = {field.name for field in dataclasses.fields(stage)}
        pipeline = pipeline >> (dataclasses.replace(stage, k=k) if "k" in fields and stage.k is not None else stage)
    return pipeline


def make(folder, documents: int, queries: int):
    """Copies, an empty text, queries that are documents, one query of which everything is a positive, odd ids."""
    rng = np.random.default_rng(documents)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 6))) for _ in range(documents)]
    texts = [texts[i // 2].upper() if i % 5 == 4 else text for i, text in enumerate(texts)]
    ids = [f"d {i} é" if i % 3 else f"日{i}" for i in range(documents)]
    corpus = [{"_id": id_, "title": "ABC"[i % 3], "text": t} for i, (id_, t) in enumerate(zip(ids, texts, strict=True))]
    asked, judged = [], {"train": [], "test": [], "probe": []}
    for i in range(queries):
        text = texts[i % documents] if i % 3 == 0 else " ".join(rng.choice(WORDS, 3))
        asked.append({"_id": f"q {i}", "text": f"{text} {'?' * i}", "metadata": {"answers": ["salt"] if i % 2 else []}})
        positives = range(documents) if i == 3 else rng.choice(documents, min(documents, 1 + i % 3), replace=False)
        judged[("train", "train", "test", "probe", "train")[i % 5]].extend((f"q {i}", ids[d], 1) for d in positives)
    (folder / "qrels").mkdir(parents=True)
    write_jsonl(folder / "corpus.jsonl", corpus)
    write_jsonl(folder / "queries.jsonl", [*asked, {"_id": "lonely", "text": "nobody knows"}])
    for split, rows in judged.items():
        lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in rows)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return foils.load(folder)


@pytest.fixture(scope="module")
def collections(tmp_path_factory, _own_cache):
    folder = tmp_path_factory.mktemp("random")
    return [make(folder / str(n), n, queries) for n, queries in ((1, 6), (4, 9), (40, 16))]


@given(
    pipeline=pipelines(), which=st.integers(0, 2), seed=st.integers(0, 2), lonely=st.booleans(), block=st.integers(1, 4)
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_pipeline(pipeline, which, seed, lonely, block, collections, models, cache):
    data = collections[which]
    rows = data.query_rows("train")
    if lonely:
        rows = np.append(rows, data.queries.rows_of(["lonely"])).astype(np.int32)
    ctx = Context(data, "train", seed, rows, rows, models, cache)
    try:
        out = run(pipeline, ctx, len(rows))
    except FoilsError:
        return
    check_positives(out, ctx)
    check_negatives(out, pipeline, ctx)
    if not any(step.whole for step in pipeline.steps()):
        assert identical(out, run(pipeline, dataclasses.replace(ctx, _made={}), block))


def run(pipeline: Stage, ctx: Context, block: int) -> Pairs:
    known = ctx.data.positives(ctx.split).bare()
    blocks = [ctx.rows[at : at + block] for at in range(0, len(ctx.rows), block)]
    return joined([pipeline(share(known, part), ctx.at(part)) for part in blocks])


def check_positives(out: Pairs, ctx: Context) -> None:
    known = ctx.data.positives("train")
    at = out.find(known.take(np.isin(known.query, ctx.rows)))
    assert (at >= 0).all()
    assert (out.label[at] == POSITIVE).all()
    assert (out.dropped[at] == 0).all()


def check_negatives(out: Pairs, pipeline: Stage, ctx: Context) -> None:
    kept = out.kept()
    negative = kept.label == CANDIDATE
    texts = [(q, ctx.data.same[d]) for q, d in zip(kept.query.tolist(), kept.doc.tolist(), strict=True)]
    negatives = [text for text, is_negative in zip(texts, negative, strict=True) if is_negative]
    assert len(set(negatives)) == len(negatives)
    assert not set(negatives) & {text for text, is_negative in zip(texts, negative, strict=True) if not is_negative}
    if any(step.family == "sampler" for step in pipeline.steps()):
        most = max(step.k for step in pipeline.steps() if step.family in ("sampler", "shortfall"))
        assert np.bincount(kept.query[negative], minlength=1).max() <= most
    assert not any(np.isinf(values).any() for values in out.scores.values())
    assert not (out.dropped[out.label == POSITIVE] != 0).any()
    promoted_or_relaxed = {"labeler"} & {step.family for step in pipeline.steps()} or "relax" in repr(pipeline)
    for judge in pipeline.steps():
        if isinstance(judge, Filter) and isinstance(judge, PAIRWISE) and not promoted_or_relaxed:
            fine = judge.decide(kept, ctx)
            assert fine[negative].all(), judge


def identical(a: Pairs, b: Pairs) -> bool:
    def columns(pairs: Pairs) -> dict[str, np.ndarray]:
        order = np.argsort(pairs.key)
        named = {"key": pairs.key, "label": pairs.label, "dropped": pairs.dropped, **pairs.scores}
        named |= {f"rank.{name}": values for name, values in pairs.ranks.items()}
        return {name: values[order] for name, values in named.items()}

    x, y = columns(a), columns(b)
    return x.keys() == y.keys() and all(
        np.array_equal(x[name], y[name], equal_nan=x[name].dtype.kind == "f") for name in x
    )
