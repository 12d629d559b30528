"""What the tests of contrasts with documents from elsewhere share: steps with random vectors, and where they happen."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from foils.adapters import exact
from foils.adapters.sentence import SentenceEncoder
from foils.core.spec import parse
from foils.recipe import load_recipe
from foils.train import TrainOptions, TrainSpec, train
from foils.train.batch import batch_of, widened
from foils.train.dev import make_dev, measures
from foils.train.step import Step
from killing import cut_off

DIM = 4
KNOWN = {query: [query, query + 20] for query in range(20)}  # of 40 documents
FAST = TrainOptions(batch_size=16, learning_rate=0.05, max_steps=12, dev_share=0, save_every=4)


def known_of(queries):
    return np.asarray([KNOWN[int(q)] for q in queries], np.int32).reshape(-1, 2)


def site(*, docs=40, dim=DIM, seed=0):
    corpus = SimpleNamespace(keys=np.arange(docs, dtype=np.uint64) * np.uint64(7919) + np.uint64(5))
    queries = SimpleNamespace(keys=np.arange(300_000, dtype=np.uint64) * np.uint64(104729) + np.uint64(11))
    data = SimpleNamespace(corpus=corpus, queries=queries, same=np.arange(docs, dtype=np.int32))
    data.base = data
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
    scores = {}
    if step.weight is not None:
        scores["weight"] = torch.where(own, step.weight[:, None], torch.nan)
    return widened(batch_of(step, own, label, scores), step, {contrast: carrier.bring(contrast, step)})


def weights_of(folder):
    state = SentenceTransformer(str(folder), device="cpu").state_dict()
    return np.concatenate([tensor.numpy().ravel() for tensor in state.values()])


def whole_and_killed(data, spec, model, out, options=FAST, after=7):
    """Two runs of the same settings: one in one go, the other stopped within a step and then continued."""

    def go(name):
        return train(data, spec, str(model), out=out / name, options=options)

    whole = go("whole")
    cut_off(lambda: go("killed"), after)
    killed = go("killed")
    assert killed.record["resumed"]
    return whole, killed


def weights(folder):
    """All weights of a saved model, as one vector."""
    state = SentenceTransformer(str(folder), device="cpu").state_dict()
    return np.concatenate([tensor.float().numpy().ravel() for tensor in state.values()])


def ndcg(data, model, split="test"):
    """nDCG@10 over all documents."""
    encoder = SentenceEncoder(SentenceTransformer(str(model), device="cpu"))
    everything = make_dev(data, split, data.query_rows(split), TrainOptions(dev_queries=10_000, dev_docs=10_000))
    queries = encoder.encode(data.queries.texts(everything.queries), "query")
    found, _ = exact.search(queries, encoder.encode(data.corpus.texts(everything.docs), "document"), 10)
    return measures(everything.docs[found], everything.relevant)["nDCG@10"]


def by_recipe(name, data, model, out, **changed):
    """A short run of a shipped recipe, with some fields of its contrasts changed; and how much nDCG@10 it gained."""
    recipe = load_recipe(name)
    contrast = parse(recipe.contrast.full(), "contrast", "stage")
    for part in contrast.bringers():
        for field, value in changed.items():
            if hasattr(part, field):
                object.__setattr__(part, field, value)
    spec = TrainSpec(contrast, recipe.loss, recipe.batches)
    run = train(data, spec, str(model), out=out, options=replace(FAST, max_steps=40, save_every=40, learning_rate=0.3))
    return run, ndcg(data, run.model) - ndcg(data, model)
