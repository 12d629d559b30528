"""Losses of graded lists and of teachers: golden values, sentence-transformers' cross-encoder losses, loops."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sentence_transformers.cross_encoder.losses import LambdaLoss, ListNetLoss, PListMLELoss
from sentence_transformers.cross_encoder.losses.lambda_loss import (
    LambdaRankScheme,
    NDCGLoss2PPScheme,
    NDCGLoss2Scheme,
    NoWeightingScheme,
)
from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss, MarginMSELoss

from foils.core.errors import SpecError
from foils.core.spec import parse
from foils.train.batch import Batch
from foils.train.contrasts import InBatch, Own
from foils.train.losses import (
    DEM,
    KL,
    Adversarial,
    InBatchMarginMSE,
    LambdaMRR,
    LambdaRank,
    ListMLE,
    ListNet,
    MarginMSE,
    RankNet,
)


def lists(scores, *, label=None, own=None, **columns):
    """Rows with their positive first, and all documents of their own unless said."""
    scores = torch.tensor(scores, dtype=torch.float64) if isinstance(scores, list) else scores
    rows, width = scores.shape
    known = torch.zeros(rows, width, dtype=torch.int8) if label is None else torch.tensor(label, dtype=torch.int8)
    target = torch.zeros(rows, dtype=torch.int64) if label is None else known.int().argmax(dim=1)
    known[torch.arange(rows), target] = 1
    return Batch(
        query=torch.arange(rows),
        doc=torch.arange(width),
        target=target,
        label=known,
        own=torch.ones(rows, width, dtype=torch.bool) if own is None else torch.tensor(own, dtype=torch.bool),
        scores={
            "student": scores,
            **{name: torch.as_tensor(values, dtype=torch.float64) for name, values in columns.items()},
        },
    )


def value(loss, batch, contrast=None):
    return loss(batch, (contrast or InBatch()).allowed(batch)).mean()


S, Y = [[1.0, 2.0, 0.5, 0.0]], [[3.0, 2.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (RankNet(by="grade"), 4.1881705846 * math.log(2)),
        (LambdaMRR(), 1.0829370386),
        (LambdaRank("mrr", by="grade"), 1.0829370386),
        (LambdaRank("ndcg", by="grade"), 0.4917156510 * math.log(2)),
        (LambdaRank("ndcg2", by="grade"), 0.5421576066 * math.log(2)),
    ],
    ids=repr,
)
def test_golden_sums_over_six_pairs(loss, expected):
    assert value(loss, lists(S, grade=Y)).item() * 6 == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("scores", "label", "cut", "expected"),
    [
        ([3, 2.5, 2, 1], [0, 1, 0, 0], 4, 0.205468),
        ([3, 2.5, 2, 1], [0, 1, 0, 0], None, 0.205468),
        ([3, 2.5, 2, 1], [0, 1, 0, 0], 2, 0.274928),
        ([3, 2.5, 2, 1, 0.5], [0, 0, 0, 0, 1], 4, 1.113253),
    ],
)
def test_adore_golden_a4(scores, label, cut, expected):
    assert value(LambdaRank(cut=cut), lists([scores], label=[label])).item() == pytest.approx(expected, abs=1e-6)


def test_cl_drd_golden_a8():
    batch = lists([[1.0, 2.0, 0.5, 1.5, 0.0]], grade=[[1.0, 0.5, -0.25, -0.25, -0.5]])
    assert value(LambdaMRR(), batch).item() == pytest.approx(0.188100, abs=1e-6)
    # Documents of one group can change places together with their scores.
    swapped = lists([[1.0, 2.0, 1.5, 0.5, 0.0]], grade=[[1.0, 0.5, -0.25, -0.25, -0.5]])
    assert value(LambdaMRR(), swapped).item() == pytest.approx(0.188100, abs=1e-6)


def test_lambda_mrr_pools_over_the_batch():
    scores, grades = [[1.0, 2.0, 0.5], [0.3, 0.1, 0.7]], [[1.0, 0.5, -0.25], [1.0, -0.5, float("nan")]]
    both = value(LambdaMRR(), lists(scores, grade=grades)).item()
    sums = [value(LambdaRank(by="grade"), lists([s], grade=[y])).item() for s, y in zip(scores, grades, strict=True)]
    assert both == pytest.approx((3 * sums[0] + 1 * sums[1]) / 4)


def cross_encoder(scores):
    """Stands for a model that gives these scores, one after the other."""

    class Model(torch.nn.Module):
        num_labels, device = 1, torch.device("cpu")

        def preprocess(self, pairs, **kwargs):
            return {}

        def forward(self, tokens):
            return {"scores": scores}

    return Model()


def theirs(kind, scores, grades, sizes, **fields):
    flat = torch.cat([row[:n] for row, n in zip(scores, sizes, strict=True)])
    labels = [torch.tensor(row[:n]) for row, n in zip(grades, sizes, strict=True)]
    loss = kind(cross_encoder(flat), mini_batch_size=-1, **fields)
    return loss([["q"] * len(sizes), [["d"] * n for n in sizes]], labels)


def random_lists(sizes, seed=0, digits=0):
    rng = np.random.default_rng(seed)
    width = max(sizes)
    scores = torch.tensor(rng.standard_normal((len(sizes), width)), requires_grad=True)
    grades = np.round(rng.uniform(-1, 4, (len(sizes), width)), digits)
    kept = np.where(np.arange(width) < np.array(sizes)[:, None], grades, np.nan)
    return scores, grades.astype(np.float32), kept


@pytest.mark.parametrize("cut", [None, 2, 3])
@pytest.mark.parametrize(
    ("metric", "scheme"),
    [("ndcg", LambdaRankScheme), ("ndcg2", NDCGLoss2Scheme), ("ndcg2++", NDCGLoss2PPScheme)],
)
def test_lambda_rank_equals_sentence_transformers(metric, scheme, cut):
    for seed in range(5):
        scores, grades, kept = random_lists([6], seed)
        ours = value(LambdaRank(metric, by="grade", cut=cut), lists(scores, grade=kept))
        other = theirs(LambdaLoss, scores, grades, [6], weighting_scheme=scheme(), k=cut, reduction_log="natural")
        assert ours.item() == pytest.approx(other.item(), rel=1e-5)
        slopes = [torch.autograd.grad(loss, scores)[0] for loss in (ours, other)]
        torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "kind", "fields"),
    [
        (ListNet(by="grade"), ListNetLoss, {}),
        (ListMLE(by="grade"), PListMLELoss, {"lambda_weight": None, "respect_input_order": False}),
        (RankNet(by="grade"), LambdaLoss, {"weighting_scheme": NoWeightingScheme(), "reduction_log": "natural"}),
    ],
    ids=["ListNet", "ListMLE", "RankNet"],
)
def test_ragged_lists_equal_sentence_transformers(loss, kind, fields):
    """RankNet, ListNet and ListMLE over lists of different lengths; grades without ties, whose order is nobody's."""
    sizes = [6, 2, 4]
    scores, grades, kept = random_lists(sizes, digits=6)
    ours, other = value(loss, lists(scores, grade=kept)), theirs(kind, scores, grades, sizes, **fields)
    assert ours.item() == pytest.approx(other.item(), rel=1e-5)
    slopes = [torch.autograd.grad(x, scores)[0] for x in (ours, other)]
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-6)


def test_list_mle_is_the_likelihood_of_the_order():
    """Over all orders of a list the likelihoods add up to 1."""
    scores = torch.tensor([[0.3, -1.0, 2.0, 0.1]], dtype=torch.float64)
    orders = itertools.permutations([4.0, 3.0, 2.0, 1.0])
    total = sum(math.exp(-value(ListMLE(), lists(scores, teacher=[list(order)])).item()) for order in orders)
    assert total == pytest.approx(1.0)


def test_who_is_in_a_graded_list():
    """Allowed negatives and known positives of the batch itself, if graded; no one else."""
    batch = lists([[0.1, 0.9, 0.4, 0.3, 0.7]], label=[[1, 1, 0, 0, 1]], grade=[[2.0, 3.0, 1.0, float("nan"), 5.0]])
    batch = replace(batch, width=4)
    alone = lists([[0.1, 0.9, 0.4]], label=[[1, 1, 0]], grade=[[2.0, 3.0, 1.0]])
    for loss in (ListNet("grade"), LambdaMRR(), RankNet(by="grade"), KL("grade"), LambdaRank("ndcg", by="grade")):
        assert value(loss, batch).item() == pytest.approx(value(loss, alone).item())
    binary = lists([[0.1, 0.9, 0.4, 0.3]], label=[[1, 1, 0, 0]])
    expected, ranks = [], {0.9: 1, 0.4: 2, 0.3: 3, 0.1: 4}
    for a, b in itertools.product((0.1, 0.9), (0.4, 0.3)):
        expected.append(abs(1 / ranks[a] - 1 / ranks[b]) * math.log1p(math.exp(b - a)))
    assert value(LambdaRank(), binary).item() == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(
    ("t", "expected"), [(1.0, 0.0983276844), (2.0, 0.1245291024), (4.0, 0.1155458258), (1000.0, 0.0938515)]
)
def test_kl_golden(t, expected):
    scores = torch.tensor([[2.0, 1.0, 0.5, 0.0]], dtype=torch.float64, requires_grad=True)
    batch = lists(scores, teacher=[[3.0, 1.0, 0.5, 0.0]])
    loss = value(KL(temperature=t), batch)
    assert loss.item() == pytest.approx(expected, abs=1e-7)
    p, q = (torch.softmax(x / t, 1) for x in (batch["teacher"], scores.detach()))
    torch.testing.assert_close(torch.autograd.grad(loss, scores)[0], t * (q - p))
    assert value(MarginMSE(), batch).item() == pytest.approx(1.0)


@pytest.mark.parametrize(("t", "other"), [(1.0, None), (2.0, 0.5), (0.05, 1.0)])
def test_kl_and_margin_mse_equal_sentence_transformers(t, other):
    generator = torch.Generator().manual_seed(1)
    vectors = [torch.randn(4, 6, generator=generator, dtype=torch.float64) for _ in range(5)]
    scores = torch.stack([(vectors[0] * docs).sum(dim=1) for docs in vectors[1:]], dim=1)
    teacher = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    batch, model = lists(scores, teacher=teacher), SimpleNamespace()
    kl = DistillKLDivLoss(model, student_temperature=t, teacher_temperature=t if other is None else other)
    expected = kl.compute_loss_from_embeddings(vectors, teacher)
    assert value(KL(temperature=t, teacher_temperature=other), batch).item() == pytest.approx(expected.item())
    margins = MarginMSELoss(model).compute_loss_from_embeddings(vectors, teacher[:, :1] - teacher[:, 1:])
    assert value(MarginMSE(), batch).item() == pytest.approx(margins.item())


def test_rocketqa_v2_golden_a6():
    batch = lists([[2.0, 1.5, 0.0]], teacher=[[3.0, 1.0, 0.0]])
    assert value(KL(), batch).item() == pytest.approx(0.171808, abs=1e-6)


@pytest.mark.parametrize("loss", [KL(temperature=2.0), MarginMSE(), InBatchMarginMSE("teacher")])
def test_distillation_does_not_know_constants_and_ends_at_zero(loss):
    generator = torch.Generator().manual_seed(2)
    scores = torch.randn(3, 6, generator=generator, dtype=torch.float64).requires_grad_()
    teacher = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    shift = torch.tensor([[1.0], [-2.0], [5.0]], dtype=torch.float64)
    label = torch.eye(3, 6, dtype=torch.int8).tolist()
    own = [[1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 1, 0], [0, 0, 1, 0, 0, 1]]

    def of(s, t):
        return value(loss, lists(s, label=label, own=own, teacher=t))

    assert of(scores, teacher).item() == pytest.approx(of(scores + shift, teacher - 3 * shift).item())
    same = of(scores, scores.detach() + shift)
    assert same.item() == pytest.approx(0.0, abs=1e-12)
    assert torch.autograd.grad(same, scores)[0].abs().max() < 1e-9


def test_unknown_teacher_scores_take_no_part():
    nan = float("nan")
    scores = torch.tensor([[2.0, 1.0, 0.5, 0.0]] * 3, dtype=torch.float64, requires_grad=True)
    teacher = [[3.0, nan, 0.5, 0.0], [nan, nan, 0.5, nan], [nan, 1.0, 3.0, 0.0]]
    batch = lists(scores, teacher=teacher)
    few = lists([[2.0, 0.5, 0.0]], teacher=[[3.0, 0.5, 0.0]])
    for loss, without in ((KL(), False), (MarginMSE(), True), (Adversarial(), True)):
        found = loss(batch, InBatch().allowed(batch))
        assert found[0].item() == pytest.approx(value(loss, few).item())
        assert found[1] == 0
        assert (found[2] == 0) == without
        assert torch.autograd.grad(found[1], scores, retain_graph=True)[0].abs().sum() == 0
        assert torch.autograd.grad(found.sum(), scores)[0].isfinite().all()


def test_tas_b_golden_a7():
    scores = [[3.0, 1.0, 2.0, 0.5], [0.0, 2.0, 0.2, 1.0]]
    nan = float("nan")
    pair = [[2.0, nan, 0.0, nan], [nan, 0.5, nan, 0.0]]
    guide = [[5.0, 1.0, 3.0, 0.7], [0.5, 4.0, 0.4, 3.5]]
    label, own = [[1, 0, 0, 0], [0, 1, 0, 0]], [[1, 0, 1, 0], [0, 1, 0, 1]]
    batch = lists(scores, label=label, own=own, teacher=pair, guide=guide)
    assert value(MarginMSE(), batch).item() == pytest.approx(0.625)
    assert value(InBatchMarginMSE(), batch).item() == pytest.approx(3.1825)
    assert value(MarginMSE() + 0.75 * InBatchMarginMSE(), batch).item() == pytest.approx(3.011875)
    assert value(InBatchMarginMSE(), batch, Own()).item() == 0


def test_adversarial_against_a_loop_and_its_pull():
    s, y = [2.0, 1.0, 0.5, 0.0], [1.0, 3.0, 0.0, -1.0]
    scores = torch.tensor([s], dtype=torch.float64, requires_grad=True)
    loss = value(Adversarial(), lists(scores, teacher=[y]))
    total = sum(map(math.exp, s))
    expected = sum(math.log(1 / (1 + math.exp(y[j] - y[0]))) * math.log(math.exp(s[j]) / total) for j in (1, 2, 3))
    assert loss.item() == pytest.approx(expected)
    slope = torch.autograd.grad(loss, scores)[0][0]
    assert slope[1] == slope.min()  # what the ranker prefers to the positive is pulled up most
    assert loss > 0


@pytest.mark.parametrize(
    ("s", "b", "expected"),
    [([2.0, 1.5], [8.0, 3.0], 0.0), ([2.0, 1.5], [3.0, 8.0], 1.0), ([2.0, 1.5], [3.0, 3.0], 0.5)],
)
def test_dem_golden_a2(s, b, expected):
    assert value(DEM(), lists([s], bm25=[b])).item() == pytest.approx(expected)
    longer, nan = [*s, 9.0], float("nan")
    assert value(DEM(), lists([longer], bm25=[[*b, nan]])).item() == pytest.approx(expected)
    assert value(DEM(), lists([longer], bm25=[[nan, *b]])).item() == 0  # the positive's is not known


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LambdaRank(cut=0)", "cut must be at least 1, or None"),
        ("LambdaRank(metric='map')", "metric must be one of 'mrr', 'ndcg'"),
        ("LambdaRank(mu=-1.0)", "mu must be at least 0"),
        ("KL(temperature=0)", "temperature must be above 0"),
        ("KL(teacher_temperature=0)", "teacher_temperature must be above 0"),
        ("MarginMSE(temperature=-1)", "temperature must be above 0"),
        ("DEM(margin=0)", "margin must be above 0"),
        ("DEM(share=-0.1)", "share must be at least 0"),
        ("ListNet(grade_temperature=0)", "grade_temperature must be above 0"),
    ],
)
def test_bounds(text, message):
    with pytest.raises(SpecError, match=message):
        parse(text, "loss")
