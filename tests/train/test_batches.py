"""Orders of rows: what every one promises, over the registry, and what each is for."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foils import Pairs
from foils.adapters.precomputed import Precomputed
from foils.core.errors import DataError, PipelineError, SpecError
from foils.core.spec import full, parse, registry
from foils.train import (
    Clustered,
    ClusterPerBatch,
    Grouped,
    InfoNCE,
    NoDuplicates,
    Shuffled,
    TrainOptions,
    TrainSpec,
    train,
)
from foils.train.batches import Ground, Plan, cut, sizes
from foils.train.batches.clustered import by_turns
from foils.train.rows import make_rows
from killing import cut_off

# Fields that have no default.
FIELDS = {"Grouped": {"by": "language"}}
TOPICS, DIM = 6, 8
KINDS = {"queries": "query", "documents": "document"}


def made(name):
    return registry("batches")[name](**FIELDS.get(name, {}))


class Side:
    """One side of a collection: keys and metadata by row."""

    def __init__(self, ids, salt):
        self.ids = ids
        self.keys = (ids.astype(np.uint64) + np.uint64(salt)) * np.uint64(0x9E3779B97F4A7C15)

    def __len__(self):
        return len(self.ids)

    def metadata(self, rows):
        return [{"language": "abc"[int(i) % 3]} if i % 7 else {} for i in self.ids[rows]]


def world(size=8, processes=1, seed=0, *, stored=None, queries=90, docs=120, limit=2, each=2, per=1):
    """A ground for orders; ``stored`` is a seed of another order in which queries and documents are stored."""
    rng = np.random.default_rng(1)
    vectors = [Topics(rng, n) for n in (queries, docs)]
    positive = np.unique(rng.integers((0, 0), (queries, docs), (queries * each, 2)), axis=0)
    mined = rng.integers((0, 0), (queries, docs), (queries * 3, 2)) if per else np.zeros((0, 2), int)
    # Row r of the stored collection has the id places[r].
    places = [np.arange(n) if stored is None else np.random.default_rng(stored).permutation(n) for n in (queries, docs)]
    row_of = [np.argsort(place) for place in places]
    pairs, negatives = (
        Pairs.build(row_of[0][part[:, 0]], row_of[1][part[:, 1]], np.full(len(part), label, np.int8))
        for part, label in ((positive, 1), (np.unique(mined, axis=0), 0))
    )
    data = SimpleNamespace(
        positives=lambda split: pairs,
        same=np.arange(docs, dtype=np.int32),
        queries=Side(places[0], 1),
        corpus=Side(places[1], 2),
        name="numbers",
    )
    rows = make_rows(data, "train", queries=np.arange(queries, dtype=np.int32), negatives=negatives if per else None)
    model = Precomputed(*(side.vectors[place] for side, place in zip(vectors, places, strict=True)))
    return Ground(rows, size, seed, processes, limit, data, {"student": model}, "unused")


class Topics:
    def __init__(self, rng, count):
        self.topic = rng.integers(TOPICS, size=count)
        self.vectors = np.eye(TOPICS, DIM)[self.topic] + 0.05 * rng.standard_normal((count, DIM))


def sequence(batches, ground, epoch=0):
    """An order as it is to the outside world: keys of external ids."""
    order = batches.open(ground)(epoch)
    assert order.dtype == np.int64
    return ground.rows.keys[order].tolist()


@pytest.mark.parametrize("name", registry("batches"))
@pytest.mark.parametrize(("size", "processes"), [(8, 1), (1, 1), (7, 3), (1000, 2)])
def test_every_row_comes_once_an_epoch_and_every_process_gets_as_many_batches(name, size, processes):
    ground, batches = world(size, processes), made(name)
    seen = set()
    for epoch in (0, 1):
        plan = Plan(batches, ground)
        plan.set_epoch(epoch)
        found = list(plan)
        assert len(found) == len(plan) == len(ground.sizes())
        assert [len(batch) for batch in found] == ground.sizes().tolist()
        assert sorted(plan.orders(epoch)) == list(range(len(ground.rows)))
        seen.add(str(found))
    assert len(seen) == 2


@pytest.mark.parametrize("name", registry("batches"))
def test_an_order_is_of_seed_epoch_and_ids_alone(name):
    batches = made(name)
    first = sequence(batches, world())
    assert sequence(batches, world()) == first
    assert sequence(batches, world(stored=4)) == first
    assert sequence(batches, world(seed=1)) != first
    assert parse(full(batches), "batches") == batches


@pytest.mark.parametrize("name", registry("batches"))
def test_few_rows(name):
    ground = world(5, queries=2, docs=3, each=1)
    plan = Plan(made(name), ground)
    assert sorted(row for batch in plan for row in batch) == list(range(len(ground.rows)))


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 4))
def test_sizes_against_a_loop(rows, size, processes):
    left, expected = rows, []
    while left >= size * processes:
        expected += [size] * processes
        left -= size * processes
    if left >= processes:
        expected += [left // processes + (rank < left % processes) for rank in range(processes)]
    assert sizes(rows, size, processes).tolist() == expected
    order = np.random.default_rng(0).permutation(rows)
    batches = cut(order, size, processes)
    assert [len(batch) for batch in batches] == expected
    if batches:
        assert np.concatenate(batches).tolist() == order[: sum(expected)].tolist()


def test_orders_stay_when_negatives_are_mined_anew():
    ground = world()
    plan = Plan(NoDuplicates(), ground)
    before = list(plan)
    plan.rows = world(per=0).rows
    assert list(plan) == before
    assert list(Plan(NoDuplicates(), world(per=0))) != before


# NoDuplicates


def touched(rows, row, epoch=0, limit=2):
    """The documents of a row and all known positives of its query, by the words of the docstring."""
    negatives, _ = rows.draw(np.array([row]), epoch, limit)
    _, known = rows.known.members(rows.slot[[row]])
    return {int(rows.doc[row]), *negatives.tolist(), *known.tolist()}


def shared(rows, batch, epoch=0):
    """Pairs of rows of a batch that have a query or document in common."""
    sets = [touched(rows, row, epoch) for row in batch]
    pairs = [(i, j) for i in range(len(batch)) for j in range(i)]
    return sum(rows.query[batch[i]] == rows.query[batch[j]] or bool(sets[i] & sets[j]) for i, j in pairs)


@pytest.mark.parametrize("processes", [1, 2])
def test_no_two_rows_share_anything(processes):
    ground = world(10, processes, queries=400, docs=900)
    orders = NoDuplicates().open(ground)
    for epoch in range(2):
        assert sum(shared(ground.rows, batch, epoch) for batch in cut(orders(epoch), 10, processes)) == 0
    assert sum(shared(ground.rows, batch) for batch in cut(Shuffled().order(ground.rows, 0, 0), 10, processes)) > 20


def test_a_popular_document_is_in_every_batch_once():
    # As many rows of one document as batches: no place is left open.
    positive = [(q, 0 if q < 20 else q) for q in range(100)]
    rows = rows_of(positive)
    orders = NoDuplicates().open(Ground(rows, 5, 0))
    for epoch in range(3):
        popular = [sum(rows.doc[batch] == 0) for batch in cut(orders(epoch), 5, 1)]
        assert popular == [1] * 20


def rows_of(positive, negatives=()):
    query, doc = map(np.array, zip(*sorted(positive), strict=True))
    pairs = Pairs.build(query, doc, np.ones(len(query), np.int8))
    width = max(doc.max(), *(d for _, d in negatives), 0) + 1
    data = SimpleNamespace(
        positives=lambda split: pairs,
        same=np.arange(width, dtype=np.int32),
        queries=Side(np.arange(query.max() + 1), 1),
        corpus=Side(np.arange(width), 2),
        name="numbers",
    )
    mined = Pairs.build(*map(np.array, zip(*sorted(negatives), strict=True))) if negatives else None
    return make_rows(data, "train", queries=np.unique(query).astype(np.int32), negatives=mined)


def test_what_cannot_be_apart_is_spread_evenly():
    rows = rows_of([(0, d) for d in range(60)] + [(q, 100 + q) for q in range(1, 61)])
    batches = cut(NoDuplicates().open(Ground(rows, 6, 0))(0), 6, 1)
    of_query = [int((rows.slot[batch] == 0).sum()) for batch in batches]
    assert sum(of_query) == 60
    assert set(of_query) == {3}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=40, unique=True),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 12)), max_size=20, unique=True),
    st.integers(1, 6),
    st.integers(1, 3),
)
def test_it_ends_whatever_the_rows(positive, negatives, size, processes):
    asked = {query for query, _ in positive}
    clean = [pair for pair in negatives if pair not in positive and pair[0] in asked]
    rows = rows_of(positive, clean)
    order = NoDuplicates().open(Ground(rows, size, 0, processes, 1))(0)
    assert sorted(order) == list(range(len(rows)))


# Grouped


def test_batches_of_one_group():
    ground = world(8, queries=300, docs=400)
    values = np.array([str(each.get("language")) for each in ground.data.queries.metadata(ground.rows.query)])
    batches = cut(Grouped("language").open(ground)(0), 8, 1)
    pure = sum(len(set(values[batch])) == 1 for batch in batches)
    assert pure >= sum(n // 8 for n in np.unique(values, return_counts=True)[1])
    assert len(batches) - pure <= 4, "only what is left of four groups is mixed"
    first = [values[batch[0]] for batch in batches]
    assert sum(a != b for a, b in pairwise(first)) > len(batches) / 4, "batches are shuffled"


def test_groups_of_documents_and_a_key_that_nobody_has():
    ground = world()
    values = np.array([str(each.get("language")) for each in ground.data.corpus.metadata(ground.rows.doc)])
    batches = cut(Grouped("language", of="documents").open(ground)(0), 8, 1)
    assert np.mean([len(set(values[batch])) == 1 for batch in batches]) > 0.7
    with pytest.raises(DataError, match=r"no queries trained on have metadata 'langage'.*language"):
        Grouped("langage").open(ground)
    with pytest.raises(SpecError, match="by"):
        Grouped("")


# Clusters


def topics(ground, batches, of):
    ids = ground.rows.query if of == "queries" else ground.rows.doc
    vectors = ground.models["student"].take(KINDS[of], len(side(ground, of)), None)
    topic = vectors[:, :TOPICS].argmax(axis=1)[ids]
    return [topic[batch] for batch in batches]


def side(ground, of):
    return ground.data.queries if of == "queries" else ground.data.corpus


@pytest.mark.parametrize("of", ["queries", "documents"])
@pytest.mark.parametrize("name", ["Clustered", "ClusterPerBatch"])
def test_batches_are_of_one_topic(name, of):
    ground = world(8, queries=200, docs=200)
    batches = Clustered(clusters=TOPICS, of=of) if name == "Clustered" else ClusterPerBatch(of=of)
    found = topics(ground, cut(batches.open(ground)(0), 8, 1), of)
    random = topics(ground, cut(Shuffled().order(ground.rows, 0, 0), 8, 1), of)
    alike = lambda parts: np.mean([np.mean(part[:, None] == part[None, :]) for part in parts])  # noqa: E731
    assert alike(found) > 0.7 > 0.4 > alike(random)


def test_a_batch_is_of_one_cluster_as_long_as_its_cluster_has_rows():
    """Against the words of the paper, by replaying which clusters have rows left."""
    ground = world(8, queries=300, docs=300)
    code = np.array([row % 5 if row % 3 else 0 for row in range(len(ground.rows))])
    order = by_turns(ground, code, 0)
    left = np.bincount(code)
    for batch in cut(order, 8, 1):
        first = code[batch[0]]
        if left[first] >= len(batch):
            assert set(code[batch]) == {first}
        else:
            assert (code[batch] == first).sum() == left[first]
        left -= np.bincount(code[batch], minlength=len(left))


def test_clusters_are_chosen_uniformly_whatever_their_size():
    ground = world(4, queries=300, docs=300)
    # Four clusters, one of them has nearly everything; which one comes first is a matter of luck, not of size.
    code = np.zeros(len(ground.rows), np.int64)
    code[:30] = np.arange(30) % 3 + 1
    first = [int(code[by_turns(ground, code, epoch)[0]]) for epoch in range(400)]
    assert np.abs(np.bincount(first, minlength=4) - 100).max() < 40


def test_clusters_that_cannot_be():
    with pytest.raises(DataError, match="91 clusters of 90 queries"):
        Clustered(clusters=91).open(world(queries=90, each=20))
    with pytest.raises(PipelineError, match="--encoder guide=MODEL"):
        Clustered("guide").open(world())
    with pytest.raises(SpecError, match="clusters"):
        Clustered(clusters=0)


@pytest.mark.parametrize("text", ["NoDuplicates()", "Clustered(clusters=5)"])
def test_a_run_with_it_resumes_as_it_was(learnable, static_path, tmp_path, monkeypatch, text):
    from sentence_transformers import SentenceTransformer

    spec = TrainSpec(loss=InfoNCE(0.1), batches=parse(text, "batches"))
    options = TrainOptions(batch_size=16, learning_rate=0.05, max_steps=8, dev_share=0, save_every=3)

    def go(name):
        run = train(learnable, spec, str(static_path), out=tmp_path / name, options=options)
        return run, SentenceTransformer(str(run.model), device="cpu").state_dict()

    _, whole = go("whole")
    cut_off(lambda: go("killed"), after=4)
    run, resumed = go("killed")
    assert run.record["resumed"]
    assert all((whole[name] == resumed[name]).all() for name in whole)


RECIPE = """
title: topics
needs: [guide]
batches: Clustered('guide', clusters=4)
"""


def test_a_recipe_is_given_the_model_that_its_batches_read(learnable, static_path, still_path, tmp_path):
    from foils.follow import Job, follow
    from foils.recipe import load_recipe

    path = tmp_path / "topics.yaml"
    path.write_text(RECIPE)
    recipe = load_recipe(path)
    options = TrainOptions(max_steps=2, dev_share=0)
    job = Job(encoders={"guide": str(still_path)})
    given = follow(recipe, learnable, str(static_path), out=tmp_path / "given", job=job, options=options).run
    assert list(given.record["settings"]["guides"]) == ["guide"]
    with pytest.raises(SpecError, match=r"names no model 'other'; it names: 'guide'"):
        follow(recipe, learnable, str(static_path), out=tmp_path / "other", job=Job(encoders={"other": "x"}))
    with pytest.raises(PipelineError, match="no model 'guide'"):
        train(learnable, TrainSpec(batches=recipe.batches), str(static_path), out=tmp_path / "none", options=options)
