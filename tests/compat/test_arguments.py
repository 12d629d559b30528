"""Arguments: errors, deprecated spellings, and what is passed on to the models."""

from __future__ import annotations

import inspect
import logging
import re
import sys

import pytest
from sentence_transformers import util as theirs

from compat.stub import StubCrossEncoder, StubModel, data, mine
from foils.compat import mine_hard_negatives


def test_signature_is_the_incumbents_and_a_seed():
    expected = list(inspect.signature(theirs.mine_hard_negatives).parameters.values())
    *found, seed = inspect.signature(mine_hard_negatives).parameters.values()
    assert [(p.name, p.default, p.kind) for p in found] == [(p.name, p.default, p.kind) for p in expected]
    assert (seed.name, seed.default, seed.kind) == ("seed", 0, inspect.Parameter.KEYWORD_ONLY)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"faiss_batch_size": 0}, "faiss_batch_size must be a positive integer, got 0."),
        ({"num_negatives": 0}, "num_negatives must be at least 1, got num_negatives=0."),
        ({"range_min": -1}, "range_min must be non-negative, got range_min=-1."),
        (
            {"range_min": 4, "range_max": 4},
            "range_min must be smaller than range_max, got range_min=4 and range_max=4.",
        ),
        ({"range_max": 2}, "Cannot mine 3 negatives per query: only 2 candidates remain"),
        ({"output_format": "pairs"}, "Invalid output_format: pairs. Must be one of 'triplet'"),
        ({"sampling_strategy": "best"}, "Invalid sampling_strategy: best."),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        mine(data(), StubModel(), **options)


def test_empty_and_narrow_data():
    with pytest.raises(ValueError, match="The dataset is empty"):
        mine(data(query=[], answer=[]), StubModel())
    with pytest.raises(ValueError, match="at least two columns"):
        mine(data(query=["a"]), StubModel())
    with pytest.raises(ValueError, match="corpus: expected a list of texts"):
        mine(data(), StubModel(), corpus=[1, 2])


def test_deprecated_arguments(caplog):
    with caplog.at_level(logging.WARNING):
        old = mine(data(), StubModel(), as_triplets=False, margin=0.1)
        new = mine(data(), StubModel(), output_format="n-tuple", absolute_margin=0.1)
        scored = mine(data(), StubModel(), output_format="n-tuple-scores")
    assert old[:] == new[:]
    assert scored.column_names[-1] == "scores"
    for text in (
        "`as_triplets` parameter is deprecated",
        "`margin` parameter is deprecated",
        '`output_format="n-tuple-s',
    ):
        assert text in caplog.text


def test_include_positives_warns(caplog):
    with caplog.at_level(logging.WARNING):
        mine(data(), StubModel(), include_positives=True, output_format="n-tuple")
        assert not caplog.text
        mine(data(), StubModel(), include_positives=True, max_score=0.9)
    assert "may still discard the positive values" in caplog.text
    assert '`output_format` will be set to `"n-tuple"`' in caplog.text


class TestFaiss:
    def test_missing(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "faiss", None)
        with pytest.raises(ImportError, match="Please install `faiss`"):
            mine(data(), StubModel(), use_faiss=True)

    def test_gpu_limits_the_derived_depth(self, monkeypatch, capsys):
        monkeypatch.setattr("faiss.get_num_gpus", lambda: 1, raising=False)
        mine(data(), StubModel(), use_faiss=True, num_negatives=5, range_min=2000, max_score=1.0, verbose=True)
        assert "Setting range_max to 2047" in capsys.readouterr().out
        with pytest.raises(ValueError, match="range_max was capped to 2047 because FAISS on GPU"):
            mine(data(), StubModel(), use_faiss=True, num_negatives=60, range_min=2000)


def test_processes():
    model, judge = StubModel(), StubCrossEncoder()
    mine(data(), model, cross_encoder=judge, max_score=1.0, use_multi_process=["cpu", "cpu"])
    assert model.pools == judge.pools == ["start ['cpu', 'cpu']", "stop pool"]
    assert {options["pool"] for _, _, options in model.calls} == {"pool"}
    model = StubModel()
    mine(data(), model, use_multi_process=True)
    assert model.pools == ["start None", "stop pool"]


def test_calls_of_the_model_are_the_incumbents():
    ours, others = StubModel(), StubModel()
    options = {"query_prompt": "a ", "corpus_prompt_name": "b", "batch_size": 7, "verbose": False}
    mine_hard_negatives(data(), ours, **options)
    theirs.mine_hard_negatives(data(), others, **options)
    assert ours.calls == others.calls


def test_fingerprint_is_of_the_rows():
    def found(**options):
        return mine(data(), StubModel(), **options)._fingerprint

    changes = [{"num_negatives": 2}, {"output_scores": True}, {"output_format": "n-tuple"}, {"corpus": ["t0 more"]}]
    assert found() == found(batch_size=7)
    assert len({found(), *(found(**change) for change in changes)}) == 5
