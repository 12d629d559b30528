"""The memory bank against a slow one of lists, and what it must never do."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from foils.core.errors import PipelineError, SpecError
from foils.core.spec import full, parse
from foils.train import InBatch, InfoNCE, MemoryBank, TrainSpec
from foils.train.carriers.ring import Ring
from foils.train.ema import SlowWeights
from steps import DIM, KNOWN, batch_with, by_recipe, make_step, site, weights_of, whole_and_killed


class SlowBank:
    """Lists, oldest first. ``size`` places are used up in order, also by documents that came back later."""

    def __init__(self, size, both):
        self.size, self.both, self.docs, self.pairs = size, both, [], []

    @staticmethod
    def add(entries, key, vector, step, size):
        entries = [(None, *rest) if k == key else (k, *rest) for k, *rest in entries]
        return ([*entries, (key, vector, step)])[-size:]

    def push(self, step):
        for doc, vector in zip(step.doc.tolist(), step.docs.detach(), strict=True):
            self.docs = self.add(self.docs, doc, vector, step.number, self.size)
        for row, at in enumerate(step.at.tolist()):
            pair = (int(step.query[at]), int(step.doc[step.target[row]]))
            entry = step.queries[at].detach(), self.trust(step, row)
            self.pairs = self.add(self.pairs, pair, entry, step.number, self.size)

    @staticmethod
    def trust(step, row):
        return 1.0 if step.weight is None else float(step.weight[row])

    def loss(self, step, temperature, *, weight=1.0, scale=1.0, max_age=math.inf, in_batch=True):
        """Rows and their mean, one score at a time."""
        young = lambda entries: [e for e in entries if e[0] is not None and e[2] >= step.number - max_age]  # noqa: E731
        current = step.doc.tolist()
        columns = [(doc, step.docs[i], 1.0) for i, doc in enumerate(current)] if in_batch else []
        bank = [(doc, vector) for doc, vector, _ in young(self.docs) if doc not in current]
        columns += [(doc, vector * scale, weight) for doc, vector in bank]
        every = dict(bank) | {doc: step.docs[i] for i, doc in enumerate(current)}
        rows = [
            (int(step.query[at]), int(step.doc[step.target[row]]), step.queries[at], self.trust(step, row))
            for row, at in enumerate(step.at.tolist())
        ]
        if self.both:
            rows += [
                (*pair, *entry)
                for pair, entry, _ in young(self.pairs)
                if pair[0] not in step.query.tolist() and pair[1] in every
            ]
        losses = []
        for query, positive, vector, trust in rows:
            right = vector @ every[positive] / temperature
            wrong = [
                vector @ other / temperature + math.log(factor)
                for doc, other, factor in columns
                if doc not in KNOWN[query]
            ]
            losses.append(trust * (torch.logsumexp(torch.stack([right, *wrong]), dim=0) - right))
        return torch.stack(losses).mean(), len(rows), len(bank)


CASES = [
    (MemoryBank(8), {}),
    (MemoryBank(9, max_age=2), {"max_age": 2}),
    (MemoryBank(200), {}),
    (MemoryBank(12, weight=0.25), {"weight": 0.25}),
    (MemoryBank(16, sides="both"), {}),
    (MemoryBank(16, sides="both", max_age=1, weight=0.5), {"max_age": 1, "weight": 0.5}),
    (MemoryBank(16, sides="both", scale=0.5), {"scale": 0.5}),
]
TRUST = torch.tensor([0.0, 1.0, 0.25, 0.0, 1.0])  # of the pairs of every step


@pytest.mark.parametrize(("contrast", "how"), CASES, ids=[repr(case[0]) for case in CASES])
@pytest.mark.parametrize("in_batch", [True, False])
@pytest.mark.parametrize("doubted", [False, True])
def test_loss_and_gradient_are_those_of_a_slow_bank(contrast, how, in_batch, doubted):
    if contrast.sides == "both" and not in_batch:
        pytest.skip("the same rows")
    bank = contrast.open(site()).double()
    slow = SlowBank(contrast.size, contrast.sides == "both")
    weighs = contrast.weight != 1 or doubted
    loss = InfoNCE(0.3, weight="weight") if weighs else InfoNCE(0.3)
    whole = InBatch() + contrast if in_batch else contrast
    seen = 0
    for number in range(9):
        step = replace(make_step(number, dtype=torch.float64), weight=TRUST.double() if doubted else None)
        batch = batch_with(step, contrast, bank)
        value = loss(batch, whole.allowed(batch)).mean()
        expected, rows, brought = slow.loss(step, 0.3, in_batch=in_batch, **how)
        assert len(batch.query) == rows
        assert len(batch.doc) - len(step.doc) == brought
        torch.testing.assert_close(value, expected, rtol=1e-6 if weighs else 1e-12, atol=1e-12)
        got = torch.autograd.grad(value, (step.queries, step.docs))
        wanted = torch.autograd.grad(expected, (step.queries, step.docs))
        for one, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8 if weighs else 1e-12)
        bank.after(contrast, step)
        slow.push(step)
        seen += brought
    assert seen > 20


@pytest.mark.parametrize("batch", [1, 3, 4, 10, 25])
def test_first_in_first_out(batch):
    ring = Ring(10, 1)
    for start in range(0, 100, batch):
        ids = torch.arange(start, start + batch)
        ring.push(ids, ids[:, None].float(), start)
        end = start + batch
        assert sorted(ring.id[ring.id >= 0].tolist()) == list(range(max(0, end - 10), end))
        held = ring.held(0)
        assert ring.vectors[held].squeeze(1).tolist() == ring.id[held].tolist()


def test_an_id_is_held_once_with_its_newest_vector():
    ring = Ring(6, 1)
    for number, ids in enumerate(([1, 2, 3], [3, 4], [1, 5])):
        ring.push(torch.tensor(ids), torch.full((len(ids), 1), float(number)), number)
    held = ring.held(0)
    assert dict(zip(ring.id[held].tolist(), ring.vectors[held, 0].tolist(), strict=True)) == {
        2: 0.0, 3: 1.0, 4: 1.0, 1: 2.0, 5: 2.0,
    }  # fmt: skip
    assert sorted(ring.id[ring.held(2)].tolist()) == [1, 5]


def test_a_step_does_not_meet_its_own_vectors():
    """The same step with an empty bank is plain InfoNCE; what it pushes shows only in the next one."""
    contrast = MemoryBank(100)
    bank, step = contrast.open(site()), make_step(0)
    batch = batch_with(step, contrast, bank)
    both = InBatch() + contrast
    plain = InfoNCE()(batch, InBatch().allowed(batch))
    assert torch.equal(InfoNCE()(batch, both.allowed(batch)), plain)
    bank.after(contrast, step)
    again = batch_with(step, contrast, bank)
    assert torch.equal(InfoNCE()(again, both.allowed(again)), plain)
    later = make_step(1)
    assert len(batch_with(later, contrast, bank).doc) > len(later.doc)


def test_no_known_positive_no_gradient_no_random_filling():
    contrast = MemoryBank(100, sides="both")
    bank = contrast.open(site())
    for number in range(6):
        step = make_step(number)
        brought = bank.bring(contrast, step)
        assert not brought.vectors.requires_grad
        assert not brought.asked.vectors.requires_grad
        assert (brought.doc >= 0).all()
        batch = batch_with(step, contrast, bank)
        allowed = contrast.allowed(batch)
        for row, column in allowed.nonzero().tolist():
            assert int(batch.doc[column]) not in KNOWN[int(batch.query[row])]
        if number:
            # A masked document contributes exactly nothing.
            wide = InfoNCE()(batch, allowed)
            masked = replace(batch, scores={"student": batch["student"].masked_fill(batch.label == 1, 9.0)})
            masked["student"].scatter_(1, batch.target[:, None], batch["student"].gather(1, batch.target[:, None]))
            assert torch.equal(InfoNCE()(masked, allowed), wide)
        bank.after(contrast, step)


def test_past_queries_push_the_documents_of_the_batch():
    """What a bank of documents alone cannot do: there, all gradient of documents is that of the batch's own queries."""
    contrast = MemoryBank(100, sides="both")
    bank = contrast.open(site())
    for number in range(4):
        bank.after(contrast, make_step(number))
    step = make_step(4)
    batch = batch_with(step, contrast, bank)
    rows = InfoNCE()(batch, (InBatch() + contrast).allowed(batch))
    assert len(rows) > len(step.at)
    queries, docs = torch.autograd.grad(rows[len(step.at) :].sum(), (step.queries, step.docs), retain_graph=True)
    assert not queries.any()
    assert docs.norm() > 0.1
    assert torch.autograd.grad(rows[: len(step.at)].sum(), step.queries)[0].norm() > 0.1


def test_before_the_start_nothing_is_kept_and_old_age_ends():
    contrast = MemoryBank(100, start=3, max_age=2)
    bank = contrast.open(site())
    held = []
    for number in range(7):
        step = make_step(number) if number < 5 else replace(make_step(number), number=number + 10)
        held.append(len(bank.bring(contrast, step).doc))
        bank.after(contrast, step) if number < 5 else None
    assert held[:4] == [0, 0, 0, 0]
    assert held[4] > 0
    assert held[5:] == [0, 0]


def test_scale_multiplies_the_scores_of_what_is_kept():
    plain, half = MemoryBank(100), MemoryBank(100, scale=0.5)
    both = []
    for contrast in (plain, half):
        bank = contrast.open(site())
        bank.after(contrast, make_step(0))
        both.append(batch_with(make_step(1), contrast, bank))
    width = both[0].width
    torch.testing.assert_close(both[1]["student"][:, width:], both[0]["student"][:, width:] * 0.5)
    assert torch.equal(both[1]["student"][:, :width], both[0]["student"][:, :width])


def test_with_momentum_the_average_of_the_weights_is_kept():
    """Against the closed form: decay^T w0 + (1 - decay) Σ decay^(T-t) w_t."""
    contrast = MemoryBank(100, momentum=0.9)
    assert contrast.slow() == (0.9,)
    bank, model = contrast.open(site()), torch.nn.Linear(DIM, DIM, bias=False)
    average, start = SlowWeights(model, 0.9), model.weight.detach().clone()
    inputs = torch.eye(DIM)
    for number in range(4):
        step = make_step(number, rows=2, extra=2)
        step = replace(step, doc=torch.arange(4) + 4 * number, docs=torch.zeros(4, DIM), target=torch.tensor([0, 1]))
        step = replace(step, slow=lambda decay: (torch.zeros(2, DIM), average.copy(inputs)))
        bank.after(contrast, step)
        with torch.no_grad():
            model.weight.copy_(start * (number + 2))
        average.follow(model)
    for number in range(4):
        factor = 0.9**number + 0.1 * sum(0.9 ** (number - t) * (t + 1) for t in range(1, number + 1))
        kept = bank.docs.vectors[bank.docs.id == 4 * number + 1][0]
        torch.testing.assert_close(kept, (start * factor)[:, 1])


def test_the_probe_measures_drift_and_leaves_random_numbers_alone():
    contrast = MemoryBank(100, probe=2)
    bank = contrast.open(site())
    generator = torch.Generator().manual_seed(0)
    tables = [torch.nn.functional.normalize(torch.randn(n, DIM, generator=generator), dim=1) for n in (20, 40)]
    bank.after(contrast, make_step(0, weights=tables))
    assert bank.report() == {"bank": float(len(make_step(0).doc))}
    before = torch.random.get_rng_state()
    step = make_step(2, weights=tables)
    encode = step.encode
    noisy = replace(step, encode=lambda rows, kind: (torch.randn(1), encode(rows, kind))[1])
    bank.after(contrast, noisy)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert bank.report()["bank_staleness"] == pytest.approx(0.0, abs=1e-6)
    turned = [tables[0], -tables[1]]
    bank.after(contrast, make_step(4, weights=turned))
    said = bank.report()
    assert said["bank_staleness"] == pytest.approx(2.0, abs=1e-5)
    assert said["bank_drift"] > 0.1
    assert "bank_staleness" not in bank.report()
    bank.after(contrast, make_step(5, weights=turned))
    assert "bank_staleness" not in bank.report()


def test_memory_comes_back():
    contrast = MemoryBank(30, sides="both")
    one, other = contrast.open(site()), contrast.open(site())
    for number in range(5):
        one.after(contrast, make_step(number))
    other.load_state_dict(one.state_dict())
    for number in range(5, 9):
        step = make_step(number)
        a, b = one.bring(contrast, step), other.bring(contrast, step)
        assert torch.equal(a.vectors, b.vectors)
        assert torch.equal(a.doc, b.doc)
        assert torch.equal(a.asked.known, b.asked.known)
        one.after(contrast, step)
        other.after(contrast, step)


def test_bad_fields_are_refused():
    for wrong in (
        "MemoryBank(0)", "MemoryBank(8, momentum=1.5)", "MemoryBank(8, weight=0.0)", "MemoryBank(8, scale=-1.0)",
        "MemoryBank(8, start=-1)", "MemoryBank(8, max_age=0)", "MemoryBank(8, probe=0)", "MemoryBank(8, sides='x')",
    ):  # fmt: skip
        with pytest.raises(SpecError):
            parse(wrong, "contrast")
    with pytest.raises(SpecError, match="size cannot change in training"):
        parse("MemoryBank(Linear(8, 16))", "contrast").open(SimpleNamespace())
    with pytest.raises(PipelineError, match=r"brings 'weight', which InfoNCE\(\) does not read"):
        TrainSpec(InBatch() + MemoryBank(8, weight=0.5)).columns()
    assert TrainSpec(InBatch() + MemoryBank(8, weight=0.5), InfoNCE(weight="weight")).columns() == ()
    with pytest.raises(PipelineError, match="no score 'weight'"):
        TrainSpec(InBatch() + MemoryBank(8), InfoNCE(weight="weight")).columns()
    text = "InBatch() + MemoryBank(size=8, sides='both', momentum=0.9)"
    assert full(parse(full(parse(text, "contrast")), "contrast")) == full(parse(text, "contrast"))


def test_a_killed_run_ends_with_the_same_weights(learnable, static_path, tmp_path):
    bank = MemoryBank(64, sides="both", momentum=0.9, max_age=6, probe=3)
    spec = TrainSpec(contrast=InBatch() + bank)
    whole, killed = whole_and_killed(learnable, spec, static_path, tmp_path)
    np.testing.assert_array_equal(weights_of(whole.model), weights_of(killed.model))


RECIPES = [("memory-bank", {}), ("moco", {"momentum": 0.9}), ("xbm", {"start": 5}), ("contaccum", {})]


@pytest.mark.parametrize(("name", "changed"), RECIPES)
def test_recipes_learn(learnable, static_path, tmp_path, name, changed):
    _, gain = by_recipe(name, learnable, static_path, tmp_path / "run", **changed)
    assert gain > 0.2
