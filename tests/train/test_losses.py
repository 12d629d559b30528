"""InfoNCE against golden values, sentence-transformers' own loss and its gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from foils.core.errors import SpecError
from foils.core.spec import full, parse
from foils.train.batch import Batch
from foils.train.contrasts import InBatch, Own
from foils.train.losses import InfoNCE, MultiLabelMargin, RankNet
from foils.train.objective import Objective, comparable
from foils.train.student import open_student


def make_batch(scores, targets, own=None, label=None):
    rows, docs = scores.shape
    known = torch.zeros(rows, docs, dtype=torch.int8)
    known[torch.arange(rows), torch.as_tensor(targets)] = 1
    return Batch(
        query=torch.arange(rows),
        doc=torch.arange(docs),
        target=torch.as_tensor(targets),
        label=known if label is None else torch.as_tensor(label, dtype=torch.int8),
        own=torch.zeros(rows, docs, dtype=torch.bool) if own is None else torch.as_tensor(own, dtype=torch.bool),
        scores={"student": scores},
    )


def loss_of(scores, targets, temperature, contrast=None, **fields):
    batch = make_batch(scores, targets, **fields)
    return InfoNCE(temperature=temperature)(batch, (contrast or InBatch()).allowed(batch))


def unit(*degrees):
    return torch.tensor([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees], dtype=torch.float64)


def test_golden_g1():
    """Two queries at 0 and 90 degrees, positives at 20 and 60, one mined negative each at 40 and 120; scale 5."""
    scores = unit(0, 90) @ unit(20, 60, 40, 120).T
    assert loss_of(scores, [0, 1], 1 / 5).mean().item() == pytest.approx(0.6508970029, abs=1e-9)


def test_golden_s1():
    scores = torch.tensor([[2.0, 1.0, 0.5, 0.0]], dtype=torch.float64, requires_grad=True)
    loss = loss_of(scores, [0], 1.0)
    assert loss.item() == pytest.approx(0.5460063899, abs=1e-9)
    loss.sum().backward()
    expected = np.array([0.5792585299, 0.2130973043, 0.1292500486, 0.0783941172]) - [1, 0, 0, 0]
    np.testing.assert_allclose(scores.grad.numpy()[0], expected, atol=1e-9)


@pytest.mark.parametrize("negatives", [0, 1, 3])
@pytest.mark.parametrize(("how", "temperature"), [("cosine", 0.05), ("cosine", 1.0), ("dot", 0.5)])
def test_equals_sentence_transformers_with_gradients(how, temperature, negatives):
    from sentence_transformers.util import cos_sim, dot_score

    generator = torch.Generator().manual_seed(negatives)
    columns = [torch.randn(6, 8, generator=generator, dtype=torch.float32) for _ in range(2 + negatives)]
    theirs_in = [c.clone().requires_grad_() for c in columns]
    ours_in = [c.clone().requires_grad_() for c in columns]
    fct = cos_sim if how == "cosine" else dot_score
    theirs = MultipleNegativesRankingLoss(None, scale=1 / temperature, similarity_fct=fct)
    expected = theirs.compute_loss_from_embeddings(theirs_in, None)
    expected.backward()
    scores = comparable(ours_in[0], how) @ comparable(torch.cat(ours_in[1:]), how).T
    got = loss_of(scores, list(range(6)), temperature).mean()
    got.backward()
    assert got.item() == pytest.approx(expected.item(), rel=1e-5)
    for a, b in zip(ours_in, theirs_in, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-3, atol=1e-6)


def test_gradient_of_scores_sums_to_zero_per_row():
    scores = torch.randn(4, 9, dtype=torch.float64, requires_grad=True)
    loss_of(scores, [3, 0, 8, 2], 0.1).sum().backward()
    np.testing.assert_allclose(scores.grad.sum(1).numpy(), 0, atol=1e-12)


def test_row_with_only_its_positive_has_loss_and_gradient_zero():
    scores = torch.tensor([[30.0, -5.0], [0.3, 0.2]], requires_grad=True)
    loss = loss_of(scores, [0, 1], 0.01, contrast=Own(), own=[[1, 0], [1, 1]])
    assert loss[0].item() == 0.0
    assert loss[1].item() == pytest.approx(10 + math.log1p(math.exp(-10)), rel=1e-6)
    loss.sum().backward()
    assert scores.grad[0].tolist() == [0.0, 0.0]
    assert torch.isfinite(scores.grad).all()


def test_other_known_positives_take_no_part():
    scores = torch.tensor([[0.4, 0.9, 0.1, 0.2]], requires_grad=True)
    loss = loss_of(scores, [0], 0.1, label=[[1, 1, 0, 0]])
    without = loss_of(scores.detach()[:, [0, 2, 3]], [0], 0.1)
    assert loss.item() == pytest.approx(without.item())
    loss.sum().backward()
    assert scores.grad[0, 1].item() == 0.0


def test_duplicate_of_a_positive_in_the_batch_changes_nothing():
    """mining.md 1.1, invariant 4: the positive of row 0 again as the positive of row 1."""
    scores = torch.randn(2, 5, dtype=torch.float64)
    label = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]]
    alone = loss_of(scores[:1, [0, 2, 3, 4]], [0], 0.1)
    shared = loss_of(scores[:, [0, 2, 3, 4]], [0, 0], 0.1, label=[[1, 0, 0, 0], [1, 0, 0, 0]])
    assert shared[0].item() == alone[0].item()
    assert loss_of(scores, [0, 1], 0.1, label=label).shape == (2,)


def test_permuting_rows_permutes_losses():
    scores = torch.randn(5, 7, dtype=torch.float64)
    targets = torch.tensor([1, 3, 0, 6, 2])
    order = torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(loss_of(scores, targets, 0.05)[order], loss_of(scores[order], targets[order], 0.05))


def test_scores_are_float32_under_mixed_precision(static_path):
    """The loss of half-precision vectors is that of the same vectors in float32, whatever autocast would like."""
    student = open_student(str(static_path))
    objective = Objective(student, InBatch(), InfoNCE(temperature=0.01))
    queries, docs = torch.randn(3, 4).bfloat16(), torch.randn(5, 4).bfloat16()
    own = torch.eye(3, 5, dtype=torch.bool)
    ids = {"queries": torch.arange(3), "docs": torch.arange(5), "at": torch.arange(3), "target": torch.arange(3)}
    ids |= {"known": torch.arange(3)[:, None], "own": own, "label": own.to(torch.int8)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (queries.float() @ docs.float().T).dtype == torch.bfloat16
        mixed = objective.value([], ids, queries, docs)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, objective.value([], ids, queries.float(), docs.float()), rtol=0, atol=0)


def test_weights_and_sums():
    scores = torch.randn(3, 6)
    batch = make_batch(scores, [0, 1, 2])
    mask = InBatch().allowed(batch)
    mixed = 0.9 * InfoNCE() + InfoNCE(temperature=1) * 0.1
    expected = 0.9 * InfoNCE()(batch, mask) + 0.1 * InfoNCE(temperature=1.0)(batch, mask)
    torch.testing.assert_close(mixed(batch, mask), expected)


@pytest.mark.parametrize(
    "text",
    [
        "InfoNCE()",
        "InfoNCE(temperature=0.02)",
        "0.9*InfoNCE() + 0.1*InfoNCE(temperature=1)",
        "1*InfoNCE()",
        "InfoNCE() + InfoNCE()",
        "2*(InfoNCE() + 0.5*InfoNCE())",
        "InfoNCE() + InfoNCE()*3 + 0.5*InfoNCE()",
    ],
)
def test_text_form_round_trips(text):
    value = parse(text, "loss")
    assert parse(repr(value), "loss") == value
    assert parse(full(value), "loss") == value


def test_bounds():
    with pytest.raises(SpecError, match="temperature must be above 0"):
        InfoNCE(temperature=0)
    with pytest.raises(SpecError, match="finite"):
        float("inf") * InfoNCE()
    with pytest.raises(TypeError):
        True * InfoNCE()


STAR_POSITIVES, STAR_HARD = [[3.0, 1.0], [0.0, 2.0]], [[2.0, 0.0], [1.0, 1.5]]


@pytest.mark.parametrize(
    ("hard", "masked", "expected"),
    [(False, False, 0.126928), (True, False, 0.233841), (True, True, 0.217956)],
    ids=["in-batch", "pooled", "a hard negative is a positive of another query"],
)
def test_ranknet_golden_a3(hard, masked, expected):
    rows = [p + h if hard else p for p, h in zip(STAR_POSITIVES, STAR_HARD, strict=True)]
    scores = torch.tensor(rows, dtype=torch.float64)
    label = torch.eye(2, scores.shape[1], dtype=torch.int8)
    if masked:
        label[1, 2] = 1
    batch = make_batch(scores, [0, 1], label=label)
    assert RankNet()(batch, InBatch().allowed(batch)).mean().item() == pytest.approx(expected, abs=1e-6)


def test_ranknet_of_one_row_is_its_own_pair():
    scores = torch.tensor([[2.0, 0.5]], dtype=torch.float64, requires_grad=True)
    batch = make_batch(scores, [0])
    loss = RankNet()(batch, InBatch().allowed(batch))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1.5)))
    assert RankNet()(batch, torch.zeros(1, 2, dtype=torch.bool)).item() == 0  # no negatives, no loss, no NaN
    large = make_batch(torch.tensor([[0.0, 1e4]]), [0])
    assert RankNet()(large, InBatch().allowed(large)).item() == pytest.approx(1e4)


def test_multi_label_margin_equals_pytorch():
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(4, 6, generator=generator, dtype=torch.float64).requires_grad_()
    label = torch.tensor([[1, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 0, 0]])
    batch = make_batch(scores, [0, 1, 2, 3], label=label)
    ours = MultiLabelMargin()(batch, InBatch().allowed(batch)).mean()
    targets = torch.full((4, 6), -1)
    for row, known in enumerate(label):
        places = known.nonzero().squeeze(1)
        targets[row, : len(places)] = places
    theirs = torch.nn.MultiLabelMarginLoss()(scores, targets)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-12)
    gradients = [torch.autograd.grad(loss, scores, retain_graph=True)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients)
    apart = make_batch(torch.tensor([[3.0, 1.9]]), [0])
    assert MultiLabelMargin()(apart, InBatch().allowed(apart)).item() == 0  # every positive leads by 1 or more


@pytest.mark.parametrize("text", ["RankNet(temperature=0.05)", "MultiLabelMargin(margin=0.1)", "RankNet()"])
def test_pairwise_text_form(text):
    assert repr(parse(text, "loss")) == text
    with pytest.raises(SpecError, match="above 0"):
        parse(text.split("(")[0] + ("(temperature=0)" if "Rank" in text else "(margin=-1)"), "loss")
