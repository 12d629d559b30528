"""Augmented views: what is left out of a text, the loss against loops, and the pass through the objective."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from foils.core.errors import PipelineError, SpecError
from foils.core.spec import parse
from foils.train.augment import Augmentation
from foils.train.batch import Batch
from foils.train.contrasts import InBatch
from foils.train.losses import Augmented, InfoNCE
from foils.train.objective import Objective
from foils.train.student import open_student

KEYS = np.array([11, 7, 90, 4], np.uint64)


def padded(sizes=(9, 2, 1, 6), width=10, left=False):
    place = np.arange(width)
    real = np.array([place >= width - n if left else place < n for n in sizes])
    tokens = np.where(real, 100 + np.arange(real.size).reshape(real.shape), 0)
    return {"input_ids": torch.from_numpy(tokens), "attention_mask": torch.from_numpy(real.astype(np.int64))}


def flat(sizes=(9, 2, 0, 6)):
    offsets = np.cumsum([0, *sizes[:-1]])
    return {"input_ids": torch.arange(100, 100 + sum(sizes)), "offsets": torch.from_numpy(offsets)}


def texts(features):
    """Tokens that remain of each text."""
    if "offsets" in features:
        return [part.tolist() for part in torch.tensor_split(features["input_ids"], features["offsets"].tolist()[1:])]
    rows = zip(features["input_ids"], features["attention_mask"], strict=True)
    return [row[mask.bool()].tolist() for row, mask in rows]


def altered(how, share, features, rows=(0, 1, 2, 3), seed=0, number=5):
    rows = np.array(rows)
    return texts(Augmentation("query", how, share).altered(features, torch.from_numpy(rows), KEYS[rows], seed, number))


@pytest.mark.parametrize("features", [padded(), padded(left=True), flat()], ids=["right", "left", "static"])
def test_what_is_left_out(features):
    before = texts(features)
    marked = "attention_mask" in features
    assert altered("dropout", 0.5, features) == before
    assert altered("drop", 0.0, features) == altered("crop", 0.0, features) == before
    seen = set()
    for number in range(60):
        for how in ("drop", "crop"):
            for old, new in zip(before, altered(how, 0.5, features, number=number), strict=True):
                assert [token for token in old if token in new] == new  # a part, in the same order
                if marked:
                    assert new[:1] == old[:1]
                    assert new[-1:] == old[-1:]
                inner = (old[1:-1], new[1:-1]) if marked else (old, new)
                assert bool(inner[0]) == bool(inner[1])  # one at least stays
                if how == "crop" and inner[0]:
                    first = inner[0].index(inner[1][0])
                    assert inner[1] == inner[0][first : first + len(inner[1])]
                    assert len(inner[1]) == max(round(len(inner[0]) / 2), 1)
                    seen.add((len(inner[0]), first))
    assert len(seen) > 6  # pieces begin everywhere


def test_the_share_that_is_dropped():
    features = padded(sizes=(200,) * 4, width=200)
    kept = [len(row) for number in range(20) for row in altered("drop", 0.3, features, number=number)]
    assert np.mean(kept) == pytest.approx(2 + 198 * 0.7, rel=0.02)


@pytest.mark.parametrize("features", [padded(), flat()], ids=["padded", "static"])
def test_draws_depend_on_ids_seed_and_step_only(features):
    for how in ("drop", "crop"):
        found = altered(how, 0.4, features)
        assert altered(how, 0.4, features, rows=(3, 0)) == [found[3], found[0]]
        assert altered(how, 0.4, features) == found
        assert altered(how, 0.4, features, number=6) != found or altered(how, 0.4, features, number=7) != found
        assert altered(how, 0.4, features, seed=1) != found or altered(how, 0.4, features, seed=2) != found


def a_batch(rows=5, seed=0):
    """Rows 0 and 1 are one query; the positives of rows 2 and 3 are positives of both their queries."""
    generator = torch.Generator().manual_seed(seed)
    make = lambda n: torch.nn.functional.normalize(torch.randn(n, 4, generator=generator).double())  # noqa: E731
    at = torch.tensor([0, 0, 1, 2, 3])
    label = torch.eye(rows, 7, dtype=torch.int8)
    label[0, 1] = label[1, 0] = label[2, 3] = 1
    queries, docs = make(4)[at].requires_grad_(), make(7).requires_grad_()
    return Batch(
        query=at,
        doc=torch.arange(7),
        target=torch.arange(rows),
        label=label,
        own=label.bool(),
        scores={"student": queries @ docs.T},
        query_vectors=queries,
        doc_vectors=docs,
        augmented={
            Augmentation(of, how, 0.1): make(4)[at] if of == "query" else make(5)
            for of in ("query", "positive")
            for how in ("dropout", "drop")
        },
    )


@pytest.mark.parametrize(
    ("of", "negatives"),
    [
        ("query", [[2, 3, 4], [2, 3, 4], [0, 4], [0, 4], [0, 2, 3]]),
        ("positive", [[2, 3, 4], [2, 3, 4], [0, 1, 4], [0, 1, 2, 4], [0, 1, 2, 3]]),
    ],
)
def test_against_a_loop(of, negatives):
    batch = a_batch()
    loss = Augmented(of, "drop")
    x = batch.query_vectors if of == "query" else batch.doc_vectors[:5]
    again = batch.augmented[Augmentation(of, "drop", 0.1)]
    expected = []
    for i, others in enumerate(negatives):
        logits = torch.stack([x[i] @ again[j] / 0.05 for j in (i, *others)])
        expected.append((logits.logsumexp(0) - logits[0]).item())
    found = loss(batch, InBatch().allowed(batch))
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-9)


def test_equals_sim_cse_in_sentence_transformers():
    batch = a_batch()
    apart = replace(batch, query=torch.arange(5), label=torch.eye(5, 7, dtype=torch.int8))
    again = batch.augmented[Augmentation("query", "dropout", 0.1)]
    theirs = MultipleNegativesRankingLoss(None).compute_loss_from_embeddings([batch.query_vectors, again], None)
    assert Augmented()(apart, InBatch().allowed(apart)).mean().item() == pytest.approx(theirs.item())


def test_further_rows_have_loss_zero_and_a_batch_without_views_is_refused():
    batch = a_batch()
    more = replace(
        batch,
        query=torch.cat((batch.query, torch.tensor([9]))),
        target=torch.cat((batch.target, torch.tensor([6]))),
        label=torch.cat((batch.label, torch.zeros(1, 7, dtype=torch.int8))),
        own=torch.cat((batch.own, torch.zeros(1, 7, dtype=torch.bool))),
        query_vectors=torch.cat((batch.query_vectors, torch.ones(1, 4))),
    )
    for loss in (Augmented(), Augmented("positive")):
        found, alone = (loss(b, b.own) for b in (more, batch))
        assert found[5] == 0
        torch.testing.assert_close(found[:5], alone)
    with pytest.raises(PipelineError, match="no augmented view of each query"):
        Augmented()(replace(batch, augmented={}), batch.own)


def a_step(student):
    queries = student.features(["q1 q2 q8", "q3 q4 q5"], "query", None)
    docs = student.features(["d1 d2 d7 d3", "d3 d4 d1", "d9 d8 d2"], "document", None)
    label = torch.eye(2, 3, dtype=torch.int8)
    ids = {"queries": torch.arange(2), "docs": torch.arange(3), "at": torch.arange(2), "target": torch.tensor([0, 1])}
    return [queries, docs], {**ids, "known": torch.arange(2)[:, None], "label": label, "own": label.bool()}


def a_site():
    queries, corpus = (SimpleNamespace(keys=np.arange(5, dtype=np.uint64) + n) for n in (9, 77))
    return SimpleNamespace(data=SimpleNamespace(queries=queries, corpus=corpus), seed=3)


@pytest.mark.parametrize("of", ["query", "positive"])
@pytest.mark.parametrize("which", ["static_path", "still_path", "transformer_path"])
def test_through_a_model(which, of, request):
    student = open_student(str(request.getfixturevalue(which)))
    step = a_step(student)
    values = {}
    for how in ("dropout", "drop", "crop"):
        objective = Objective(student, InBatch(), Augmented(of, how, share=0.4), site=a_site())
        objective.eval()
        values[how] = objective(*step).item()
        others = set()
        for objective.number in (1, 2, 3, 4):
            others.add(round(objective(*step).item(), 5))
        objective.number = 0
        assert objective(*step).item() == pytest.approx(values[how], rel=1e-5)
        assert (len(others) > 1) == (how != "dropout")
        objective.train()
        value = objective(*step)
        value.backward()
        assert all(w.grad is None or w.grad.isfinite().all() for w in student.model.parameters())
        # In training, dropout makes another view in the model that has it, and only there.
        if how == "dropout":
            assert (value.item() != values[how]) == (which == "transformer_path")
    assert values["drop"] > values["dropout"]  # a text is nearest to itself
    features, _ = step
    side = 0 if of == "query" else 1
    x = torch.nn.functional.normalize(student.model.eval()(dict(features[side]))["sentence_embedding"])[:2]
    plain = torch.nn.functional.cross_entropy(x @ x.T / 0.05, torch.arange(2))
    assert values["dropout"] == pytest.approx(plain.item(), abs=1e-5)


def test_standing_documents_have_no_view(static_path):
    student = open_student(str(static_path))
    features, ids = a_step(student)
    features[1] = {"sentence_embedding": torch.randn(3, 16)}
    objective = Objective(student, InBatch(), InfoNCE() + Augmented("positive"), site=a_site())
    with pytest.raises(PipelineError, match="documents stand as vectors here"):
        objective(features, ids)


def test_bounds():
    for text, message in (
        ("Augmented(share=1.0)", "share must be at least 0 and below 1"),
        ("Augmented(how='mix')", "how must be one of 'dropout', 'drop', 'crop'"),
        ("Augmented(temperature=0)", "temperature must be above 0"),
    ):
        with pytest.raises(SpecError, match=message):
            parse(text, "loss")
