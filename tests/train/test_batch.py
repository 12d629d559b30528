"""A batch is a view: its layout against a loop, its decisions against those of `Pairs`."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

from foils import Pairs
from foils.core.errors import PipelineError
from foils.core.spec import registry
from foils.stages.filters import Between, PositiveAware, Ranks
from foils.stages.readers import Filter
from foils.stages.windows import Angle, SemiHard
from foils.train.batch import Batch, batch_of, lay_out, tensors
from foils.train.batches import Ground, Plan, Shuffled, count, cut
from foils.train.rows import make_rows
from foils.train.step import Step

ALL = np.arange(12, dtype=np.int32)
VARIANTS = {
    "Ranks": [Ranks(lo=2, hi=5), Ranks(lo=3)],
    "Between": [Between(lo=-0.3, hi=0.3), Between(hi=0.1), Between(lo=0.0)],
    "PositiveAware": [
        PositiveAware(margin=margin, kind=kind, positives=how, ties=ties)
        for margin in (0.0, 0.05, 0.5)
        for kind in ("relative", "absolute")
        for how in ("min", "max", "mean")
        for ties in ("drop", "keep")
    ],
    "SemiHard": [
        SemiHard(margin=0.25, region=region, positives=how)
        for region in ("semi-hard", "hard", "easy")
        for how in ("min", "max")
    ],
    "Angle": [Angle(lo=70.5), Angle(hi=100.5), Angle(lo=5.5, hi=33.3, of="positive")],
}


def random_case(seed, rows=9, docs=14):
    """The same scores and labels as `Pairs` and as a `Batch`: negative scores, ties, rows with 0 to 3 positives."""
    rng = np.random.default_rng(seed)
    score = np.round(rng.standard_normal((rows, docs)) / 2, 1).clip(-1, 1).astype(np.float32)
    label = np.zeros((rows, docs), np.int8)
    for row in range(rows):
        label[row, rng.choice(docs, row % 4, replace=False)] = 1
    doc = np.sort(rng.choice(1000, docs, replace=False)).astype(np.int32)
    pairs = Pairs.build(
        np.repeat(np.arange(rows), docs), np.tile(doc, rows), label.ravel(), scores={"student": score.ravel()}
    )
    batch = Batch(
        query=torch.arange(rows),
        doc=torch.from_numpy(doc).long(),
        target=torch.zeros(rows, dtype=torch.int64),
        label=torch.from_numpy(label),
        own=torch.zeros(rows, docs, dtype=torch.bool),
        scores={"student": torch.from_numpy(score)},
    )
    return pairs, batch


@pytest.mark.parametrize("name", [name for name, cls in registry("stage").items() if issubclass(cls, Filter)])
def test_every_filter_decides_online_as_offline(name):
    cls = registry("stage")[name]
    if not cls.online:
        assert cls.keep is Filter.keep, f"{name} reads texts; it must not pretend to work on scores"
        return
    assert name in VARIANTS, f"add {name} to VARIANTS"
    for keeps in VARIANTS[name]:
        for seed in range(8):
            pairs, batch = random_case(seed)
            offline = np.asarray(keeps.keep(pairs)).reshape(batch.label.shape)
            np.testing.assert_array_equal(keeps.keep(batch).numpy(), offline, err_msg=f"{keeps}, seed {seed}")
    assert not offline.all() or name == "Ranks"


@pytest.mark.parametrize("how", ["min", "max", "mean"])
def test_positive_is_that_of_pairs(how):
    pairs, batch = random_case(1)
    offline = pairs.positive("student", how).reshape(batch.label.shape)[:, :1]
    np.testing.assert_array_equal(batch.positive("score", how).numpy(), offline)


def test_rank_is_that_of_pairs():
    pairs, batch = random_case(2)
    np.testing.assert_array_equal(batch.rank("student").numpy().ravel(), pairs.rank("student"))


def test_unknown_score_is_an_error_that_says_what_there_is():
    with pytest.raises(PipelineError, match=r"'bm25'.*'student'"):
        random_case(0)[1]["bm25"]


def test_layout_against_a_loop(fake):
    rng = np.random.default_rng(0)
    positives = [(q, d) for q in range(10) for d in rng.choice(12, 1 + q % 3, replace=False).tolist()]
    mined = Pairs.build(np.repeat(ALL[:10], 4), rng.integers(8, 40, 40), np.zeros(40, np.int8))
    rows = make_rows(fake(positives, same={11: 10}), "train", queries=ALL, negatives=mined)
    chosen = rng.permutation(len(rows))[:8]
    layout = lay_out(rows, chosen, epoch=3, limit=2)
    negatives, owner = rows.draw(chosen, 3, 2)
    known = {(q, 10 if d == 11 else d) for q, d in positives}
    assert len(set(layout.docs.tolist())) == len(layout.docs)
    assert set(layout.docs.tolist()) == {int(rows.doc[i]) for i in chosen} | set(negatives.tolist())
    for i, row in enumerate(chosen):
        assert layout.queries[layout.at[i]] == rows.query[row]
        assert layout.docs[layout.target[i]] == rows.doc[row]
        for column, doc in enumerate(layout.docs.tolist()):
            assert layout.label[i, column] == ((int(rows.query[row]), doc) in known)
            mine = doc == rows.doc[row] or doc in negatives[owner == i]
            assert layout.own[i, column] == mine


def test_scores_of_a_repeated_query_are_encoded_once_and_used_twice(fake):
    rows = make_rows(fake([(0, 3), (0, 4), (1, 5)]), "train", queries=ALL)
    layout = lay_out(rows, np.array([1, 2, 0]), epoch=0, limit=None)
    assert layout.queries.tolist() == [0, 1]
    ids = tensors(layout)
    scores = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    step = Step(ids["queries"], ids["docs"], ids["at"], ids["target"], ids["known"], scores, torch.eye(3))
    batch = batch_of(step, ids["own"], ids["label"])
    assert batch.query.tolist() == [0, 1, 0]
    assert batch["score"].tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [1.0, 2.0, 3.0]]
    assert batch.label.tolist() == [[1, 1, 0], [0, 0, 1], [1, 1, 0]]
    assert batch.target.tolist() == [1, 2, 0]


def test_detached_scores_carry_no_gradient():
    _, batch = random_case(0)
    live = replace(
        batch,
        scores={"student": batch["student"].clone().requires_grad_()},
        query_vectors=torch.ones(9, 2, requires_grad=True),
        doc_vectors=torch.ones(14, 2, requires_grad=True),
    )
    detached = live.detached()
    assert live["student"].requires_grad
    assert not detached["score"].requires_grad
    assert not detached.query_vectors.requires_grad
    assert not detached.doc_vectors.requires_grad


@pytest.mark.parametrize(
    ("n", "size", "processes"), [(10, 3, 1), (10, 3, 2), (7, 4, 2), (6, 4, 2), (5, 2, 3), (3, 8, 3)]
)
def test_every_process_gets_the_same_number_of_batches(n, size, processes):
    batches = cut(np.arange(n), size, processes)
    assert len(batches) == count(n, size, processes)
    assert len(batches) % processes == 0
    assert all(1 <= len(batch) <= size for batch in batches)
    used = np.concatenate(batches).tolist()
    assert len(set(used)) == len(used)
    assert n - len(used) < processes


def test_plan_is_a_permutation_keyed_by_seed_and_epoch(fake):
    data = fake([(q, d) for q in range(10) for d in (q, q + 11)])
    rows = make_rows(data, "train", queries=ALL)

    def order(seed, epoch):
        plan = Plan(Shuffled(), Ground(rows, 6, seed))
        plan.set_epoch(epoch)
        batches = list(plan)
        assert len(batches) == len(plan)
        return list(chain.from_iterable(batches))

    assert sorted(order(0, 0)) == list(range(20))
    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
    # The order of pairs does not depend on which other rows there are.
    fewer = make_rows(data, "train", queries=ALL[:5])
    ranked = [(rows.query[i], rows.doc[i]) for i in order(0, 0) if rows.query[i] < 5]
    plan = Plan(Shuffled(), Ground(fewer, 6, 0))
    assert [(fewer.query[i], fewer.doc[i]) for i in chain.from_iterable(plan)] == ranked
