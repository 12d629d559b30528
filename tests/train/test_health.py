"""Figures of a step against slow loops, closed forms, and the promise that looking changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

import foils
from foils.train import InBatch, InfoNCE, MemoryBank, Own, TrainOptions, TrainSpec, objective, train
from foils.train.batch import Batch
from foils.train.health import geometry, health
from little import HashEncoder


def a_batch(seed=0, rows=4, docs=9):
    generator = torch.Generator().manual_seed(seed)
    label = torch.zeros(rows, docs, dtype=torch.int8)
    label[torch.arange(rows), torch.arange(rows)] = 1
    own = label.bool()
    own[0, 5] = own[0, 6] = own[1, 7] = own[2, 8] = True
    scores = torch.randn(rows, docs, generator=generator, dtype=torch.float64, requires_grad=True)
    return Batch(torch.arange(rows), torch.arange(docs), torch.arange(rows), label, own, {"student": scores})


@pytest.mark.parametrize("contrast", [InBatch(), Own()])
def test_figures_of_a_softmax_are_those_of_its_probabilities(contrast):
    batch, t = a_batch(), 0.5
    allowed = contrast.allowed(batch)
    loss = InfoNCE(temperature=t)(batch, allowed).mean()
    ranks = {"bm25": torch.full((4, 9), math.nan), "dense": torch.full((4, 9), math.nan)}
    ranks["bm25"][0, 5], ranks["dense"][0, 5], ranks["dense"][0, 6], ranks["dense"][1, 7] = 3, 9, 30, 400
    found = health(batch, allowed, loss, ranks)
    s = batch["student"].detach().numpy()
    effective, gaps, hardest, over, push, pushed, most = [], [], [], [], {}, np.zeros(9), np.zeros(9)
    for i in range(4):
        negatives = [j for j in range(9) if allowed[i, j]]
        if not negatives:
            continue
        z = np.exp(s[i] / t)
        p = {j: z[j] / (z[i] + sum(z[k] for k in negatives)) for j in negatives}
        share = {j: p[j] / sum(p.values()) for j in negatives}
        effective.append(math.exp(-sum(q * math.log(q) for q in share.values())))
        gaps.append(np.mean([s[i, i] - s[i, j] for j in negatives]))
        hardest.append(s[i, i] - max(s[i, j] for j in negatives))
        over.append(hardest[-1] < 0)
        most[max(p, key=p.get)] += 1
        for j in negatives:
            group = {(0, 5): "bm25", (0, 6): "dense", (1, 7): "dense", (2, 8): "own"}.get((i, j), "in-batch")
            push[group] = push.get(group, 0) + p[j]
            pushed[j] += p[j]
    total = sum(push.values())
    assert found["negatives"] == float(allowed.sum()) / 4
    assert found["effective"] == pytest.approx(np.mean(effective))
    assert found["gap"] == pytest.approx(np.mean(gaps))
    assert found["gap_hardest"] == pytest.approx(np.mean(hardest))
    assert found["violations"] == pytest.approx(np.mean(over))
    assert found["top_document"] == pytest.approx(pushed.max() / total)
    assert found["top_rows"] == pytest.approx(most.max() / len(hardest))
    for group, value in push.items():
        assert found[f"share/{group}"] == pytest.approx(value / total)
    assert sum(value for name, value in found.items() if name.startswith("share/") and "ranks" not in name) == (
        pytest.approx(1.0)
    )
    p05 = found["share/ranks 1-5"]
    assert p05 == pytest.approx(push["bm25"] / total), "the best of its ranks counts"
    assert {name for name in found if "ranks" in name} == {
        "share/ranks 1-5",
        "share/ranks 21-50",
        "share/ranks 201+",
    }


def test_share_above_the_positive():
    batch = a_batch()
    scores = {"student": batch["student"], "teacher": torch.full((4, 9), math.nan)}
    scores["teacher"][0, 0], scores["teacher"][0, 5], scores["teacher"][0, 6] = 0.5, 0.9, 0.1
    batch = Batch(batch.query, batch.doc, batch.target, batch.label, batch.own, scores)
    allowed = Own().allowed(batch)
    found = health(batch, allowed, InfoNCE()(batch, allowed).mean(), {})
    s = batch["student"].detach()
    own = [(0, 5), (0, 6), (1, 7), (2, 8)]
    assert found["above"] == pytest.approx(np.mean([float(s[i, j] > s[i, i]) for i, j in own]))
    assert found["above_teacher"] == pytest.approx(0.5)
    assert found["count/own"] == 1.0


def test_no_negatives_no_figures():
    batch = a_batch()
    nobody = torch.zeros(4, 9, dtype=torch.bool)
    assert health(batch, nobody, InfoNCE()(batch, nobody).mean(), {}) == {"negatives": 0.0}


def test_geometry_has_its_closed_forms():
    eye = torch.eye(8)
    assert geometry(eye)["uniformity"] == pytest.approx(-4.0)
    assert geometry(eye)["effective_rank"] == pytest.approx(7.0)
    square = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    assert geometry(square)["uniformity"] == pytest.approx(-4.3963, abs=1e-4)
    collapsed = geometry(torch.ones(5, 3))
    assert collapsed["uniformity"] == pytest.approx(0.0, abs=1e-6)
    assert collapsed["effective_rank"] == pytest.approx(1.0)
    rotation = torch.linalg.qr(torch.randn(8, 8)).Q
    some = torch.randn(20, 8)
    for name, value in geometry(some).items():
        assert geometry(some @ rotation)[name] == pytest.approx(value, rel=1e-4)
    assert geometry(torch.ones(1, 3)) == {}


def test_looking_changes_nothing_and_is_logged(learnable, static_path, tmp_path, monkeypatch):
    models = {"hash": HashEncoder()}
    mined = foils.mine(learnable, "Dense('hash', k=9) >> Top(k=3)", encoders=models, out=tmp_path / "negatives")
    kept = mined.kept(learnable)
    options = TrainOptions(batch_size=16, learning_rate=0.05, max_steps=20, dev_share=0)

    def weights(name):
        run = train(learnable, TrainSpec(negatives=kept), str(static_path), out=tmp_path / name, options=options)
        state = SentenceTransformer(str(run.model), device="cpu").state_dict()
        return run, np.concatenate([tensor.numpy().ravel() for tensor in state.values()])

    looked, seen = weights("looked")
    figures = looked.record["health"]
    assert [figure["step"] for figure in figures] == [entry["step"] for entry in looked.record["losses"]]
    for figure in figures:
        assert figure["share/hash"] + figure["share/in-batch"] == pytest.approx(1.0, abs=1e-5)
        assert 0 < figure["share/ranks 1-5"] <= figure["share/hash"]
    monkeypatch.setattr(objective, "health", lambda *args: {})
    np.testing.assert_array_equal(seen, weights("not")[1])


def test_past_queries_beside_mined_negatives_are_looked_at(learnable, random_negatives, static_path, tmp_path):
    """Further rows have no ranks: none of what they meet was mined for them."""
    spec = TrainSpec(InBatch() + MemoryBank(64, sides="both"), negatives=random_negatives.kept(learnable))
    options = TrainOptions(batch_size=16, max_steps=20, dev_share=0)
    run = train(learnable, replace(spec, influence=True), str(static_path), out=tmp_path / "run", options=options)
    for figure in run.record["health"]:
        shares = {name: value for name, value in figure.items() if name.startswith("share/") and "ranks" not in name}
        assert sum(shares.values()) == pytest.approx(1.0, abs=1e-5)
        assert "share/own" not in shares
    assert shares["share/MemoryBank"] > 0
