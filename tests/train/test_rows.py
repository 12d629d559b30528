"""Training rows against loops written from the description."""

from __future__ import annotations

import numpy as np
import pytest

from foils import Pairs
from foils.core.errors import DataError
from foils.train.rows import fingerprint, make_rows, renewed

ALL = np.arange(12, dtype=np.int32)


def negatives_of(rows, epoch, limit, chosen=None):
    chosen = np.arange(len(rows)) if chosen is None else np.asarray(chosen)
    docs, owner = rows.draw(chosen, epoch, limit)
    return [docs[owner == i].tolist() for i in range(len(chosen))]


@pytest.fixture
def mined():
    # Query 0: many; query 1: one; query 2: none; query 7 is not trained on.
    return Pairs.build([0] * 7 + [1, 7], [10, 11, 12, 13, 14, 15, 16, 20, 30], [0] * 9)


def test_one_row_per_query_and_distinct_positive(fake):
    # Document 5 is a copy of document 4, so query 1 has two positives, not three.
    data = fake([(0, 3), (1, 4), (1, 5), (1, 6)], same={5: 4})
    rows = make_rows(data, "train", queries=ALL)
    assert list(zip(rows.query.tolist(), rows.doc.tolist(), strict=True)) == [(0, 3), (1, 4), (1, 6)]
    assert rows.turn[0] == 0
    assert sorted(rows.turn[1:].tolist()) == [0, 1]
    assert rows.known.members(rows.slot)[1].tolist() == [3, 4, 6, 4, 6]


def test_only_the_given_queries(fake):
    rows = make_rows(fake([(0, 3), (1, 4), (2, 5)]), "train", queries=np.array([0, 2], np.int32))
    assert rows.queries.tolist() == [0, 2]


def test_known_positives_among_the_negatives_are_left_out_and_counted(fake):
    # 5 is a copy of the positive 4; 21 and 22 are the same text.
    mined = Pairs.build([0, 0, 0, 0, 0], [3, 5, 20, 21, 22], [0, 0, 0, 0, 0])
    rows = make_rows(fake([(0, 3), (0, 4)], same={5: 4, 22: 21}), "train", queries=ALL, negatives=mined)
    assert sorted(rows.negatives.rows.tolist()) == [20, 21]
    assert rows.report["negatives_that_are_positives"] == 2


def test_positives_that_a_labeler_added_are_positives(fake):
    mined = Pairs.build([0, 0, 0], [7, 8, 9], [1, 0, -1])
    rows = make_rows(fake([(0, 3)]), "train", queries=ALL, negatives=mined)
    assert rows.doc.tolist() == [3, 7]
    assert rows.negatives.rows.tolist() == [8]


def test_short_lists_stay_short_and_no_positive_fills_them(fake, mined):
    rows = make_rows(fake([(0, 3), (1, 4), (2, 5)]), "train", queries=ALL, negatives=mined)
    drawn = negatives_of(rows, epoch=0, limit=3)
    assert [len(row) for row in drawn] == [3, 1, 0]
    assert len(set(drawn[0])) == 3
    assert not {doc for row in drawn for doc in row} & {3, 4, 5}
    assert [len(row) for row in negatives_of(rows, epoch=0, limit=None)] == [7, 1, 0]
    assert [len(row) for row in negatives_of(rows, epoch=0, limit=0)] == [0, 0, 0]
    assert rows.report["queries_without_negatives"] == 1


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 9])
def test_negatives_take_turns(fake, mined, limit):
    rows = make_rows(fake([(0, 3)]), "train", queries=ALL, negatives=mined)
    seen = [negatives_of(rows, epoch, limit)[0] for epoch in range(-(-7 // limit))]
    assert {doc for row in seen for doc in row} == set(range(10, 17))
    counts = np.bincount([doc for epoch in range(7) for doc in negatives_of(rows, epoch, limit)[0]])[10:]
    assert len(set(counts.tolist())) == 1, "over 7 epochs each of the 7 is used equally often"


def test_two_positives_of_one_query_use_different_negatives(fake, mined):
    rows = make_rows(fake([(0, 3), (0, 4)]), "train", queries=ALL, negatives=mined)
    first, second = negatives_of(rows, epoch=0, limit=3)
    assert not set(first) & set(second)


def test_draws_depend_on_seed_and_epoch_only(fake, mined):
    data = fake([(0, 3), (1, 4)])
    rows = make_rows(data, "train", queries=ALL, negatives=mined)
    backwards = mined.take(np.lexsort((-mined.doc, mined.query)))
    again = make_rows(data, "train", queries=ALL, negatives=backwards)
    assert negatives_of(rows, 4, 2) == negatives_of(again, 4, 2)
    assert negatives_of(rows, 4, 2)[1] == negatives_of(rows, 4, 2, chosen=[1])[0]
    other = make_rows(data, "train", queries=ALL, negatives=mined, seed=1)
    assert [negatives_of(rows, e, 2)[0] for e in range(3)] != [negatives_of(other, e, 2)[0] for e in range(3)]


def test_nothing_to_train_on_is_an_error(fake, mined):
    data = fake([(0, 3)])
    with pytest.raises(DataError, match="no query to train on"):
        make_rows(data, "train", queries=np.array([5], np.int32))
    with pytest.raises(DataError, match="none of the 1 negatives"):
        make_rows(data, "train", queries=ALL, negatives=mined.take(mined.query == 7))


def test_fingerprint_is_of_content_not_of_order(mined):
    assert fingerprint(None) is None
    assert fingerprint(mined) == fingerprint(mined.take(np.lexsort((-mined.doc, mined.query))))
    other = Pairs.build(mined.query, mined.doc, np.where(mined.doc == 12, 1, 0))
    assert fingerprint(mined) != fingerprint(other)


def test_other_negatives_bring_their_columns_and_lack_none(fake):
    data, first = fake([(0, 3), (1, 4)]), Pairs.build([0, 0, 1], [10, 11, 12], scores={"weight": [0.1, 0.2, 0.3]})
    rows = make_rows(data, "train", queries=ALL, negatives=first, columns=["weight"])
    later = Pairs.build([0, 1], [10, 13], scores={"weight": [0.5, 0.6]}, ranks={"dense": [7, 0]})
    now = renewed(rows, data, later, 0)
    every = np.ones((1, 4), bool)
    docs, nan = np.arange(10, 14, dtype=np.int32), np.nan
    saved = [now.saved["weight"].of(np.array([query], np.int32), docs, every)[0] for query in (0, 1)]
    np.testing.assert_allclose(saved, [[0.5, 0.2, nan, nan], [nan, nan, 0.3, 0.6]], rtol=1e-6)
    ranks = [now.ranks["dense"].of(np.array([query], np.int32), docs, every)[0] for query in (0, 1)]
    np.testing.assert_array_equal(ranks, [[7, nan, nan, nan], [nan, nan, nan, nan]])
    with pytest.raises(DataError, match="have no column 'weight', which training reads"):
        renewed(rows, data, Pairs.build([0], [10]), 0)
