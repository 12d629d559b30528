"""What every declared loss promises: nothing from nothing, finite, blind to order, and numbers that may change."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
import torch

from foils.core.declared import resolve
from foils.core.errors import SpecError
from foils.core.schedule import Linear
from foils.core.spec import full, parse, registry
from foils.train.augment import Augmentation
from foils.train.batch import Batch, slow_scores
from foils.train.contrasts import InBatch, Own
from foils.train.learned import Learned, learned, put
from foils.train.losses import Consistency, InfoNCE

COLUMNS = ("teacher", "grade", "bm25", "guide", "weight", slow_scores(0.999))
OTHERS = (
    "Augmented(of='positive', how='drop')",
    "InfoNCE(positives='each')",
    "InfoNCE(positives='any', margin=0.1)",
    "InfoNCE(positives='all')",
    "InfoNCE(weight='weight')",
    "InfoNCE(positives='each', weight='weight')",
    "HardnessInfoNCE(of='own')",
    "HardnessInfoNCE(of='in-batch')",
    "DebiasedInfoNCE(tau=0.0)",
    "DebiasedInfoNCE(beta=1.0, temperature=0.05)",
    "DirectedInfoNCE(directions=['query_to_doc', 'query_to_query', 'doc_to_doc'], partition='joint')",
    "PassageCentric(form='code')",
    "RankNet(by='grade')",
    "LambdaRank(metric='ndcg')",
    "LambdaRank(metric='ndcg2', by='grade', cut=2)",
    "LambdaRank(metric='ndcg2++', by='grade')",
    "LambdaRank(by='grade', cut=3)",
    "KL(temperature=4.0, teacher_temperature=2.0)",
)
NAMES = [name for name, cls in registry("loss").items() if cls.__module__.startswith("foils.")]
TEXTS = (*(f"{name}()" for name in NAMES), *OTHERS)
# The gradient of these does not vanish when one constant is added to all scores of a row: two blocks share the scores.
NOT_SHIFTED = ("DirectedInfoNCE", "PassageCentric", "DebiasedInfoNCE")


def a_case(seed=0, rows=5, docs=12, dim=6):
    """Two rows of one query, a document that two queries ask for, negatives of a row's own, columns with NaN."""
    generator = torch.Generator().manual_seed(seed)

    def unit(n):
        made = torch.randn(n, dim, generator=generator, dtype=torch.float64)
        return torch.nn.functional.normalize(made, dim=1).requires_grad_()

    at = torch.tensor([0, 1, 1, 2, 3])[:rows]
    queries, vectors = unit(4), unit(docs)
    target = torch.tensor([0, 1, 2, 3, 4])[:rows]
    label = torch.zeros(rows, docs, dtype=torch.int8)
    label[torch.arange(rows), target] = 1
    label[1, 2] = label[2, 1] = 1
    label[4, 0] = label[0, 4] = 1
    own = torch.zeros(rows, docs, dtype=torch.bool)
    own[torch.arange(rows), target] = True
    for row in range(rows):
        own[row, [(5 + 2 * row) % docs, (6 + 2 * row) % docs, 11]] = label[row, [5, 6, 11]] == 0
    columns = {name: torch.rand(rows, docs, generator=generator, dtype=torch.float64) for name in COLUMNS}
    for name in ("teacher", "grade", "bm25", "weight"):
        columns[name] = columns[name].masked_fill(~own & (label == 0), float("nan"))
    asked = queries[at]
    return Batch(
        query=at + 20,
        doc=torch.arange(docs),
        target=target,
        label=label,
        own=own,
        scores={"student": asked @ vectors.T, **columns},
        query_vectors=asked,
        doc_vectors=vectors,
        augmented={
            Augmentation("query", "dropout", 0.1): unit(4)[at],
            Augmentation("positive", "drop", 0.1): unit(rows),
        },
    )


def with_scores(batch, scores):
    return replace(batch, scores={**batch.scores, "student": scores})


def gradient(loss, batch, allowed):
    """Losses, and their gradient with respect to the scores; vectors are held."""
    held = replace(batch, query_vectors=batch.query_vectors.detach(), doc_vectors=batch.doc_vectors.detach())
    held = replace(held, augmented={wanted: vectors.detach() for wanted, vectors in batch.augmented.items()})
    scores = batch["student"].detach().clone().requires_grad_()
    losses = loss(with_scores(held, scores), allowed)
    # Not every loss reads scores: some compare vectors.
    return losses.detach(), torch.autograd.grad(losses.sum() + 0.0 * scores.sum(), scores)[0]


def test_every_loss_has_defaults_and_every_choice_is_tried():
    for name in NAMES:
        made = parse(f"{name}()", "loss")
        assert parse(full(made), "loss") == made
        assert made.__doc__
        assert "arXiv" in made.__doc__ or "19" in made.__doc__ or "20" in made.__doc__, f"{name} names no source"
        assert len(made(a_case(), InBatch().allowed(a_case()))) == 5


@pytest.mark.parametrize("text", TEXTS)
def test_a_row_with_only_its_positive_has_loss_and_gradient_zero(text):
    loss, whole = parse(text, "loss"), a_case()
    alone = replace(
        whole,
        query=whole.query[:1],
        doc=whole.doc[:1],
        target=whole.target[:1],
        label=whole.label[:1, :1],
        own=whole.own[:1, :1],
        scores={name: score[:1, :1] for name, score in whole.scores.items()},
        query_vectors=whole.query_vectors[:1],
        doc_vectors=whole.doc_vectors[:1],
        augmented={wanted: vectors[:1] for wanted, vectors in whole.augmented.items()},
    )
    found, slope = gradient(loss, alone, InBatch().allowed(alone))
    assert found.tolist() == [0.0]
    assert slope.tolist() == [[0.0]]
    value = loss(alone, InBatch().allowed(alone)).sum()
    for through in torch.autograd.grad(value, (whole.query_vectors, whole.doc_vectors), allow_unused=True):
        assert through is None or torch.allclose(through, torch.zeros_like(through), atol=1e-12)


@pytest.mark.parametrize("text", TEXTS)
def test_a_row_whose_negatives_are_all_masked_learns_nothing_from_them(text):
    loss, batch = parse(text, "loss"), a_case()
    allowed = InBatch().allowed(batch)
    allowed[3] = False
    _, slope = gradient(loss, batch, allowed)
    assert slope.isfinite().all()
    untouched = torch.ones(12, dtype=torch.bool)
    untouched[:5] = False  # positives of the rows: other rows' queries may compare with them
    assert (slope[3, untouched] == 0).all()
    nothing = torch.zeros_like(allowed)
    assert gradient(loss, batch, nothing)[1].isfinite().all()


@pytest.mark.parametrize("text", TEXTS)
def test_unknown_scores_are_no_nan(text):
    loss, batch = parse(text, "loss"), a_case()
    blank = {name: score * float("nan") for name, score in batch.scores.items() if name != "student"}
    batch = replace(batch, scores={"student": batch["student"], **blank})
    for contrast in (InBatch(), Own()):
        found, slope = gradient(loss, batch, contrast.allowed(batch))
        assert found.isfinite().all()
        assert slope.isfinite().all()
        if loss.reads() and not text.startswith(("InfoNCE", "SoftInfoNCE")):
            assert (found == 0).all()
            assert (slope == 0).all()


@pytest.mark.parametrize("text", TEXTS)
def test_large_scores_stay_finite_in_float32(text):
    if text.startswith("DebiasedInfoNCE"):  # cosines only; its temperature is as small as they can be large
        text = text.replace("temperature=0.05", "temperature=0.0005")
    loss, batch = parse(text, "loss"), a_case()
    size = 1 if "Debiased" in text else 100
    batch = replace(
        batch,
        scores={n: (s * (size if n == "student" else 1)).float() for n, s in batch.scores.items()},
        query_vectors=(batch.query_vectors * size).float(),
        doc_vectors=batch.doc_vectors.float(),
        augmented={wanted: vectors.float() for wanted, vectors in batch.augmented.items()},
    )
    found, slope = gradient(loss, batch, InBatch().allowed(batch))
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert slope.isfinite().all()
    assert (found != 0).any()


@pytest.mark.parametrize("text", [text for text in TEXTS if not text.startswith(NOT_SHIFTED)])
def test_only_differences_of_scores_count(text):
    loss, batch = parse(text, "loss"), a_case(3)
    for contrast in (InBatch(), Own()):
        _, slope = gradient(loss, batch, contrast.allowed(batch))
        torch.testing.assert_close(slope.sum(dim=1), torch.zeros(5, dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("text", TEXTS)
def test_the_order_of_rows_and_columns_does_not_matter(text):
    loss, batch = parse(text, "loss"), a_case(1)
    allowed = InBatch().allowed(batch)
    rows, columns = torch.tensor([3, 0, 4, 2, 1]), torch.tensor([7, 2, 11, 0, 5, 3, 9, 1, 10, 4, 8, 6])
    mixed = Batch(
        query=batch.query[rows],
        doc=batch.doc[columns],
        target=columns.argsort()[batch.target[rows]],
        label=batch.label[rows][:, columns],
        own=batch.own[rows][:, columns],
        scores={name: score[rows][:, columns] for name, score in batch.scores.items()},
        query_vectors=batch.query_vectors[rows],
        doc_vectors=batch.doc_vectors[columns],
        augmented={wanted: vectors[rows] for wanted, vectors in batch.augmented.items()},
    )
    torch.testing.assert_close(loss(mixed, allowed[rows][:, columns]), loss(batch, allowed)[rows])


def test_the_master_gradient():
    """losses.md 0: p_j - [j = +], divided by the temperature, for the plain softmax; vectors follow from scores."""
    batch = a_case(5)
    allowed = InBatch().allowed(batch)
    members = allowed.scatter(1, batch.target[:, None], True)
    share = (batch["student"].detach() / 0.05).masked_fill(~members, float("-inf")).softmax(dim=1)
    ones = torch.zeros_like(share).scatter(1, batch.target[:, None], 1.0)
    for text in ("InfoNCE()", "HardnessInfoNCE(alpha=0)", "SoftInfoNCE(share=0)", "DebiasedInfoNCE(0, 0, 0.05)"):
        _, slope = gradient(parse(text, "loss"), batch, allowed)
        torch.testing.assert_close(slope, (share - ones) / 0.05, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("text", TEXTS)
def test_numbers_can_be_scheduled_and_learnt(text):
    loss, batch = parse(text, "loss"), a_case(2)
    allowed = InBatch().allowed(batch)
    expected = loss(batch, allowed)
    for field in dataclasses.fields(loss):
        value = getattr(loss, field.name)
        # One average for a run; and a view is found by its share.
        fixed = field.name == "decay" or (text.startswith("Augmented") and field.name == "share")
        if fixed or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        later = replace(loss, **{field.name: Linear(value, value)})
        torch.testing.assert_close(resolve(later, 0.3)(batch, allowed), expected)
        if isinstance(value, int) or value <= 0:
            continue
        trained = replace(loss, **{field.name: Learned(value, lo=value / 2, hi=min(value * 2, value + 0.5))})
        ((path, _),) = learned(trained).items()
        number = torch.tensor(value, requires_grad=True)
        found = put(trained, path, number)(batch, allowed)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        (slope,) = torch.autograd.grad(found.sum(), number, allow_unused=True)
        assert slope is None or slope.isfinite()


@pytest.mark.parametrize("weight", [-1, -0.5, Linear(0.5, -0.1), float("nan")])
def test_a_loss_is_never_turned_around(weight):
    with pytest.raises(SpecError, match="the weight of a loss must be"):
        weight * InfoNCE()


def test_a_row_of_weight_zero_is_still_followed():
    """losses.md 7: a doubted positive gives no contrastive gradient, but a consistent one."""
    batch = a_case()
    doubted = batch["weight"].clone()
    doubted[2, 2] = 0.0
    batch = replace(batch, scores={**batch.scores, "weight": doubted})
    allowed = InBatch().allowed(batch)
    _, contrastive = gradient(InfoNCE(weight="weight"), batch, allowed)
    _, consistent = gradient(Consistency(), batch, allowed)
    assert not contrastive[2].any()
    assert contrastive[0].any()
    assert consistent[2].any()


def test_it_is_what_gives_vectors_their_gradient():
    """Through the vectors, as in training, for the losses that compare more than queries with documents."""
    for name in NAMES:
        batch = a_case()
        value = parse(f"{name}()", "loss")(batch, InBatch().allowed(batch)).sum()
        slopes = torch.autograd.grad(value, (batch.query_vectors, batch.doc_vectors), allow_unused=True)
        for vectors in slopes[: 1 if name == "Augmented" else 2]:
            assert vectors.isfinite().all()
            assert (vectors != 0).any()
