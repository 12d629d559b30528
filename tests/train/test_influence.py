"""What every negative does: against autograd, slow loops, and the promise that counting changes nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import foils
from foils.core.packing import unpack
from foils.core.spec import parse
from foils.influence.record import Influence
from foils.train import Fallback, Guard, InBatch, InfoNCE, Never, Own, TrainOptions, TrainSpec, train
from foils.train.batch import batch_of
from foils.train.influence import Tally, temperature_of
from foils.train.influence.tally import Sums
from foils.train.influence.writing import _join
from foils.train.objective import Objective
from foils.train.student import open_student

OPTIONS = TrainOptions(batch_size=16, learning_rate=0.05, max_steps=18, save_every=4, dev_share=0.1, evaluate_every=6)


def layout(rows, docs):
    """Rows whose positives are the first documents; each has one mined negative, the last row none."""
    own = torch.eye(rows, docs, dtype=torch.bool)
    for i in range(rows - 1):
        own[i, rows + i % (docs - rows)] = True
    at = torch.arange(rows)
    ids = {"queries": at, "docs": torch.arange(docs), "at": at, "target": at, "known": at[:, None]}
    return {**ids, "own": own, "label": torch.eye(rows, docs, dtype=torch.int8)}


class Watching(Tally):
    def count(self, batch, allowed, seen, ranks, number):
        super().count(batch, allowed, seen, ranks, number)
        self.seen, self.allowed = seen, allowed


@pytest.mark.parametrize("how", ["cosine", "dot"])
@pytest.mark.parametrize("contrast", [InBatch(), Own()])
@pytest.mark.parametrize(
    "loss", ["InfoNCE(temperature=0.3)", "0.7*InfoNCE(temperature=0.3) + 0.3*RankNet(temperature=0.5)"]
)
def test_masses_and_gradient_norms_are_those_of_autograd(static_path, how, contrast, loss):
    generator = torch.Generator().manual_seed(4)
    queries = torch.randn(4, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    docs = torch.randn(7, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    ids = layout(4, 7)
    objective = Objective(open_student(str(static_path)), contrast, parse(loss, "loss"))
    objective.how = how
    objective.tally = tally = Watching()
    objective.value([], ids, queries, docs)
    scale = (lambda x: torch.nn.functional.normalize(x, dim=1)) if how == "cosine" else (lambda x: x)
    for i in range(4):
        # The loss of this row alone: what it sends to the vector of a document is what the pair sends.
        step = objective._step([], ids, scale(queries), scale(docs))
        batch = batch_of(step, ids["own"], ids["label"])
        allowed = contrast.allowed(batch)
        (gradient,) = torch.autograd.grad(objective.loss(batch, allowed)[i], docs)
        c = (scale(queries) @ scale(docs).T).detach()[i]
        seen = [j for j in range(7) if allowed[i, j]]
        z = {j: math.exp(float(c[j]) / 0.3) for j in [*seen, i]}
        for j in range(7):
            if j not in seen:
                assert tally.seen.mass[i, j] == tally.seen.gradient[i, j] == 0
                continue
            assert tally.seen.gradient[i, j].item() == pytest.approx(gradient[j].norm().item(), rel=1e-10)
            assert tally.seen.mass[i, j].item() == pytest.approx(z[j] / sum(z.values()), rel=1e-10)
        assert tally.seen.mass[i].sum().item() == pytest.approx(1 - z[i] / sum(z.values()), abs=1e-12)


def test_the_master_identity(static_path):
    """For InfoNCE the norm is p sqrt(1 - c²) / (t ‖d‖), and a negative that is the query moves nothing."""
    queries = torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    docs = torch.tensor([[1.0, 1.0], [0.0, 2.0], [3.0, 0.0]], dtype=torch.float64, requires_grad=True)
    objective = Objective(open_student(str(static_path)), InBatch(), InfoNCE(temperature=0.5))
    objective.tally = tally = Watching()
    objective.value([], layout(2, 3), queries, docs)
    c = np.array([[math.sqrt(0.5), 0.0, 1.0], [math.sqrt(0.5), 1.0, 0.0]])
    p = np.exp(c / 0.5)
    p /= p.sum(axis=1, keepdims=True)
    expected = p * np.sqrt(1 - c**2) / (0.5 * np.array([math.sqrt(2), 2.0, 3.0]))
    found = tally.seen.gradient.numpy()
    assert found[0, 2] == 0.0
    assert tally.seen.mass[0, 2].item() == pytest.approx(p[0, 2])
    for i, j in ((0, 1), (1, 0), (1, 2)):
        assert found[i, j] == pytest.approx(expected[i, j], rel=1e-10)


def test_the_temperature_of_a_loss():
    assert temperature_of(parse("InfoNCE(temperature=0.2)", "loss")) == 0.2
    assert temperature_of(parse("0.5*MarginMSE('t') + 2.0*InfoNCE(temperature=0.1)", "loss")) == 0.1
    assert temperature_of(parse("MarginMSE('t')", "loss")) == 1.0


def test_sums_are_those_of_a_dictionary():
    rng = np.random.default_rng(0)
    sums, expected, codes = Sums(2), {}, {}
    for _ in range(9):
        keys, values = rng.integers(0, 30, 17), rng.standard_normal((17, 2))
        code = rng.integers(0, 4, 17)
        sums.add(keys, values, code)
        if rng.random() < 0.4:
            twin = Sums(2)
            twin.load(sums.state())
            sums = twin
        for key, value, said in zip(keys.tolist(), values, code.tolist(), strict=True):
            expected[key] = expected.get(key, 0) + value
            codes[key] = max(codes.get(key, 0), said)
    sums.settle()
    assert sums.keys.tolist() == sorted(expected)
    np.testing.assert_allclose(sums.values, [expected[key] for key in sorted(expected)])
    assert sums.codes.tolist() == [codes[key] for key in sorted(expected)]


def test_what_is_counted_is_what_a_loop_counts(static_path):
    objective = Objective(open_student(str(static_path)), InBatch(), InfoNCE(temperature=0.3))
    objective.tally = tally = Watching()
    ids = layout(4, 7)
    ranks = {name: torch.full((4, 7), math.nan) for name in ("bm25", "dense")}
    ranks["bm25"][0, 4], ranks["dense"][0, 4], ranks["dense"][1, 5] = 30, 3, 7
    total, documents, queries, pairs = 0.0, np.zeros((7, 3)), np.zeros((4, 3)), {}
    for number in range(3):
        torch.manual_seed(number)
        objective.number = number
        vectors = torch.randn(4, 5, requires_grad=True), torch.randn(7, 5, requires_grad=True)
        objective.value([], {**ids, "ranks": ranks}, *vectors)
        for i in range(4):
            for j in range(7):
                if i != j:
                    what = np.array([1, tally.seen.mass[i, j].item(), tally.seen.gradient[i, j].item()])
                    documents[j] += what
                    queries[i] += what
                    total += what[1]
                    if ids["own"][i, j]:
                        pairs[i, j] = pairs.get((i, j), 0) + what
    for sums in (tally.pairs, tally.documents, tally.queries):
        sums.settle()
    np.testing.assert_allclose(tally.documents.values, documents, rtol=1e-6)
    np.testing.assert_allclose(tally.queries.values, queries, rtol=1e-6)
    assert list(zip(*(part.tolist() for part in unpack(tally.pairs.keys)), strict=True)) == sorted(pairs)
    np.testing.assert_allclose(tally.pairs.values[:, :3], [pairs[key] for key in sorted(pairs)], rtol=1e-6)
    shares = {name: values[1] for name, values in tally.groups.items()}
    assert sum(value for name, value in shares.items() if name.startswith("source/")) == pytest.approx(total)
    assert shares["source/bm25"] == shares["tier/1-5"] == pytest.approx(pairs[0, 4][1]), (
        "the first source, its best rank"
    )
    assert shares["source/dense"] == shares["tier/6-20"] == pytest.approx(pairs[1, 5][1])
    assert shares["source/own"] == pytest.approx(pairs[2, 6][1])
    assert (tally.first, tally.last, tally.batches) == (0, 3, 3)


def test_counts_of_several_processes_add_up(static_path):
    """Each counts its own steps; together they are what one process would have counted."""
    ids, ranks = layout(4, 7), {"bm25": torch.full((4, 7), 2.0)}
    tallies = [Tally(), Tally(), Tally()]
    for number in range(4):
        for tally in (tallies[number % 2], tallies[2]):
            objective = Objective(open_student(str(static_path)), InBatch(), InfoNCE(temperature=0.3))
            objective.tally, objective.number = tally, number
            torch.manual_seed(number)
            vectors = torch.randn(4, 5, requires_grad=True), torch.randn(7, 5, requires_grad=True)
            objective.value([], {**ids, "ranks": ranks}, *vectors)
    one, other, whole = tallies
    _join(one, other)
    for name in ("pairs", "documents", "queries"):
        mine, expected = getattr(one, name), getattr(whole, name)
        mine.settle()
        expected.settle()
        np.testing.assert_allclose(mine.values, expected.values)
        assert mine.keys.tolist() == expected.keys.tolist()
    assert one.groups.keys() == whole.groups.keys()
    for name, values in one.groups.items():
        np.testing.assert_allclose(values, whole.groups[name])


@pytest.fixture(scope="module")
def mined(learnable, tmp_path_factory):
    from little import HashEncoder

    pipeline = "Dense('hash', k=9) >> Top(k=3) + Random(k=3)"
    out = tmp_path_factory.mktemp("mined") / "negatives"
    return foils.mine(learnable, pipeline, encoders={"hash": HashEncoder()}, out=out).kept(learnable)


def bytes_of(run):
    return (run.model / "model.safetensors").read_bytes()


def counted(run):
    return [(run.out / "influence" / name).read_bytes() for name in ("influence.json", "pairs.parquet")]


@pytest.fixture(scope="module")
def whole(learnable, static_path, mined, tmp_path_factory):
    spec = TrainSpec(negatives=mined, influence=True)
    return train(learnable, spec, str(static_path), out=tmp_path_factory.mktemp("runs") / "whole", options=OPTIONS)


def test_counting_changes_nothing(learnable, static_path, mined, whole, tmp_path):
    spec = TrainSpec(negatives=mined)
    assert bytes_of(train(learnable, spec, str(static_path), out=tmp_path / "plain", options=OPTIONS)) == bytes_of(
        whole
    )


def test_counting_changes_nothing_of_a_model_with_dropout(learnable, transformer_path, mined, tmp_path):
    options = replace(OPTIONS, max_steps=4, learning_rate=1e-3, negatives_per_row=2, mini_batch=8)
    runs = [
        train(
            learnable,
            TrainSpec(negatives=mined, influence=on),
            str(transformer_path),
            out=tmp_path / str(on),
            options=options,
        )
        for on in (True, False)
    ]
    assert bytes_of(runs[0]) == bytes_of(runs[1])
    assert Influence.open(runs[0].out).record["batches"] == 4


def test_what_is_written(learnable, whole, mined):
    found = Influence.open(whole.out)
    record, pairs = found.record, found.pairs()
    assert (record["kind"], record["version"], record["steps"], record["batches"]) == (
        "foils influence",
        1,
        [0, 18],
        18,
    )
    assert list(record)[:2] == ["kind", "version"]
    assert {source["name"] for source in record["sources"]} == {"hash", "random", "in-batch"}
    for name in ("times_share", "mass_share", "gradient_share"):
        assert sum(source[name] for source in record["sources"]) == pytest.approx(1.0)
    used = set(zip(pairs["query_id"].to_pylist(), pairs["doc_id"].to_pylist(), strict=True))
    wrong = mined.take(mined.label == 0)
    known = set(zip(learnable.queries.id_list(wrong.query), learnable.corpus.id_list(wrong.doc), strict=True))
    assert used <= known
    assert len(used) == record["pairs"]
    own = sum(source["mass"] for source in record["sources"] if source["name"] != "in-batch")
    assert sum(pairs["mass"].to_pylist()) == pytest.approx(own)
    gradients = [entry["gradient"] for entry in record["documents"]]
    assert gradients == sorted(gradients, reverse=True)
    assert all(0 <= entry["mined"] <= 1 + 1e-9 for entry in record["documents"])
    assert found.collection().fingerprint == learnable.fingerprint
    assert "influence" not in json.dumps(whole.record["settings"])


def test_a_killed_run_counts_the_same(learnable, static_path, mined, whole, tmp_path, monkeypatch):
    forward, seen = Objective.forward, []

    def dying(self, features, ids):
        seen.append(1)
        if len(seen) in (6, 16):
            raise KeyboardInterrupt
        return forward(self, features, ids)

    monkeypatch.setattr(Objective, "forward", dying)
    spec = TrainSpec(negatives=mined, influence=True)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(learnable, spec, str(static_path), out=tmp_path / "killed", options=OPTIONS)
    killed = train(learnable, spec, str(static_path), out=tmp_path / "killed", options=OPTIONS)
    assert killed.record["resumed"]
    assert counted(killed) == counted(whole)
    assert bytes_of(killed) == bytes_of(whole)


def test_counting_may_begin_or_end_where_a_run_goes_on(learnable, static_path, mined, whole, tmp_path, monkeypatch):
    forward, seen = Objective.forward, []

    def dying(self, features, ids):
        seen.append(1)
        if len(seen) == 10:
            raise KeyboardInterrupt
        return forward(self, features, ids)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "forward", dying)
        for name, on in (("late", False), ("early", True)):
            seen.clear()
            spec = TrainSpec(negatives=mined, influence=on)
            with pytest.raises(KeyboardInterrupt):
                train(learnable, spec, str(static_path), out=tmp_path / name, options=OPTIONS)
    for name, on in (("late", True), ("early", False)):
        spec = TrainSpec(negatives=mined, influence=on)
        run = train(learnable, spec, str(static_path), out=tmp_path / name, options=OPTIONS)
        assert bytes_of(run) == bytes_of(whole)
        assert (run.out / "influence" / "influence.json").exists() == on
    assert Influence.open(tmp_path / "late").record["steps"] == [8, 18]


def test_documents_that_stand(learnable, static_path, tmp_path):
    """Then the gradient is the query's, and so it is of documents that a contrast brings."""
    spec = TrainSpec(contrast=parse("Search(k=5)", "contrast"), influence=True)
    options = replace(OPTIONS, max_steps=3)
    run = train(learnable, spec, str(static_path), out=tmp_path / "run", options=options)
    record = Influence.open(run.out).record
    assert record["side"] == "query"
    (source,) = [source for source in record["sources"] if source["name"] == "Search"]
    assert source["gradient"] > 0


def test_documents_from_a_bank_have_a_mass_and_no_gradient(learnable, static_path, mined, tmp_path):
    spec = TrainSpec(contrast=parse("InBatch() + MemoryBank(size=64)", "contrast"), negatives=mined, influence=True)
    run = train(learnable, spec, str(static_path), out=tmp_path / "run", options=replace(OPTIONS, max_steps=6))
    sources = {source["name"]: source for source in Influence.open(run.out).record["sources"]}
    assert sources["MemoryBank"]["mass"] > 0
    assert sources["MemoryBank"]["gradient"] is None
    assert sources["in-batch"]["gradient"] > 0


@pytest.mark.parametrize("temperature", [0.05, "Learned(0.05)"])
def test_a_fallback_counts_on_from_where_it_begins(learnable, static_path, mined, tmp_path, temperature):
    """Steps that were taken back are not counted; where memory does not fit, counting begins anew and says so."""
    options = replace(OPTIONS, max_steps=60, learning_rate=0.1, save_every=7)
    wild = parse("InfoNCE(temperature=Step([0.05, 1.0], [0.7]))", "loss")
    back = Fallback(InBatch(), parse(f"InfoNCE(temperature={temperature})", "loss"), Never(), 0.1)
    guard = Guard(dev=None, loss=8.0, uniformity=None, rank=None, document=None, hub=None, above=None)
    spec = TrainSpec(loss=wild, negatives=mined, guard=guard, fallback=back, influence=True)
    run = train(learnable, spec, str(static_path), out=tmp_path / "run", options=options)
    (breach,) = run.record["breaches"]
    record = Influence.open(run.out).record
    assert record["steps"][1] == 60
    assert record["steps"][0] in (0, breach["back"])
    assert record["batches"] == 60 - record["steps"][0]
