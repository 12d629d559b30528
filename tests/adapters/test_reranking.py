"""Scores of pairs: each read once, kept on disk, found again, and safe when a process dies."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from foils.adapters import reranking
from foils.adapters.reranking import Queue
from foils.adapters.score_store import ScoreStore, keys_of
from foils.core.errors import StoreError
from little import OverlapReranker


class Counting(OverlapReranker):
    def __init__(self, fingerprint="counting/1"):
        self.fingerprint, self.asked = fingerprint, []

    def score(self, queries, docs):
        self.asked.append(len(queries))
        return super().score(queries, docs)


QUERIES = ["a b", "c d", "a b"]  # the last one is the first again
DOCS = ["a b c", "d", "x y z " * 9, "d"]
AT = np.array([0, 0, 1, 1, 2, 0, 2]), np.array([0, 1, 2, 3, 0, 0, 3])


def expected():
    return OverlapReranker().score([QUERIES[i] for i in AT[0]], [DOCS[i] for i in AT[1]])


def test_each_distinct_pair_of_texts_is_scored_once_and_found_again(tmp_path):
    model = Counting()
    first = Queue(model, tmp_path)
    np.testing.assert_array_equal(first.score(QUERIES, DOCS, AT), expected())
    assert model.asked == [4]
    assert (first.asked, first.read) == (4, 0)
    again = Queue(model, tmp_path)
    np.testing.assert_array_equal(again.score(QUERIES, DOCS, AT), expected())
    assert model.asked == [4]
    assert (again.asked, again.read) == (4, 4)
    other = Counting("counting/2")
    Queue(other, tmp_path).score(QUERIES, DOCS, AT)
    assert other.asked == [4]


def test_nothing_is_kept_of_a_model_that_cannot_tell_its_weights(tmp_path):
    model = Counting("uncached:1")
    for _ in range(2):
        Queue(model, tmp_path).score(QUERIES, DOCS, AT)
    assert model.asked == [4, 4]
    assert not any(tmp_path.iterdir())


def test_the_queue_is_longest_first_in_chunks_and_a_killed_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(reranking, "CHUNK", 3)
    rng = np.random.default_rng(0)
    docs = ["w " * int(n) for n in rng.permutation(10) + 1]
    seen, told = [], []

    class Dying(OverlapReranker):
        fingerprint = "dying"

        def score(self, queries, docs):
            if len(seen) == 2:
                raise KeyboardInterrupt
            seen.append([len(doc) for doc in docs])
            return super().score(queries, docs)

    at = np.zeros(10, int), np.arange(10)
    with pytest.raises(KeyboardInterrupt):
        Queue(Dying(), tmp_path).score(["w"], docs, at, lambda *now: told.append(now))
    assert told == [(3, 10), (6, 10)]
    lengths = [length for chunk in seen for length in chunk]
    assert lengths == sorted(lengths, reverse=True)
    more = Counting("dying")
    np.testing.assert_array_equal(Queue(more, tmp_path).score(["w"], docs, at), np.ones(10, np.float32))
    assert sum(more.asked) == 4


def test_no_number_is_never_kept(tmp_path):
    class Broken(OverlapReranker):
        def score(self, queries, docs):
            return np.where(np.arange(len(docs)) == 0, np.nan, 1.0).astype(np.float32)

    assert np.isnan(Queue(Broken(), tmp_path).score(["q"], ["a", "b"], (np.zeros(2, int), np.arange(2)))).sum() == 1
    assert np.isnan(ScoreStore(tmp_path, "overlap/1").find(keys_of(["q", "q"]), keys_of(["a", "b"]))).sum() == 1


def test_scores_come_back_to_the_bit_and_the_first_stays(tmp_path):
    rng = np.random.default_rng(1)
    store, queries, docs = ScoreStore(tmp_path, "f"), rng.integers(-(2**62), 2**62, 900), rng.integers(0, 2**62, 900)
    scores = rng.standard_normal(900).astype(np.float32)
    assert np.isnan(store.find(queries, docs)).all()
    store.add(queries[:600], docs[:600], scores[:600])
    store.add(queries[300:], docs[300:], np.r_[scores[:300] * 0, scores[600:]])
    order = rng.permutation(900)
    np.testing.assert_array_equal(store.find(queries[order], docs[order]), scores[order])


def test_a_file_of_something_else_is_refused(tmp_path):
    store = ScoreStore(tmp_path, "f")
    store.path.write_bytes(b"no database, but years of work " * 99)
    with pytest.raises(StoreError, match="delete the file"):
        store.find(keys_of(["a"]), keys_of(["b"]))
    store.path.unlink()
    with sqlite3.connect(store.path) as base:
        base.execute("CREATE TABLE other (x)")
    with pytest.raises(StoreError, match="no such table"):
        store.find(keys_of(["a"]), keys_of(["b"]))


ADDING = """
import os, signal, sys
import numpy as np
from pathlib import Path
from foils.adapters.score_store import ScoreStore
store = ScoreStore(Path(sys.argv[1]), "f")
numbers = np.arange(1000)
store.add(numbers, numbers, numbers.astype(np.float32))
def many():
    for number in range(10**9):
        if number == 200_000:
            os.kill(os.getpid(), signal.SIGKILL)
        yield number
class Endless:
    def tolist(self):
        return many()
store.add(Endless(), Endless(), Endless())
"""


def test_a_kill_before_the_first_scores_leaves_a_file_that_can_be_read(tmp_path):
    store = ScoreStore(tmp_path, "f")
    store.path.touch()
    assert np.isnan(store.find(np.arange(3), np.arange(3))).all()


def test_a_kill_while_it_adds_leaves_what_was_there(tmp_path):
    done = subprocess.run([sys.executable, "-c", ADDING, str(tmp_path)], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr.decode()
    found = ScoreStore(tmp_path, "f").find(np.arange(1200), np.arange(1200))
    np.testing.assert_array_equal(found[:1000], np.arange(1000, dtype=np.float32))
    assert np.isnan(found[1000:]).all()
