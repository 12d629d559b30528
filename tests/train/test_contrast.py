"""Whom a query is compared with: exact masks, the operators and the text form."""

from __future__ import annotations

from dataclasses import MISSING

import pytest
import torch

from foils.core.errors import PipelineError, SpecError
from foils.core.spec import fields_of, full, parse, registry
from foils.stages.filters import Distinct, PositiveAware, Ranks
from foils.stages.samplers import Top
from foils.train import TrainSpec
from foils.train.batch import Batch
from foils.train.contrasts import Contrast, InBatch, Own


@pytest.fixture
def batch():
    # Row 0 has a second positive in column 2 (row 2's own); row 1 mined column 3; column 4 is row 2's negative.
    label = [[1, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]]
    own = [[1, 0, 0, 0, 0], [0, 1, 0, 1, 0], [0, 0, 1, 0, 1]]
    score = [[0.5, 0.1, 0.6, 0.46, 0.2], [0.2, 0.9, 0.95, 0.5, 0.1], [0.3, 0.0, 0.4, 0.41, 0.2]]
    return Batch(
        query=torch.arange(3),
        doc=torch.arange(5),
        target=torch.tensor([0, 1, 2]),
        label=torch.tensor(label, dtype=torch.int8),
        own=torch.tensor(own, dtype=torch.bool),
        scores={"student": torch.tensor(score, requires_grad=True)},
    )


def allowed(text, batch):
    return parse(text, "contrast", "stage").allowed(batch).int().tolist()


def test_in_batch_is_everything_but_known_positives(batch):
    assert allowed("InBatch()", batch) == [[0, 1, 0, 1, 1], [1, 0, 1, 1, 1], [1, 1, 0, 1, 1]]


def test_own_is_what_the_row_mined(batch):
    assert allowed("Own()", batch) == [[0, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]


def test_filters_restrict(batch):
    # Row 0's lowest positive scores 0.5, row 1's 0.9, row 2's 0.4; what reaches the ceiling is out.
    expected = [[0, 1, 0, 0, 1], [1, 0, 0, 1, 1], [1, 1, 0, 0, 1]]
    assert allowed("InBatch() >> PositiveAware(margin=0.1)", batch) == expected
    assert allowed("InBatch() >> PositiveAware(margin=0.1) >> Ranks(lo=4)", batch) == [
        [0, 1, 0, 0, 1],
        [1, 0, 0, 0, 1],
        [0, 1, 0, 0, 1],
    ]


def test_plus_unites_and_binds_tighter_than_then(batch):
    assert allowed("Own() + InBatch()", batch) == allowed("InBatch()", batch)
    hard_only = "Own() + (InBatch() >> Ranks(hi=1))"
    assert allowed(hard_only, batch) == [[0, 0, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 1]]
    both = parse("Own() + InBatch() >> Ranks(hi=1)", "contrast", "stage")
    assert both == (Own() + InBatch()) >> Ranks(hi=1)


def test_no_gradient_through_the_choice(batch):
    assert not parse("InBatch() >> PositiveAware()", "contrast", "stage").allowed(batch).requires_grad


TEXTS = [
    "InBatch()",
    "Own()",
    "Own() + InBatch()",
    "InBatch() >> PositiveAware(margin=0.1) >> Ranks(hi=9)",
    "Own() + (InBatch() >> PositiveAware())",
    "(InBatch() >> Ranks(lo=2)) + Own() >> PositiveAware(by='student')",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_form_round_trips(text):
    value = parse(text, "contrast", "stage")
    assert parse(repr(value), "contrast", "stage") == value
    assert parse(full(value), "contrast", "stage") == value
    assert hash(value) == hash(parse(repr(value), "contrast", "stage"))


def test_every_registered_contrast_allows_no_known_positive(batch):
    for cls in registry("contrast").values():
        assert issubclass(cls, Contrast)
        required = [field for field in fields_of(cls) if field.default is MISSING]
        assert not (cls(*[8 for _ in required]).allowed(batch) & (batch.label == 1)).any()


@pytest.mark.parametrize(("wrong", "message"), [(Top(k=3), "only filters"), (Distinct(), "reads texts")])
def test_only_filters_of_scores_can_follow(wrong, message):
    with pytest.raises(PipelineError, match=message):
        InBatch() >> wrong


def test_a_filter_of_a_missing_score_is_refused_before_training():
    TrainSpec(contrast=InBatch() >> PositiveAware()).columns()
    wanting = TrainSpec(contrast=Own() + (InBatch() >> PositiveAware(by="bm25")))
    with pytest.raises(PipelineError, match="'bm25'; it has: 'student'"):
        wanting.columns()


def test_a_stage_is_no_contrast():
    with pytest.raises(SpecError, match="is a stage"):
        parse("Top(k=3)", "contrast")
