"""The same random calls to ours and to the incumbent: the same rows, scores, types, lines and errors."""

from __future__ import annotations

import contextlib
import io
import re

import numpy as np
import pytest
from datasets import Dataset
from sentence_transformers.util import mine_hard_negatives as theirs

from compat.stub import StubCrossEncoder, StubModel
from foils.compat import mine_hard_negatives as ours

CASES = 250


def pairs(rng: np.random.Generator) -> dict[str, list[str]]:
    """Repeated anchors, repeated positives and repeated rows."""
    rows, topics = int(rng.integers(1, 60)), int(rng.integers(1, 6))
    anchors = [f"t{i % topics} question {i}" for i in rng.integers(0, max(1, rows * 3 // 4), rows)]
    positives = [f"{anchor.split()[0]} answer {rng.integers(0, rows)}" for anchor in anchors]
    return {"anchor": anchors, "positive": positives, "other": [str(i) for i in range(rows)]}


def options(rng: np.random.Generator, data: dict[str, list[str]]) -> dict:
    def maybe(chance, value):
        return value if rng.random() < chance else None

    k = int(rng.integers(1, 6))
    lo = int(rng.integers(0, 4)) if rng.random() < 0.3 else 0
    words = [f"t{rng.integers(0, 6)} passage {i}" for i in rng.integers(0, 80, int(rng.integers(0, 90)))]
    asked = {
        "num_negatives": k,
        "range_min": lo,
        "range_max": maybe(0.4, lo + k + int(rng.integers(-1, 30))),
        "max_score": maybe(0.25, float(rng.uniform(0.2, 0.9))),
        "min_score": maybe(0.25, float(rng.uniform(-0.5, 0.4))),
        "absolute_margin": maybe(0.25, float(rng.uniform(-0.1, 0.3))),
        "relative_margin": maybe(0.35, float(rng.uniform(0, 0.3))),
        "include_positives": bool(rng.random() < 0.1),
        "output_format": str(rng.choice(["triplet", "n-tuple", "labeled-pair", "labeled-list"])),
        "output_scores": bool(rng.random() < 0.5),
        "faiss_batch_size": int(rng.choice([1, 7, 16384])),
        "use_faiss": bool(rng.random() < 0.4),
        "query_prompt": maybe(0.2, "q: "),
        "corpus_prompt": maybe(0.2, "d: "),
        "anchor_column_name": maybe(0.3, "anchor"),
        "positive_column_name": maybe(0.3, "positive"),
        "corpus": maybe(0.5, words + list(rng.permutation(data["positive"])[: int(rng.integers(0, 20))])),
    }
    return {name: value for name, value in asked.items() if value is not None}


def run(function, data, asked, judge):
    """Result or message, and what was printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        try:
            result = function(Dataset.from_dict(data), StubModel(), cross_encoder=judge, **asked)
        except ValueError as error:
            result = str(error)
    return result, printed.getvalue()


def assert_same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, str):
        assert found == expected
        return
    assert found.column_names == expected.column_names
    assert len(found) == len(expected)
    if len(expected):
        assert found.features == expected.features
    for name in expected.column_names:
        left, right = found[name], expected[name]
        if name in ("score", "scores"):
            for a, b in zip(left, right, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-6, rtol=0)
        else:
            assert list(left) == list(right)


def lines(printed: str) -> list[str]:
    """Figures of four decimals are compared with what rounding allows; -0.0000 is one character wider."""
    return re.sub(r" +", " ", re.sub(r"-?\d+\.\d{4}(?!\d)", "#", printed)).splitlines()


def figures(printed: str) -> list[float]:
    return [float(figure) for figure in re.findall(r"-?\d+\.\d{4}(?!\d)", printed)]


@pytest.mark.parametrize("seed", range(CASES))
def test_same_as_the_incumbent(seed):
    rng = np.random.default_rng(seed)
    data = pairs(rng)
    asked = options(rng, data)
    bounded = {"max_score", "min_score", "absolute_margin", "relative_margin"} & set(asked)
    judged = bool(bounded) and rng.random() < 0.3  # without a bound the incumbent ignores the cross-encoder
    found, said = run(ours, data, asked, StubCrossEncoder() if judged else None)
    expected, told = run(theirs, data, asked, StubCrossEncoder() if judged else None)
    assert_same(found, expected)
    assert lines(said) == lines(told)
    np.testing.assert_allclose(figures(said), figures(told), atol=1.1e-4, rtol=0)


@pytest.mark.parametrize("seed", range(60))
def test_random_draws_are_as_many_and_within_the_window(seed):
    """Another generator, so other draws; but as many for each anchor, of what the window holds."""
    rng = np.random.default_rng(1000 + seed)
    data = pairs(rng)
    asked = options(rng, data) | {"include_positives": False, "output_format": "labeled-pair", "output_scores": True}
    found, _ = run(ours, data, asked | {"sampling_strategy": "random"}, None)
    expected, _ = run(theirs, data, asked | {"sampling_strategy": "random"}, None)
    if isinstance(expected, str):
        assert found == expected
        return
    assert list(found["anchor"]) == list(expected["anchor"])
    window = asked.get("range_max", 200) - asked["range_min"]
    everything, _ = run(ours, data, asked | {"num_negatives": window, "range_max": window + asked["range_min"]}, None)
    drawn, there = (set(zip(table["anchor"], table["positive"], strict=True)) for table in (found, everything))
    assert drawn <= there


@pytest.mark.parametrize("seed", range(40))
def test_copies_of_positives_are_as_if_they_were_not_there(seed):
    """One anchor: with copies of its positives in the corpus, ours gives what the incumbent gives without them."""
    rng = np.random.default_rng(2000 + seed)
    positives = [f"t0 answer {i}" for i in range(int(rng.integers(1, 4)))]
    data = {"anchor": ["t0 question"] * len(positives), "positive": positives}
    others = [f"t{rng.integers(0, 2)} passage {i}" for i in range(int(rng.integers(5, 40)))]
    copies = [change(text) for text in positives for change in (str.upper, "  {} ".format, str.title)]
    asked = options(rng, data) | {"include_positives": False, "use_faiss": False}
    with_copies = [str(text) for text in rng.permutation(others + copies[: int(rng.integers(1, len(copies) + 1))])]
    without = [text for text in with_copies if text not in copies]
    found, _ = run(ours, data, asked | {"corpus": with_copies}, None)
    expected, _ = run(theirs, data, asked | {"corpus": without}, None)
    assert_same(found, expected)
