"""What the tests of contrasts with documents from elsewhere share: steps with random vectors, and where they happen."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from foils.train import Loss, TrainOptions, train
from foils.train.batch import batch_of, widened
from foils.train.objective import Objective
from foils.train.step import Step

DIM = 4
KNOWN = {query: [query, query + 20] for query in range(20)}  # of 40 documents
FAST = TrainOptions(batch_size=16, learning_rate=0.05, max_steps=12, dev_share=0, save_every=4)


class Weighing(Loss):
    """InfoNCE with the column of weights, which stand before exp(score); a loss for tests only."""

    def __init__(self, temperature=0.05):
        self.temperature = temperature

    def reads(self):
        return ("weight",)

    def __call__(self, view, allowed):
        logits = view["student"] / self.temperature
        column = view.target.unsqueeze(1)
        positive = logits.gather(1, column)
        weight = view["weight"].nan_to_num(1.0)
        against = (logits + weight.log()).masked_fill(~allowed, float("-inf")).scatter(1, column, positive)
        return against.logsumexp(dim=1) - positive.squeeze(1)

    def full(self):
        return f"Weighing(temperature={self.temperature})"

    __repr__ = full


def known_of(queries):
    return np.asarray([KNOWN[int(q)] for q in queries], np.int32).reshape(-1, 2)


def site(*, docs=40, dim=DIM, seed=0):
    corpus = SimpleNamespace(keys=np.arange(docs, dtype=np.uint64) * np.uint64(7919) + np.uint64(5))
    queries = SimpleNamespace(keys=np.arange(300_000, dtype=np.uint64) * np.uint64(104729) + np.uint64(11))
    data = SimpleNamespace(corpus=corpus, queries=queries, same=np.arange(docs, dtype=np.int32))
    student = SimpleNamespace(encoder=lambda max_length: SimpleNamespace(dim=dim))
    return SimpleNamespace(data=data, student=student, max_length=None, seed=seed, rank=0, processes=1, known=known_of)


def unit(vectors):
    return torch.nn.functional.normalize(vectors, dim=1)


def make_step(number, *, rows=5, extra=2, seed=0, weights=None, slow=None, dtype=torch.float32):
    """A step of random queries with their first positives and some other documents.

    ``weights`` (tables of query and document vectors) stand for the model; by default they are new in every step.
    """
    rng = np.random.default_rng((seed, number))
    query = np.sort(rng.choice(20, rows, replace=False))
    doc = np.unique(np.concatenate((query, rng.choice(40, extra, replace=False))))
    generator = torch.Generator().manual_seed(seed * 1000 + number)
    if weights is None:
        weights = [unit(torch.randn(n, DIM, generator=generator, dtype=dtype)) for n in (20, 40)]
    tables = dict(zip(("query", "document"), weights, strict=True))
    return Step(
        query=torch.from_numpy(query),
        doc=torch.from_numpy(doc),
        at=torch.arange(rows),
        target=torch.from_numpy(np.searchsorted(doc, query)),
        known=torch.from_numpy(known_of(query)).long(),
        queries=tables["query"][query].detach().requires_grad_(True),
        docs=tables["document"][doc].detach().requires_grad_(True),
        number=number,
        encode=lambda rows, kind: tables[kind][torch.from_numpy(np.asarray(rows)).long()],
        slow=slow,
    )


def batch_with(step, contrast, carrier):
    """The batch of a step with what one contrast brought."""
    label = step.labels(step.doc)
    own = torch.zeros_like(label).bool()
    own[torch.arange(len(own)), step.target] = True
    return widened(batch_of(step, own, label), step, {contrast: carrier.bring(contrast, step)})


def weights_of(folder):
    state = SentenceTransformer(str(folder), device="cpu").state_dict()
    return np.concatenate([tensor.numpy().ravel() for tensor in state.values()])


def whole_and_killed(data, spec, model, out, monkeypatch, options=FAST, after=7):
    """Two runs of the same settings: one in one go, the other stopped within a step and then continued."""
    whole = train(data, spec, str(model), out=out / "whole", options=options)
    forward, seen = Objective.forward, []

    def dying(self, features, ids):
        seen.append(1)
        if len(seen) > after:
            raise KeyboardInterrupt
        return forward(self, features, ids)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "forward", dying)
        try:
            train(data, spec, str(model), out=out / "killed", options=options)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("it was not stopped")
    killed = train(data, spec, str(model), out=out / "killed", options=options)
    assert killed.record["resumed"]
    return whole, killed
