"""Gradient caching against the same gradient in one piece."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sentence_transformers.base.losses import gradcache

from foils.core.errors import ModelError, PipelineError, SpecError
from foils.core.spec import parse, registry
from foils.train import InBatch, InfoNCE, Learned, Loss, TrainOptions, TrainSpec, train
from foils.train.batch import lay_out, tensors
from foils.train.cached import CachedObjective, check_cacheable
from foils.train.carriers import Carrier
from foils.train.contrasts.bringer import Bringer, Site
from foils.train.objective import Objective
from foils.train.rows import make_rows
from foils.train.step import Brought
from foils.train.student import open_student
from foils.train.towers import Standing, towers

BOTH = InfoNCE(temperature=0.3) + InfoNCE(temperature=Learned(0.1))


def a_batch(data, student, chosen, every=3, standing=None):
    rows = make_rows(data, "train", queries=data.query_rows("train"))
    layout = lay_out(rows, np.asarray(chosen), 0, 2)
    # Every third text is longer, so that order and padding matter.
    long = lambda texts: [text + " d3 d4 d5 d6" * (i % every == 0) for i, text in enumerate(texts)]  # noqa: E731
    queries = student.features(long(data.queries.texts(layout.queries)), "query", None)
    docs = student.features(long(data.corpus.texts(layout.docs)), "document", None)
    if standing is not None:
        docs = {name: part.double() for name, part in Standing(standing).features(layout.docs).items()}
    return [queries, docs], tensors(layout)


def site_of(data, student, docs=None):
    asked = data.query_rows("train")
    return Site(data, student, None, 0, 1, 0, asked, docs, None, make_rows(data, "train", queries=asked).positives)


def wide(path):
    student = open_student(str(path))
    student.model.double()
    return student


def gradients(objective, steps, *, seed=0):
    """Of the mean over several steps, as gradient accumulation takes it."""
    objective.train()
    objective.zero_grad()
    torch.manual_seed(seed)
    values = []
    for features, ids in steps:
        value = objective([dict(part) for part in features], ids)  # the model adds to what it is given
        (value / len(steps)).backward()
        values.append(value.detach())
    named = {name: weight.grad for name, weight in objective.named_parameters() if weight.grad is not None}
    return {"value": torch.stack(values), **{name: gradient.clone() for name, gradient in named.items()}}


def assert_equal(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # Learnt numbers are float32, and so is their gradient.
        limit = tolerance if name == "value" or name.startswith("model.") else max(tolerance, 1e-6)
        error = (found[name] - value).norm() / value.norm().clamp(min=1e-3)
        assert error <= limit, f"{name}: {error:.1e}"


@pytest.mark.parametrize("mini_batch", [1, 3, 16, 100])
def test_in_float64_it_is_the_whole_gradient(learnable, still_path, mini_batch):
    student = wide(still_path)
    steps = [a_batch(learnable, student, range(16)), a_batch(learnable, student, range(20, 31))]
    expected = gradients(Objective(student, InBatch(), BOTH), steps)
    assert "learned.0" in expected
    cached = CachedObjective(student, InBatch(), BOTH, mini_batch=mini_batch)
    assert_equal(gradients(cached, steps), expected, 1e-12)


FIELDS = {"MemoryBank": {"size": 20}, "NegativeCache": {"size": 20}}


def default(cls):
    try:
        return cls(**FIELDS.get(cls.__name__, {}))
    except (SpecError, TypeError):
        pytest.skip("has fields without a default")


def with_columns(step, names):
    features, ids = step
    draws = torch.Generator().manual_seed(1)
    return features, {**ids, "saved": {n: torch.rand(ids["own"].shape, generator=draws) for n in names}}


@pytest.mark.parametrize("name", registry("loss"))
def test_every_loss_goes_with_it_or_is_refused(learnable, still_path, name):
    loss, student = default(registry("loss")[name]), wide(still_path)
    if loss.augmentations():
        site = site_of(learnable, student)
        with pytest.raises(PipelineError, match=f"{name}.*encodes texts of its own"):
            check_cacheable(student, InBatch(), InfoNCE() + 0.1 * loss)
        with pytest.raises(PipelineError, match="encodes texts of its own"):
            CachedObjective(student, InBatch(), loss, site=site, mini_batch=5)(*a_batch(learnable, student, range(6)))
        return
    check_cacheable(student, InBatch(), loss)
    step = with_columns(a_batch(learnable, student, range(12)), loss.reads())
    expected = gradients(Objective(student, InBatch(), loss), [step])
    assert_equal(gradients(CachedObjective(student, InBatch(), loss, mini_batch=5), [step]), expected, 1e-11)


@pytest.mark.parametrize("name", registry("contrast"))
def test_every_contrast_goes_with_it_or_is_refused(learnable, still_path, name, tmp_path):
    contrast, student = default(registry("contrast")[name]), wide(still_path)
    if any(bringer.encodes for bringer in contrast.bringers()):
        with pytest.raises(PipelineError, match="mini_batch"):
            check_cacheable(student, contrast, InfoNCE())
        return
    check_cacheable(student, contrast, InfoNCE())
    both = towers(student, contrast, {}, learnable, tmp_path)
    parts = (both.student, contrast, InfoNCE(temperature=0.3))
    steps = [a_batch(learnable, both.student, span, standing=both.docs) for span in (range(12), range(12, 20))]
    expected = gradients(Objective(*parts, site=site_of(learnable, student, both.docs)), steps)
    cached = CachedObjective(*parts, site=site_of(learnable, student, both.docs), mini_batch=5)
    assert_equal(gradients(cached, steps), expected, 1e-11)


def in_pieces(cached, steps, seed=0):
    """The same few texts at a time, but with a graph through all of them: what memory is saved of."""

    def forward(self, features, ids):
        ordered = [gradcache._create_minibatch(part, 0, 10**6) for part in features]
        lengths = [part["attention_mask"].sum(dim=1).argsort(descending=True, stable=True) for part in ordered]
        vectors = []
        for part, order in zip(ordered, lengths, strict=True):
            sorted_part = {k: v[order] if isinstance(v, torch.Tensor) else v for k, v in part.items()}
            made = [v for v, _ in self.embed_minibatch_iter(sorted_part, with_grad=True, copy_random_state=False)]
            vectors.append(torch.cat(made)[order.argsort()])
        return self.value(features, ids, *vectors)

    whole = type("Whole", (CachedObjective,), {"forward": forward})
    objective = whole(cached.student, InBatch(), BOTH, mini_batch=cached.mini_batch_size)
    return gradients(objective, steps, seed=seed)


@pytest.mark.parametrize("replay", [True, False])
def test_dropout_is_replayed(learnable, transformer_path, monkeypatch, replay):
    student = open_student(str(transformer_path))
    step = a_batch(learnable, student, range(16))
    cached = CachedObjective(student, InBatch(), BOTH, mini_batch=5)
    cached.student = student
    expected = in_pieces(cached, [step])
    other = in_pieces(cached, [step], seed=1)
    assert (other["value"] - expected["value"]).abs() > 1e-3, "dropout is on"
    if replay:
        assert_equal(gradients(cached, [step]), expected, 1e-6)
        return
    monkeypatch.setattr(gradcache.RandContext, "__enter__", lambda self: None)
    monkeypatch.setattr(gradcache.RandContext, "__exit__", lambda self, *error: None)
    with pytest.raises(AssertionError, match=r"model\."):
        assert_equal(gradients(cached, [step]), expected, 1e-2)


class Kept:
    """A tensor that autograd keeps; the counter knows how many numbers are kept at most at a time."""

    now = most = 0

    def __init__(self, tensor):
        self.tensor = tensor.detach()  # an output that is kept would keep its own graph
        Kept.now += tensor.numel()
        Kept.most = max(Kept.most, Kept.now)

    def __del__(self):
        Kept.now -= self.tensor.numel()


def activations(objective, step, monkeypatch):
    """Numbers that the encoder's passes keep for the backward pass, at most at a time."""
    Kept.now = Kept.most = 0
    model = objective.model
    forward = type(model).forward

    def counting(self, features):
        with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
            return forward(self, features)

    with monkeypatch.context() as patch:
        patch.setattr(type(model), "forward", counting)
        gradients(objective, [step])
    return Kept.most


def test_activations_do_not_grow_with_the_batch(learnable, still_path, monkeypatch):
    student = open_student(str(still_path))
    small, large = (a_batch(learnable, student, range(size), every=1) for size in (12, 48))
    whole = [activations(Objective(student, InBatch(), BOTH), step, monkeypatch) for step in (small, large)]
    cached = [
        activations(CachedObjective(student, InBatch(), BOTH, mini_batch=4), step, monkeypatch)
        for step in (small, large)
    ]
    assert whole[1] > 3 * whole[0]
    assert cached[1] == cached[0] < whole[0]


class QueriesOnly(Loss):
    """A loss that no document has a part in."""

    def __call__(self, view, allowed):
        return view.query_vectors[:, 0]

    full = __repr__ = lambda self: "QueriesOnly()"


def test_documents_without_gradient(learnable, still_path):
    student = wide(still_path)
    step = a_batch(learnable, student, range(8))
    expected = gradients(Objective(student, InBatch(), 1.0 * QueriesOnly()), [step])
    cached = CachedObjective(student, InBatch(), 1.0 * QueriesOnly(), mini_batch=3)
    assert_equal(gradients(cached, [step]), expected, 1e-12)
    with torch.no_grad():
        assert cached(*step) == expected["value"][0]


class Slowly(Bringer):
    """Brings the batch's own documents as a moving average of the weights sees them."""

    def slow(self):
        return (0.9,)

    def open(self, site):
        return SlowCarrier()

    full = __repr__ = lambda self: "Slowly()"


class SlowCarrier(Carrier):
    def bring(self, contrast, step):
        _, docs = step.slow(0.9)
        return Brought(step.doc, docs, torch.ones(len(step.at), len(step.doc), dtype=torch.bool))


class Encoding(Slowly):
    """Says that it encodes texts of its own."""

    encodes = True


class Undeclared(Slowly):
    """Encodes texts of its own and does not say so."""

    def open(self, site):
        return EncodingCarrier()


class EncodingCarrier(Carrier):
    def bring(self, contrast, step):
        docs = step.encode(step.doc.numpy().astype(np.int32), "document")
        return Brought(step.doc, docs, torch.ones(len(step.at), len(step.doc), dtype=torch.bool))


def test_moving_averages_go_with_it_further_texts_do_not(learnable, still_path):
    student = wide(still_path)
    step = a_batch(learnable, student, range(8))
    site = site_of(learnable, student)
    expected = gradients(Objective(student, InBatch() + Slowly(), BOTH, site=site), [step])
    cached = CachedObjective(student, InBatch() + Slowly(), BOTH, site=site, mini_batch=3)
    assert_equal(gradients(cached, [step]), expected, 1e-12)
    check_cacheable(student, InBatch() + Slowly(), BOTH)
    with pytest.raises(PipelineError, match=r"Slowly.. encodes texts of its own"):
        check_cacheable(student, InBatch() + Encoding(), BOTH)
    feed = lambda rows, kind: student.features(learnable.corpus.texts(rows), kind, None)  # noqa: E731
    cached = CachedObjective(student, Undeclared(), BOTH, site=site, feed=feed, mini_batch=3)
    with pytest.raises(PipelineError, match="encodes texts of its own"):
        cached(*step)


FAST = {"batch_size": 16, "learning_rate": 0.01, "max_steps": 6, "dev_share": 0.0, "gradient_accumulation": 2}


def weights(run):
    from sentence_transformers import SentenceTransformer

    state = SentenceTransformer(str(run.model), device="cpu").state_dict()
    return np.concatenate([tensor.numpy().ravel() for tensor in state.values()])


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_run_with_it_is_a_run_without(learnable, still_path, tmp_path, precision):
    spec = TrainSpec(loss=parse("InfoNCE(temperature=Learned(0.1))", "loss"))
    options = [TrainOptions(**FAST, precision=precision), TrainOptions(**FAST, precision=precision, mini_batch=5)]
    runs = [
        train(learnable, spec, str(still_path), out=tmp_path / str(option.mini_batch), options=option)
        for option in options
    ]
    moved = np.abs(weights(runs[0])).max()
    np.testing.assert_allclose(*map(weights, runs), atol=(2e-4 if precision == "float32" else 0.02) * moved)
    assert runs[1].record["settings"]["options"]["mini_batch"] == 5


def test_what_cannot_be_divided_is_refused_at_the_start(learnable, static_path, tmp_path):
    with pytest.raises(ModelError, match="static model"):
        train(learnable, TrainSpec(), str(static_path), out=tmp_path / "run", options=TrainOptions(mini_batch=8))
    assert not (tmp_path / "run").exists()
    with pytest.raises(SpecError, match="mini_batch=0"):
        TrainOptions(mini_batch=0)
