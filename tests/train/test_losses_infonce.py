"""The softmax family: golden values, sentence-transformers, and loops written from the formulas."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from foils import Pairs
from foils.core.errors import PipelineError, SpecError
from foils.core.spec import Cosine, full, parse, resolve
from foils.stages.weights import Debiased
from foils.train.batch import Batch
from foils.train.contrasts import InBatch, Own
from foils.train.learned import Learned
from foils.train.losses import (
    Confidence,
    DebiasedInfoNCE,
    DirectedInfoNCE,
    HardnessInfoNCE,
    InfoNCE,
    PassageCentric,
    SoftInfoNCE,
)
from foils.train.objective import Objective
from foils.train.student import open_student

FULL = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")


def unit(*degrees):
    return torch.tensor([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees], dtype=torch.float64)


def of_vectors(queries, columns):
    """A batch of rows (query, positive, negative_1, ...), as sentence-transformers takes it."""
    rows, docs = len(queries), torch.cat(columns)
    index = torch.arange(len(docs)) % rows
    own = index == torch.arange(rows)[:, None]
    label = torch.eye(rows, len(docs), dtype=torch.int8)
    return Batch(
        query=torch.arange(rows),
        doc=torch.arange(len(docs)),
        target=torch.arange(rows),
        label=label,
        own=own,
        scores={"student": queries @ docs.T},
        query_vectors=queries,
        doc_vectors=docs,
    )


def g1():
    return of_vectors(unit(0, 90), [unit(20, 60), unit(40, 120)])


def one(scores, *, label=None, **columns):
    """One row whose positive comes first."""
    scores = torch.tensor([scores], dtype=torch.float64) if isinstance(scores, list) else scores
    width = scores.shape[1]
    known = torch.zeros(1, width, dtype=torch.int8) if label is None else torch.tensor([label], dtype=torch.int8)
    known[0, 0] = 1
    named = {name: torch.tensor([values], dtype=torch.float64) for name, values in columns.items()}
    return Batch(
        query=torch.zeros(1, dtype=torch.int64),
        doc=torch.arange(width),
        target=torch.zeros(1, dtype=torch.int64),
        label=known,
        own=torch.ones(1, width, dtype=torch.bool),
        scores={"student": scores, **named},
    )


def value(loss, batch, contrast=None):
    return loss(batch, (contrast or InBatch()).allowed(batch)).mean()


S1, S3 = [2.0, 1.0, 0.5, 0.0], [0.5, 1.0, 0.5, 0.0]
JINA, GTE = ("query_to_doc", "doc_to_query"), FULL


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (InfoNCE(0.2), 0.6508970029),
        (DirectedInfoNCE(("query_to_doc",), temperature=0.2), 0.6508970029),
        (DirectedInfoNCE(JINA, temperature=0.2), 0.3749238147),
        (DirectedInfoNCE(JINA, "joint", 0.2), 1.1092209636),
        (DirectedInfoNCE(GTE, "joint", 0.2), 1.4153824475),
        (HardnessInfoNCE(2.0, "in-batch", 0.2), 0.8729482364),
        (HardnessInfoNCE(2.0, "own", 0.2), 1.5349170479),
        (HardnessInfoNCE(2.0, "all", 0.2), 1.6269696712),
        (InfoNCE(1.0), 1.1113717697),
        (PassageCentric("code"), 1.1497715101),
        (0.9 * InfoNCE(1.0) + 0.1 * PassageCentric("code"), 1.1152117437),
    ],
    ids=repr,
)
def test_golden_g1(loss, expected):
    assert value(loss, g1()).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("negatives", [0, 1, 3])
@pytest.mark.parametrize(
    ("loss", "theirs"),
    [
        (DirectedInfoNCE(JINA), {"directions": JINA, "partition_mode": "per_direction"}),
        (DirectedInfoNCE(JINA, "joint"), {"directions": JINA}),
        (DirectedInfoNCE(GTE, "joint"), {"directions": GTE}),
        (DirectedInfoNCE(("query_to_doc", "doc_to_doc"), "joint"), {"directions": ("query_to_doc", "doc_to_doc")}),
        (HardnessInfoNCE(9.0, "in-batch"), {"hardness_mode": "in_batch_negatives", "hardness_strength": 9.0}),
        (HardnessInfoNCE(5.0, "own"), {"hardness_mode": "hard_negatives", "hardness_strength": 5.0}),
        (HardnessInfoNCE(5.0, "all"), {"hardness_mode": "all_negatives", "hardness_strength": 5.0}),
    ],
    ids=repr,
)
def test_equals_sentence_transformers_with_gradients(loss, theirs, negatives):
    generator = torch.Generator().manual_seed(negatives)
    columns = [torch.randn(6, 8, generator=generator, dtype=torch.float64) for _ in range(2 + negatives)]
    a, b = ([torch.nn.functional.normalize(c).requires_grad_() for c in columns] for _ in range(2))
    expected = MultipleNegativesRankingLoss(None, **theirs).compute_loss_from_embeddings(a, None)
    got = value(loss, of_vectors(b[0], b[1:]))
    assert got.item() == pytest.approx(expected.item(), rel=1e-9)
    # Theirs divides by lengths, so its gradient has no part along a vector; ours is told by `comparable`.
    for x, mine, other in zip(a, torch.autograd.grad(got, b), torch.autograd.grad(expected, a), strict=True):
        along = (mine * x).sum(dim=1, keepdim=True) * x
        np.testing.assert_allclose((mine - along).detach(), other, atol=1e-9)


def test_joint_with_doc_to_query_counts_the_positive_twice():
    pairs = torch.eye(4, dtype=torch.float64)
    batch = of_vectors(pairs, [pairs])
    assert value(DirectedInfoNCE(JINA, "joint", 0.01), batch).item() == pytest.approx(math.log(2))
    assert value(DirectedInfoNCE(JINA, temperature=0.01), batch).item() == pytest.approx(0.0)


def test_directions_mask_by_id_against_a_loop():
    """Rows 0 and 1 are one query with two positives; the positive of row 2 is also one of query 3's."""
    generator = torch.Generator().manual_seed(4)
    q, d = (torch.nn.functional.normalize(torch.randn(n, 5, generator=generator).double()) for n in (3, 7))
    at, t = [0, 0, 1, 2], 0.2
    label = torch.zeros(4, 7, dtype=torch.int8)
    for row, known in enumerate(([0, 1], [0, 1], [2], [2, 3])):
        label[row, known] = 1
    own = torch.zeros(4, 7, dtype=torch.bool)
    for row, docs in enumerate(([0, 4], [1, 4], [2, 5], [3, 6])):
        own[row, docs] = True
    batch = Batch(
        query=torch.tensor(at),
        doc=torch.arange(7),
        target=torch.arange(4),
        label=label,
        own=own,
        scores={"student": q[at] @ d.T},
        query_vectors=q[at],
        doc_vectors=d,
    )
    blocks = {"query_to_doc": [], "doc_to_query": [], "query_to_query": [], "doc_to_doc": []}
    of_query = {0: {0, 1}, 1: {2}, 2: {2, 3}}
    for i, query in enumerate(at):
        docs = [j for j in range(7) if j == i or j not in of_query[query]]
        blocks["query_to_doc"].append([(q[query] @ d[j]).item() for j in docs])
        asked = [o for o in range(3) if o == query or i not in of_query[o]]
        blocks["doc_to_query"].append([(d[i] @ q[o]).item() for o in asked])
        apart = [o for o in range(3) if o != query and not of_query[o] & of_query[query]]
        blocks["query_to_query"].append([(q[query] @ q[o]).item() for o in apart])
        blocks["doc_to_doc"].append([(d[i] @ d[j]).item() for j in docs if not own[i, j]])
    expected = []
    for i, query in enumerate(at):
        exps = [math.exp(s / t) for name in FULL for s in blocks[name][i]]
        expected.append(math.log(sum(exps)) - (q[query] @ d[i]).item() / t)
    got = DirectedInfoNCE(FULL, "joint", t)(batch, InBatch().allowed(batch))
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("own", lambda p, n: -math.log(p[0] / (p[0] + n))),
        ("each", lambda p, n: -sum(math.log(x / (x + n)) for x in p) / len(p)),
        ("any", lambda p, n: -math.log(sum(p) / (sum(p) + n))),
        ("all", lambda p, n: -sum(math.log(x / (sum(p) + n)) for x in p) / len(p)),
    ],
)
def test_other_known_positives(how, expected):
    batch = one(S1, label=[1, 0, 1, 0])
    exps = [math.exp(s) for s in S1]
    loss = InfoNCE(1.0, positives=how)
    assert value(loss, batch).item() == pytest.approx(expected([exps[0], exps[2]], exps[1] + exps[3]))
    # What was brought from elsewhere is no positive, and a single positive is the same in every way.
    beyond = replace(batch, width=2)
    narrow = one([2.0, 1.0, 0.0])
    assert value(loss, narrow).item() == pytest.approx(value(InfoNCE(1.0), narrow).item())
    allowed = InBatch().allowed(batch)
    assert loss(beyond, allowed).item() == pytest.approx(value(InfoNCE(1.0), narrow).item())


def test_weights():
    plain = one(S1, weight=[1.0, 1.0, float("nan"), 1.0])
    assert value(InfoNCE(1.0, weight="weight"), plain).item() == pytest.approx(0.5460063899, abs=1e-9)
    weighed = one(S1, weight=[1.0, 0.3, 2.0, float("nan")])
    exps = [math.exp(s) for s in S1]
    expected = math.log(exps[0] + 0.3 * exps[1] + 2 * exps[2] + exps[3]) - 2
    assert value(InfoNCE(1.0, weight="weight"), weighed).item() == pytest.approx(expected)
    row = one(S1, weight=[0.25, 0.3, 2.0, 1.0])
    assert value(InfoNCE(1.0, weight="weight"), row).item() == pytest.approx(expected / 4)
    with pytest.raises(PipelineError, match=r"a weight in 'weight' is -0\.5; weights must be at least 0"):
        value(InfoNCE(weight="weight"), one(S1, weight=[1.0, -0.5, 1.0, 1.0]))
    assert InfoNCE(weight="weight").reads() == ("weight",)


@pytest.mark.parametrize("how", ["own", "each", "any", "all"])
def test_weight_zero_is_leaving_out(how):
    scores = torch.tensor([S1], dtype=torch.float64, requires_grad=True)
    loss = InfoNCE(1.0, positives=how, weight="weight")
    some = value(loss, one(scores, weight=[1.0, 0.0, 1.0, 1.0]))
    (slope,) = torch.autograd.grad(some, scores)
    less = scores.detach()[:, [0, 2, 3]].requires_grad_()
    without = value(InfoNCE(1.0), one(less))
    assert some.item() == pytest.approx(without.item(), abs=1e-12)
    torch.testing.assert_close(slope[:, [0, 2, 3]], torch.autograd.grad(without, less)[0])
    assert slope[0, 1] == 0
    for weights in ([1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0]):
        nothing = value(loss, one(scores, weight=weights))
        assert nothing.item() == 0
        assert not torch.autograd.grad(nothing, scores)[0].any()


def test_margin():
    batch = one([0.6, 0.5, 0.1])
    shifted = one([0.58, 0.5, 0.1])
    assert value(InfoNCE(margin=0.02), batch).item() == pytest.approx(value(InfoNCE(), shifted).item())


def test_hardness_golden_and_gradient():
    scores = torch.tensor([S1], dtype=torch.float64, requires_grad=True)
    loss = value(HardnessInfoNCE(1.0, temperature=1.0), one(scores))
    assert loss.item() == pytest.approx(0.9175757956, abs=1e-9)
    expected = [-0.6005136954, 0.3994863047, 0.1469627985, 0.0540645922]
    np.testing.assert_allclose(torch.autograd.grad(loss, scores)[0][0], expected, atol=1e-9)
    assert value(HardnessInfoNCE(9.0, temperature=1.0), one(S1)).item() == pytest.approx(8.0070935904, abs=1e-9)


def test_soft_labels():
    chances = [0.7, 0.5, float("nan"), 0.25]
    log_p = torch.tensor(S1, dtype=torch.float64).log_softmax(0)
    parts = torch.tensor([1.0, 0.25, 0.0, 0.125], dtype=torch.float64)
    batch = one(S1, teacher=chances)
    expected = -(parts / parts.sum() * log_p).sum().item()
    assert value(SoftInfoNCE(share=0.5, temperature=1.0), batch).item() == pytest.approx(expected)
    hard = one(S1, teacher=[0.2, 0.0, 0.0, float("nan")])
    assert value(SoftInfoNCE(temperature=1.0), hard).item() == pytest.approx(0.5460063899, abs=1e-9)
    for wrong in (1.5, -0.1):
        with pytest.raises(PipelineError, match="is no probability"):
            value(SoftInfoNCE(), one(S1, teacher=[0.5, wrong, 0.5, 0.5]))


@pytest.mark.parametrize(
    ("scores", "t", "tau", "beta", "expected"),
    [
        (S1, 0.5, 0.0, 0.0, 0.5460063899),
        (S1, 0.5, 0.0, 1.0, 0.6099034386),
        (S1, 0.5, 0.1, 0.0, 0.3877874675),
        (S1, 0.5, 0.1, 1.0, 0.4701797893),
        (S3, 1.0, 0.0, 0.0, 1.4481539684),
        (S3, 1.0, 0.0, 1.0, 1.5614561376),
        (S3, 1.0, 0.1, 0.0, 1.4547968721),
        (S3, 1.0, 0.1, 1.0, 1.5791518380),
        ([0.8, 0.6, 0.2, -0.4], 0.5, 0.0, 0.0, 0.723789),
        ([0.8, 0.6, 0.2, -0.4], 0.5, 0.1, 0.0, 0.613522),
        ([0.8, 0.6, 0.2, -0.4], 0.5, 0.1, 1.0, 0.870114),
    ],
)
def test_debiased_golden(scores, t, tau, beta, expected):
    """S1 is given as logits, here twice their size at half the temperature, so that they are cosines."""
    cosines = [s / 2 for s in scores] if scores is S1 else scores
    assert value(DebiasedInfoNCE(tau, beta, t), one(cosines)).item() == pytest.approx(expected, abs=1e-6)


def test_debiased_against_the_formula_and_its_bound():
    rng = np.random.default_rng(0)
    clamped = 0
    for _ in range(200):
        s, tau, beta, t = rng.uniform(-1, 1, 5), rng.uniform(0, 0.5), rng.uniform(0, 2), rng.uniform(0.1, 1)
        e, n = np.exp(s / t), 4
        weight = e[1:] ** beta
        r = (weight * e[1:]).sum() / weight.mean()
        g = max((r - tau * n * e[0]) / (1 - tau), n * math.exp(-1 / t))
        clamped += g == n * math.exp(-1 / t)
        scores = torch.tensor(s[None], requires_grad=True)
        loss = value(DebiasedInfoNCE(tau, beta, t), one(scores))
        assert loss.item() == pytest.approx(-math.log(e[0] / (e[0] + g)), rel=1e-9)
        slope = torch.autograd.grad(loss, scores)[0]
        assert slope.isfinite().all()
        assert (g == n * math.exp(-1 / t)) == (not slope[0, 1:].any())
    assert clamped
    small = torch.tensor([[0.9, 0.8, 0.1]], requires_grad=True)
    assert torch.autograd.grad(value(DebiasedInfoNCE(0.1, 1.0, 0.01), one(small)), small)[0].isfinite().all()
    edge = torch.tensor([[math.log(2) / 2, 1e-8]], dtype=torch.float32, requires_grad=True)  # bound missed by 2e-8
    assert torch.autograd.grad(value(DebiasedInfoNCE(0.5), one(edge)), edge)[0].isfinite().all()
    losses = [value(DebiasedInfoNCE(0.1, beta), one([0.5, 0.4, 0.1, -0.3])).item() for beta in (0, 0.5, 1, 2)]
    assert losses == sorted(losses)
    alike = [value(DebiasedInfoNCE(0.1, beta), one([0.5, 0.4, 0.4])).item() for beta in (0, 2)]
    assert alike[0] == pytest.approx(alike[1])
    with pytest.raises(PipelineError, match="a similarity of 2 is no cosine"):
        value(DebiasedInfoNCE(), one(S1))


@pytest.mark.parametrize(
    ("scores", "beta", "expected", "slope"),
    [
        (S1, 0.0, 0.5460063899, None),
        (S1, 0.5, -0.2894968050, [-0.5853707350, 0.2315486521, 0.1896250243, 0.1641970586]),
        (S1, 1.0, -1.125, [-0.75, 0.25, 0.25, 0.25]),
        ([0.9, 0.5, 0.3], 0.0, 0.797116, None),
        ([0.9, 0.5, 0.3], 0.5, 0.231893, None),
    ],
)
def test_ccr_golden(scores, beta, expected, slope):
    logits = torch.tensor([scores], dtype=torch.float64, requires_grad=True)
    loss = value(InfoNCE(1.0) + beta * Confidence(1.0), one(logits))
    assert loss.item() == pytest.approx(expected, abs=2e-6 if len(scores) == 3 else 1e-9)
    if slope:
        np.testing.assert_allclose(torch.autograd.grad(loss, logits)[0][0], slope, atol=1e-9)


def test_passage_centric():
    batch = g1()
    alone = of_vectors(unit(0), [unit(20), unit(40), unit(100)])
    paper, code = (value(PassageCentric(form), alone).item() for form in ("paper", "code"))
    assert paper == code
    s = [math.cos(math.radians(x)) for x in (20, 20, 80)]
    assert paper == pytest.approx(math.log(sum(map(math.exp, s))) - s[0])
    # Paper: own and others' mined negatives under InBatch, own ones under Own; positives of others never.
    cos = lambda x: math.cos(math.radians(x))  # noqa: E731
    first = math.log(math.exp(cos(20)) + math.exp(cos(20)) + math.exp(cos(100))) - cos(20)
    second = math.log(math.exp(cos(30)) + math.exp(cos(20)) + math.exp(cos(60))) - cos(30)
    assert value(PassageCentric(), batch).item() == pytest.approx((first + second) / 2)
    first = math.log(math.exp(cos(20)) + math.exp(cos(20))) - cos(20)
    second = math.log(math.exp(cos(30)) + math.exp(cos(60))) - cos(30)
    assert value(PassageCentric(), batch, Own()).item() == pytest.approx((first + second) / 2)


def test_a_query_of_the_same_positive_is_no_negative_of_it():
    batch = g1()
    shared = replace(batch, label=torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0]], dtype=torch.int8))
    plain, masked = (PassageCentric("code")(b, InBatch().allowed(batch)) for b in (batch, shared))
    assert masked[0] < plain[0]
    assert masked[1] == plain[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("InfoNCE(margin=-0.1)", "margin must be at least 0"),
        ("InfoNCE(positives='some')", "positives must be one of 'own', 'each', 'any', 'all'"),
        ("HardnessInfoNCE(alpha=-1)", "alpha must be at least 0"),
        ("SoftInfoNCE(share=-1)", "share must be at least 0"),
        ("DebiasedInfoNCE(tau=1.0)", "tau must be at least 0 and below 1"),
        ("DirectedInfoNCE(directions=['doc_to_query'])", "with 'query_to_doc'"),
        ("DirectedInfoNCE(directions=['query_to_doc', 'doc_to_doc'])", "partition must be 'joint'"),
        ("DirectedInfoNCE(directions=['query_to_doc', 'query_to_doc'])", "different from each other"),
        ("DirectedInfoNCE(directions=['query_to_text'])", "directions must be a list of one of"),
        ("PassageCentric(form='book')", "form must be one of 'paper', 'code'"),
        ("Confidence(temperature=0)", "temperature must be above 0"),
    ],
)
def test_bounds(text, message):
    with pytest.raises(SpecError, match=message):
        parse(text, "loss")


def test_the_weight_of_a_loss_can_be_scheduled(static_path):
    text = "InfoNCE(temperature=1.0) + Step([0.0, 0.5], [0.2])*Confidence(temperature=1.0)"
    loss = parse(text, "loss")
    assert parse(repr(loss), "loss") == parse(full(loss), "loss") == loss
    batch = one(S1)
    for progress, beta in ((0.1, 0.0), (0.2, 0.5), (1.0, 0.5)):
        expected = value(InfoNCE(1.0) + beta * Confidence(1.0), batch)
        assert value(resolve(loss, progress), batch).item() == pytest.approx(expected.item())
    twice = parse("1*(Linear(0, 1)*InfoNCE()) + InfoNCE()*Cosine(1, 0)", "loss")
    assert value(resolve(twice, 0.25), batch) == value((0.25 + Cosine(1, 0).at(0.25)) * InfoNCE(), batch)
    student = open_student(str(static_path))
    objective = Objective(student, InBatch(), 1.0 * InfoNCE() + InfoNCE(0.5) * Learned(0.3))
    assert [found.start for _, _, found in objective.places] == [0.3]
    assert objective.current()[1].terms[1][0].item() == pytest.approx(0.3)
    for wrong, message in (
        ("2*(Linear(0, 1)*InfoNCE())", "can be one schedule"),
        ("Linear(0, 1)", "is no loss"),
        ("Linear(0, 1) + InfoNCE()", "does not join"),
        ("Linear(0, 1) * Linear(0, 1)", "does not join"),
    ):
        with pytest.raises(SpecError, match=message):
            parse(wrong, "loss")
    with pytest.raises(SpecError, match="'Linear' is a schedule, not a stage"):
        parse("Linear(0, 1) >> Top(k=1)")


@pytest.mark.parametrize(("tau", "beta", "t"), [(0.1, 0.0, 0.5), (0.1, 1.0, 0.5), (0.0, 2.0, 0.1), (0.4, 0.5, 0.05)])
def test_debiased_equals_the_weights_that_the_stage_of_that_name_writes(tau, beta, t):
    rng = np.random.default_rng(1)
    scores = rng.uniform(-1, 1, (20, 6))
    label = np.tile(np.arange(6) == 0, (20, 1)).astype(np.int8)
    query, doc = (axis.ravel() for axis in np.indices(scores.shape))
    pairs = Pairs.build(query, doc, label.ravel(), scores={"student": scores.ravel()})
    weights = Debiased(tau=tau, beta=beta, temperature=t, by="student").rate(pairs).reshape(20, 6)
    for row, weight in zip(scores, weights, strict=True):
        batch = one([*row], weight=[*weight])
        ours, theirs = DebiasedInfoNCE(tau, beta, t), InfoNCE(t, weight="weight")
        assert value(ours, batch).item() == pytest.approx(value(theirs, batch).item(), rel=1e-5, abs=1e-9)
