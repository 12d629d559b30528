"""Search in every step against brute force, the lists of ADORE against a loop, and documents that stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from foils.adapters import ann, ann_text, exact
from foils.adapters.models import load_encoder
from foils.adapters.sentence import SentenceEncoder
from foils.core.errors import ModelError, PipelineError, SpecError
from foils.core.spec import full, parse
from foils.train import InBatch, LambdaRank, RankNet, Search, TrainOptions, TrainSpec, train
from foils.train.carriers.search import Searching, distinct, listed
from foils.train.contrasts.bringer import Site
from foils.train.dev import divide, make_dev, measures
from foils.train.objective import Objective
from foils.train.step import Step
from foils.train.student import open_student
from foils.train.towers import towers
from killing import cut_off

FAST = TrainOptions(batch_size=16, learning_rate=0.1, max_steps=8, dev_share=0, save_every=3)


def weights(folder, side):
    state = SentenceTransformer(str(folder), device="cpu").state_dict()
    return np.concatenate([tensor.numpy().ravel() for name, tensor in state.items() if side in name])


def a_site(data, model, contrast, tmp_path, models=None):
    student = open_student(str(model))
    both = towers(student, contrast, models or {}, data, tmp_path / "vectors")
    return Site(
        data=data, student=both.student, max_length=None, seed=0, processes=1, rank=0,
        queries=data.query_rows("train"), docs=both.docs, cache=tmp_path / "vectors",
    )  # fmt: skip


def slow_lists(scores, same, known, k):
    """ADORE, section 4.2, one query at a time: the k best documents, copies passed over; positives appended."""
    lists = []
    for line, positives in zip(scores, known, strict=True):
        ranking = sorted(range(len(line)), key=lambda d: (-line[d], d))
        found = [doc for doc in ranking if same[doc] == doc][:k]
        lists.append(found if set(found) & set(positives) else found + sorted(positives))
    return lists


def test_lists_against_a_loop():
    rng = np.random.default_rng(0)
    for _ in range(60):
        n, k = 24, int(rng.integers(1, 9))
        same = np.arange(n, dtype=np.int32)
        for copy in rng.choice(n, 6, replace=False):
            same[copy] = min(same[int(rng.integers(n))], same[copy])
        same = same[same]
        leaders = np.flatnonzero(same == np.arange(n))
        scores = rng.random((5, n)).astype(np.float32)
        known = [sorted(rng.choice(leaders, int(rng.integers(1, 4)), replace=False).tolist()) for _ in range(5)]
        expected = slow_lists(scores, same, known, k)
        rows = np.argsort(-scores, axis=1, kind="stable").astype(np.int32)
        padded = np.array([positives + [-1] * (3 - len(positives)) for positives in known])
        own = np.array([positives[0] for positives in known])
        doc, members, hit = listed(distinct(rows, same, k), padded, own)
        for line, wanted in enumerate(expected):
            counts = own[line] in wanted
            assert doc[members[line]].tolist() == (sorted(wanted) if counts else [])
            assert hit[line] == (len(wanted) == k)
            if counts and not hit[line]:
                assert len(wanted) == k + len(known[line])


def test_short_collections_give_short_lists():
    found = distinct(np.array([[1, 0, -1, -1]], np.int32), np.array([0, 0], np.int32), 5)
    assert found.tolist() == [[0, -1, -1, -1, -1]]


@pytest.mark.parametrize("model", ["static_path", "still_path"])
def test_the_negatives_are_brute_force_under_the_current_queries(learnable, request, model, tmp_path):
    """By weights that have moved; one document is a copy of another."""
    data = learnable
    contrast, path = Search(k=3), request.getfixturevalue(model)
    site = a_site(data, path, contrast, tmp_path)
    with torch.no_grad():
        for weight in site.student.model.parameters():
            if weight.requires_grad:
                weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    rows = site.queries
    vectors = site.student.encoder(None).encode(data.queries.texts(rows), "query")
    start = load_encoder(str(path))
    docs = start.encode(data.corpus.texts(), "document")
    positives = data.positives("train")
    known = [np.unique(data.same[positives.doc[positives.query == row]]).tolist() for row in rows]
    step = a_step(rows, known, torch.from_numpy(vectors), torch.from_numpy(np.array(site.docs)))
    carrier = Searching(contrast, site)
    brought = carrier.bring(contrast, step)
    assert not brought.vectors.requires_grad
    np.testing.assert_array_equal(brought.vectors.numpy(), np.array(site.docs)[brought.doc.numpy()])
    expected = slow_lists(vectors.astype(np.float64) @ docs.T.astype(np.float64), data.same, known, 3)
    for line, wanted in enumerate(expected):
        assert brought.doc[brought.members[line]].tolist() == (sorted(wanted) if known[line][0] in wanted else [])
    report = carrier.report()
    assert report["search_ms"] > 0
    assert report["search_found"] == pytest.approx(np.mean([len(wanted) == 3 for wanted in expected]))
    assert carrier.report() == {}


def a_step(rows, known, queries, docs):
    width = max(map(len, known))
    return Step(
        query=torch.from_numpy(np.asarray(rows, np.int64)),
        doc=torch.arange(len(docs)),
        at=torch.arange(len(rows)),
        target=torch.tensor([positives[0] for positives in known]),
        known=torch.tensor([positives + [-1] * (width - len(positives)) for positives in known]),
        queries=queries,
        docs=docs,
    )


def test_only_queries_are_trained_and_the_saved_model_has_the_same_documents(learnable, static_path, tmp_path):
    spec = TrainSpec(Search(k=20), RankNet(temperature=0.05))
    options = replace(FAST, max_steps=None, epochs=4, dev_share=0.2, learning_rate=0.3)
    run = train(learnable, spec, str(static_path), out=tmp_path / "run", options=options)
    start, trained = load_encoder(str(static_path)), load_encoder(str(run.model))
    texts = learnable.corpus.texts()
    before, after = (encoder.encode(texts, "document") for encoder in (start, trained))
    np.testing.assert_array_equal(before, after)
    assert trained.fingerprint("document") == start.fingerprint("document")
    assert trained.fingerprint("query") != start.fingerprint("query")
    asked = learnable.queries.texts()
    assert not np.array_equal(start.encode(asked, "query"), trained.encode(asked, "query"))
    assert run.curve[0]["nDCG@10"] < 0.15
    assert run.metrics["nDCG@10"] > 0.3
    # What dev said is what the saved model does.
    settled = options.resolved("static", on_cpu=True, precision="float32")
    _, held, split = divide(learnable, "train", settled, 0)
    dev = make_dev(learnable, split, held, settled)
    found, _ = exact.search(trained.encode(learnable.queries.texts(dev.queries), "query"), after[dev.docs], 10)
    assert measures(dev.docs[found], dev.relevant) == run.metrics
    assert "two towers" in (run.model / "README.md").read_text()
    again = train(learnable, spec, str(static_path), out=tmp_path / "again", options=options)
    np.testing.assert_array_equal(weights(again.model, "query"), weights(run.model, "query"))


def test_a_two_tower_model_can_be_trained_further(learnable, static_path, tmp_path):
    spec = TrainSpec(Search(k=5), RankNet(temperature=0.05))
    first = train(learnable, spec, str(static_path), out=tmp_path / "first", options=FAST)
    second = train(learnable, spec, str(first.model), out=tmp_path / "second", options=FAST)
    np.testing.assert_array_equal(weights(second.model, "document"), weights(first.model, "document"))
    assert not np.array_equal(weights(second.model, "query"), weights(first.model, "query"))
    # Without a contrast that freezes it, the document side is trained like the other one.
    both = train(learnable, TrainSpec(InBatch()), str(first.model), out=tmp_path / "both", options=FAST)
    for side in ("query", "document"):
        assert not np.array_equal(weights(both.model, side), weights(first.model, side))


@pytest.mark.parametrize("text", ["Search(k=10)", "Search(k=6, index='bits') + InBatch()"])
def test_a_killed_run_ends_with_the_same_weights(learnable, transformer_path, tmp_path, monkeypatch, text):
    if "bits" in text:
        pytest.importorskip("faiss")
    spec = TrainSpec(parse(text, "contrast"), RankNet(temperature=0.05))
    options = replace(FAST, learning_rate=1e-2, dev_share=0.1)

    def go(name):
        return train(learnable, spec, str(transformer_path), out=tmp_path / name, options=options)

    whole = go("whole")
    cut_off(lambda: go("killed"), after=5)
    killed = go("killed")
    assert killed.record["resumed"]
    np.testing.assert_array_equal(weights(whole.model, "query"), weights(killed.model, "query"))
    assert whole.curve == killed.curve
    frozen, start = SentenceTransformer(str(killed.model), device="cpu"), open_student(str(transformer_path)).model
    texts = learnable.corpus.texts()
    np.testing.assert_array_equal(SentenceEncoder(frozen).encode(texts, "document"),
                                  SentenceEncoder(start).encode(texts, "document"))  # fmt: skip
    assert frozen.prompts["query"] == "d1 d2 "
    assert not np.array_equal(weights(whole.model, "query"), weights(whole.model, "document"))


def test_documents_of_another_encoder(learnable, static_path, still_path, tmp_path):
    """A static query side before a transformer's documents: each side keeps its own tokens, limits and prompts."""
    docs = load_encoder(str(still_path))
    spec = TrainSpec(Search(k=10, encoder="docs"), RankNet(temperature=0.05), guides={"docs": docs})
    options = replace(FAST, dev_share=0.2)
    run = train(learnable, spec, str(static_path), out=tmp_path / "run", options=options)
    trained, texts = load_encoder(str(run.model)), learnable.corpus.texts()
    np.testing.assert_array_equal(trained.encode(texts, "document"), docs.encode(texts, "document"))
    assert not np.array_equal(weights(run.model, "query"), weights(static_path, "embedding"))
    assert [type(part).__name__ for part in trained.model[0].sub_modules["query"]] == ["StaticEmbedding"]
    with pytest.raises(PipelineError, match="--encoder docs=MODEL"):
        train(learnable, replace(spec, guides={}), str(static_path), out=tmp_path / "none", options=options)


def test_what_cannot_stand_beside_the_student_is_refused(learnable, static_path, still_path, models, tmp_path):
    go = lambda contrast, given: towers(open_student(str(static_path)), contrast, given, learnable, tmp_path)  # noqa: E731
    assert go(InBatch(), {}).docs is None
    with pytest.raises(PipelineError, match="vectors of 'student' and 'other' at once"):
        go(Search() + Search(encoder="other"), {"other": load_encoder(str(still_path))})
    with pytest.raises(ModelError, match="keeps its documents' model"):
        go(Search(encoder="hash"), {"hash": models["student"]})
    wide, dot = open_student(str(still_path)).model, open_student(str(still_path)).model
    wide.truncate_dim, dot.similarity_fn_name = 8, "dot"
    with pytest.raises(ModelError, match="dimensions 8, and the student has 16"):
        go(Search(encoder="wide"), {"wide": SentenceEncoder(wide)})
    with pytest.raises(ModelError, match="similarity dot, and the student has cosine"):
        go(Search(encoder="dot"), {"dot": SentenceEncoder(dot)})


def test_its_text_and_its_bounds():
    assert parse(full(Search(k=7, index="bits")), "contrast") == Search(k=7, index="bits")
    assert (Search(k=5) + InBatch()).frozen() == ("student",)
    for wrong in ("Search(k=0)", "Search(index='nothing')", "Search(encoder='score')"):
        with pytest.raises(SpecError):
            parse(wrong, "contrast")


def slow_adore(scores, known, k, cut, t):
    """ADORE's loss of one query (mining, section 4.2): pairs weighed by the ranks at which they were retrieved."""
    order = sorted(range(len(scores)), key=lambda d: (-scores[d], d))[:k]
    if known not in order:
        order.append(known)
    a = [1 / r if r <= cut else 0.0 for r in range(1, len(order) + 1)]
    i, pairs = order.index(known), 0.0
    for j, doc in enumerate(order):
        if j != i:
            pairs += abs(a[i] - a[j]) * np.logaddexp(0, -(scores[known] - scores[doc]) / t)
    return pairs / (len(order) - 1)


@pytest.mark.parametrize(("k", "cut"), [(5, 5), (5, 3), (40, 40)])
def test_the_whole_step_is_adore(learnable, static_path, tmp_path, k, cut):
    contrast, loss = Search(k=k), LambdaRank(cut=cut, temperature=0.3)
    site = a_site(learnable, static_path, contrast, tmp_path)
    positives = learnable.positives("train")
    rows = learnable.query_rows("train")[:12]
    own = [int(learnable.same[positives.doc[positives.query == row]].min()) for row in rows]
    docs = np.unique(own)
    target = torch.from_numpy(np.searchsorted(docs, own))
    objective = Objective(site.student, contrast, loss, site=site)
    label = torch.from_numpy((docs[None, :] == np.array(own)[:, None]).astype(np.int8))
    ids = {"queries": torch.from_numpy(rows.astype(np.int64)), "docs": torch.from_numpy(docs), "target": target}
    ids |= {"at": torch.arange(12), "known": torch.tensor(own)[:, None], "own": label.bool(), "label": label}
    vectors = site.student.encoder(None).encode(learnable.queries.texts(rows), "query")
    queries = torch.from_numpy(vectors).requires_grad_(True)
    value = objective.value([], ids, queries, torch.from_numpy(np.array(site.docs[docs])))
    value.backward()
    assert queries.grad.abs().sum() > 0
    leaders = np.flatnonzero(learnable.same == np.arange(len(learnable.same)))
    scores = vectors.astype(np.float64) @ np.array(site.docs[leaders], np.float64).T
    place = {doc: at for at, doc in enumerate(leaders.tolist())}
    expected = [slow_adore(line, place[d], k, cut, 0.3) for line, d in zip(scores, own, strict=True)]
    assert value.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_gradient_caching_is_the_same_step(learnable, still_path, tmp_path):
    spec, options = TrainSpec(Search(k=10), RankNet(temperature=0.05)), replace(FAST, max_steps=3, learning_rate=1e-3)
    runs = [
        train(learnable, spec, str(still_path), out=tmp_path / str(size), options=replace(options, mini_batch=size))
        for size in (None, 5)
    ]
    np.testing.assert_allclose(*(weights(run.model, "query") for run in runs), atol=1e-6)
    np.testing.assert_array_equal(*(weights(run.model, "document") for run in runs))


def test_an_approximate_index_gives_its_own_list(learnable, static_path, tmp_path):
    pytest.importorskip("faiss")
    contrast = Search(k=5, index="ivf-flat(nlist=8, nprobe=1, recall=0.0)")
    site = a_site(learnable, static_path, contrast, tmp_path)
    asked = site.student.encoder(None).encode(learnable.queries.texts(site.queries), "query")
    carrier = Searching(contrast, site)
    settings = ann_text.parse(contrast.index).derive(len(site.docs), site.docs.shape[1], 6)
    theirs = ann.build(settings, np.array(site.docs)).search(asked, 6)[0]
    np.testing.assert_array_equal(carrier.nearest(asked, 5), distinct(theirs, learnable.same, 5))
    exact_lists = Searching(Search(k=5), site).nearest(asked, 5)
    assert (carrier.nearest(asked, 5) != exact_lists).any()
