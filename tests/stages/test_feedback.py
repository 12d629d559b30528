"""Queries moved towards their first results: against a loop over queries, and where it is another source."""

from __future__ import annotations

import numpy as np
import pytest

from contract.test_stages import run
from foils.core.errors import PipelineError, SpecError
from foils.core.pairs import CANDIDATE
from foils.core.spec import full, parse
from foils.stages import BiEncoder, Dense, Feedback


def moved_by_hand(queries, docs, stage):
    """Row by row, as the paper has it, in float64."""
    found = []
    for q in np.asarray(queries, np.float64):
        first = sorted(range(len(docs)), key=lambda d: (-np.float32(docs[d] @ q.astype(np.float32)), d))[: stage.depth]
        mean = np.zeros(len(q))
        for d in first:
            mean += docs[d] / np.linalg.norm(docs[d]) / len(first)
        found.append(stage.alpha * q / np.linalg.norm(q) + stage.beta * mean)
    return np.stack(found)


@pytest.mark.parametrize(
    "stage",
    [
        Feedback("student", k=6),
        Feedback("student", k=6, depth=1, alpha=1.0, beta=2.0),
        Feedback("student", k=6, depth=1000, alpha=0.5, beta=0.5),
    ],
    ids=repr,
)
def test_as_by_hand(stage, context, data):
    ctx = context()
    docs, queries = ctx.vectors("student", "document"), ctx.vectors("student", "query")
    moved = moved_by_hand(queries, docs, stage)
    pairs = run(stage, ctx)
    positives = data.positives("train")
    known = set(zip(positives.query.tolist(), positives.doc.tolist(), strict=True))
    for i, query in enumerate(ctx.rows.tolist()):
        mine = (pairs.query == query) & (pairs.label == CANDIDATE)
        found, values = pairs.doc[mine], moved[i] @ docs.T
        np.testing.assert_allclose(pairs.scores["student.feedback"][mine], values[found], atol=1e-5)
        free = [
            d
            for d in range(len(docs))
            if (query, d) not in known and data.same[d] == d and d not in set(found.tolist())
        ]
        assert len(found) == 6
        assert values[free].max() <= values[found].min() + 1e-5


def test_it_finds_what_dense_does_not(context):
    ctx = context()
    one, two = run(Dense("student", k=6), ctx), run(Feedback("student", k=6), ctx)
    assert set(one.key.tolist()) != set(two.key.tolist())
    still = run(Feedback("student", k=6, beta=0.0), ctx)
    assert set(one.key.tolist()) == set(still.key.tolist())
    after = run(Feedback("student", k=6) >> BiEncoder("teacher"), ctx)
    assert after.latest == "teacher"


def test_what_is_refused(context):
    stage = Feedback("student", k=3, depth=2)
    assert parse(repr(stage)) == parse(full(stage)) == stage
    for text, said in (
        ("Feedback('student', k=0)", "k must be at least 1"),
        ("Feedback('student', k=1, depth=0)", "depth must be at least 1"),
        ("Feedback('student', k=1, alpha=-1)", "alpha must be at least 0"),
        ("Feedback('student', k=1, alpha=0, beta=0)", "beta must be"),
        ("Feedback('bm25', k=1)", "another name"),
    ):
        with pytest.raises(SpecError, match=said):
            parse(text)
    with pytest.raises(PipelineError, match="do not compare"):
        run(Feedback("student", k=3) + Feedback("student", k=3, depth=2), context())
