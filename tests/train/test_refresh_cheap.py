"""Refreshes that do not encode everything: what is carried over, what that costs, and whether it is noticed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from foils.adapters import exact
from foils.follow import follow
from foils.recipe import load_recipe
from foils.train import Every, TrainOptions, generations
from foils.train.refresh.drift import Drift, held_out, missed
from foils.train.refresh.making import Maker
from foils.train.refresh.vectors import Carrying
from killing import Killed, die_at


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def normal(*shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_a_linear_drift_is_found_from_a_sample():
    old = normal(500, 12, seed=0)
    new = (old + 0.3 * old @ normal(12, 12, seed=1) + normal(12, seed=2)).astype(np.float32)
    moved = Drift.fit(old[:200], new[:200], unit=False).move(old[200:])
    assert np.abs(moved - new[200:]).max() < 0.1 * np.abs(new - old).max()
    still = Drift.fit(old[:200], old[:200], unit=False)
    np.testing.assert_allclose(still.move(old), old, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(Drift.fit(old, new, unit=True).move(old), axis=1), 1, atol=1e-6)


def test_held_out_documents_did_not_help_to_guess_themselves():
    old, new = normal(50, 4, seed=0), normal(50, 4, seed=1)
    guessed = held_out(old, new, old[:0], new[:0], unit=False)
    twin = new.copy()
    twin[7] += 100
    changed = np.abs(held_out(old, twin, old[:0], new[:0], unit=False) - guessed).max(axis=1) > 1e-6
    same_fold = np.arange(50) % 5 == 7 % 5
    assert changed.any()
    assert not changed[same_fold].any()


def test_the_estimate_is_right_on_average_and_its_interval_holds():
    queries, depth, count = unit(normal(200, 16, seed=0)), 20, 3000
    new, guessed = unit(normal(count, 16, seed=1)), None
    guessed = unit(new + 0.05 * normal(count, 16, seed=2))
    floor = exact.search(queries, guessed, depth)[1][:, -1]
    truth = missed(queries, floor, new, guessed, rest=count, depth=depth).share
    assert truth == pytest.approx(
        ((queries @ new.T >= floor[:, None]) & (queries @ guessed.T < floor[:, None])).sum() / 4000
    )
    found = []
    for seed in range(200):
        sample = np.random.default_rng(seed).choice(count, 400, replace=False)
        found.append(missed(queries, floor, new[sample], guessed[sample], rest=count, depth=depth))
    assert np.mean([one.share for one in found]) == pytest.approx(truth, rel=0.05)
    assert np.mean([one.low <= truth <= one.high for one in found]) > 0.9
    # The share that full search finds in other lists: what the estimate stands for.
    full, cheap = (exact.search(queries, side, depth)[0] for side in (new, guessed))
    lost = 1 - np.mean([len(np.intersect1d(a, b)) / depth for a, b in zip(full, cheap, strict=True)])
    assert truth == pytest.approx(lost, rel=0.15)


def test_nothing_missed_has_an_upper_bound():
    queries, docs = unit(normal(9, 4, seed=0)), unit(normal(100, 4, seed=1))
    none = missed(queries, np.full(9, 2, np.float32), docs, docs, rest=900, depth=10)
    assert (none.share, none.low) == (0, 0)
    assert none.high == pytest.approx(3 * 900 / (100 * 1000))
    assert missed(queries, np.zeros(9, np.float32), docs[:0], docs[:0], rest=0, depth=10).high == 0


@dataclass
class FakeModel:
    similarity_fn_name: str = "cosine"


@dataclass
class FakeEncoder:
    """Vectors by the number in the text."""

    documents: np.ndarray
    queries: np.ndarray
    model: FakeModel = field(default_factory=FakeModel)
    name: str = "fake"
    seen: list = field(default_factory=list)

    @property
    def dim(self):
        return self.documents.shape[1]

    def fingerprint(self, kind):
        return f"fake {kind} {id(self)}"

    def encode(self, texts, kind):
        if kind == "document":
            self.seen += texts
        return (self.queries if kind == "query" else self.documents)[[int(text) for text in texts]]


class FakeTexts:
    def __init__(self, count):
        self.count, self.fingerprint = count, f"numbers to {count}"
        self.keys = np.arange(count, dtype=np.uint64) * np.uint64(7919)

    def __len__(self):
        return self.count

    def texts(self, rows=None):
        return [str(row) for row in (range(self.count) if rows is None else rows)]


class FakeData:
    def __init__(self, docs, queries):
        self.corpus, self.queries = FakeTexts(docs), FakeTexts(queries)
        self.base = self


@pytest.fixture
def drifted(tmp_path):
    """2,000 documents whose vectors turn, each a little in its own way, too."""
    data, turn = FakeData(2000, 300), np.linalg.qr(np.eye(16) + 0.2 * normal(16, 16, seed=5))[0]
    first = FakeEncoder(unit(normal(2000, 16, seed=0)), unit(normal(300, 16, seed=1)))
    second = FakeEncoder(
        unit(first.documents @ turn + 0.01 * normal(2000, 16, seed=2)), unit(first.queries @ turn).astype(np.float32)
    )

    def go(encode, encoder, number, **more):
        refresh = Every(steps=1, encode=encode, **more)
        files = (tmp_path / f"{number - 1}.npy", tmp_path / f"{number}.npy", tmp_path / f"store-{number}")
        return Carrying(data, refresh, np.arange(300, dtype=np.int32), *files, number).vectors(encoder)

    return first, second, go


def overlap(encoder, snapshot, k=10):
    full = exact.search(encoder.queries, encoder.documents, k)[0]
    cheap = exact.search(encoder.queries, np.asarray(snapshot.take("document", 2000, None)), k)[0]
    return np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(full, cheap, strict=True)])


def test_a_pool_and_a_map_are_nearly_everything_at_a_fraction_of_the_cost(drifted):
    first, second, go = drifted
    snapshot, report = go("pool", first, 1)
    assert report == {"encoded": 1.0}
    np.testing.assert_array_equal(snapshot.take("document", 2000, None), first.documents)
    snapshot, report = go("pool", second, 2, missed=1.0)
    assert report["encoded"] == 0.15
    assert len(second.seen) == len(set(second.seen)) == 300
    rows = [int(text) for text in second.seen]
    np.testing.assert_array_equal(snapshot.take("document", 2000, None)[rows], second.documents[rows])
    found = overlap(second, snapshot)
    assert found > 0.9
    assert abs((1 - found) - report["missed"]) < 0.05
    assert overlap(second, go("queries", first, 1)[0]) < 0.5  # without a map, a turn loses nearly everything
    assert snapshot.fingerprint("document") != go("all", second, 2)[0].fingerprint("document")


def test_queries_only_leaves_the_documents_bit_by_bit(drifted):
    first, second, go = drifted
    go("queries", first, 1)
    snapshot, report = go("queries", second, 2, missed=1.0)
    np.testing.assert_array_equal(snapshot.take("document", 2000, None), first.documents)
    assert report["encoded"] == 0.02
    assert report["missed"] > 0.3  # and it is noticed


@pytest.mark.parametrize("encode", ["queries", "pool"])
def test_beyond_the_bound_everything_is_encoded(drifted, encode):
    first, second, go = drifted
    go(encode, first, 1)
    snapshot, report = go(encode, second, 2, missed=0.0)
    assert report["encoded"] == 1
    assert report["missed"] > 0
    np.testing.assert_array_equal(snapshot.take("document", 2000, None), second.documents)


def test_all_keeps_no_vectors(drifted, tmp_path):
    first, _, go = drifted
    snapshot, report = go("all", first, 1)
    np.testing.assert_array_equal(snapshot.take("document", 2000, None), first.documents)
    assert report == {"encoded": 1.0}
    assert not (tmp_path / "1.npy").exists()


def test_a_cheap_run_that_was_cut_off_is_an_uninterrupted_one(learnable, static_path, tmp_path, monkeypatch):
    (tmp_path / "own.yaml").write_text(
        "mine: Dense('student', k=20) >> Uniform(k=6)\ncontrast: Own()\n"
        "refresh: Every(steps=6, encode='pool', share=0.4, missed=0.5)\n"
    )
    plan = load_recipe(tmp_path / "own.yaml")
    options = TrainOptions(batch_size=16, learning_rate=1e-3, max_steps=20, save_every=50, dev_share=0)

    def go(name):
        return follow(plan, learnable, str(static_path), out=tmp_path / name, options=options).run

    whole = go("whole")
    with monkeypatch.context() as patch:
        die_at(patch, Maker, "_agreement", 2)
        with pytest.raises(Killed):
            go("cut")
    cut = go("cut")
    assert [entry["encoded"] for entry in cut.record["generations"]] == pytest.approx([1.0, 0.4, 0.4], abs=0.01)
    for number in (1, 2, 3):
        parts = [
            [part.read_bytes() for part in sorted((generations.folder_of(run.out, number) / "parts").iterdir())]
            for run in (whole, cut)
        ]
        assert parts[0] == parts[1]
    assert sorted(path.name for path in (cut.out / "generations").iterdir()) == ["1", "2", "3"]
