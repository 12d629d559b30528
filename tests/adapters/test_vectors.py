import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from foils.adapters import vectors as store
from foils.adapters.callables import CallableEncoder
from foils.adapters.precomputed import Precomputed
from foils.adapters.vectors import vectors
from foils.core.errors import DataError, ModelError, StoreError


class CountingEncoder:
    """Vectors that tell their text, and a count of the texts that were encoded."""

    name, dim = "counting", 3

    def __init__(self, weights="w1"):
        self.weights, self.encoded = weights, 0

    def fingerprint(self, kind):
        return f"{self.weights}/{kind}"

    def encode(self, texts, kind):
        self.encoded += len(texts)
        return np.array([[len(text), sum(map(ord, text)), kind == "query"] for text in texts], np.float64)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(store, "CHUNK", 8)


@pytest.fixture
def source(texts):
    return texts(f"text {i} {'x' * (i % 7)}" for i in range(50))


def expected(source, kind="document", rows=None):
    return CountingEncoder().encode(source.texts(rows), kind).astype(np.float32)


def stores(cache):
    return sorted(path for path in cache.iterdir() if not path.name.startswith("."))


def test_encodes_once_then_maps(source, tmp_path):
    encoder = CountingEncoder()
    first = vectors(encoder, source, "document", cache=tmp_path)
    again = vectors(encoder, source, "document", cache=tmp_path)
    assert encoder.encoded == 50
    assert isinstance(again, np.memmap)
    assert again.dtype == np.float32
    assert not again.flags.writeable
    np.testing.assert_array_equal(first, expected(source))
    np.testing.assert_array_equal(again, expected(source))


def test_only_a_chunk_of_the_texts_is_in_memory(source, tmp_path):
    vectors(CountingEncoder(), source, "document", cache=tmp_path)
    assert max(source.asked) == 8


def test_new_weights_never_get_old_vectors(source, tmp_path):
    old, new = CountingEncoder("w1"), CountingEncoder("w2")
    vectors(old, source, "document", cache=tmp_path)
    vectors(new, source, "document", cache=tmp_path)
    assert new.encoded == 50


def test_everything_else_is_in_the_key(source, texts, tmp_path):
    encoder = CountingEncoder()
    variants = [
        (source, "document", None),
        (source, "query", None),
        (source, "document", np.arange(0, 50, 2)),
        (source, "document", np.arange(48, -1, -2)),
        (texts([*source.texts()[:-1], "another"]), "document", None),
    ]
    for side, kind, rows in variants:
        got = vectors(encoder, side, kind, cache=tmp_path, rows=rows)
        np.testing.assert_array_equal(got, expected(side, kind, rows))
    assert len(stores(tmp_path)) == len(variants)
    every = vectors(encoder, source, "document", cache=tmp_path, rows=np.arange(50, dtype=np.int32))
    assert len(stores(tmp_path)) == len(variants)  # all rows are all rows
    np.testing.assert_array_equal(every, expected(source))


class StoppingEncoder(CountingEncoder):
    def encode(self, texts, kind):
        if self.encoded >= 24:
            raise KeyboardInterrupt
        return super().encode(texts, kind)


def test_continues_after_an_interruption(source, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    vectors(CountingEncoder(), source, "document", cache=whole)
    with pytest.raises(KeyboardInterrupt):
        vectors(StoppingEncoder(), source, "document", cache=broken)
    rest, seen = CountingEncoder(), []
    vectors(rest, source, "document", cache=broken, progress=lambda done, total: seen.append((done, total)))
    assert rest.encoded == 50 - 24
    assert seen == [(24, 50), (32, 50), (40, 50), (48, 50), (50, 50)]
    for one, other in zip(stores(whole)[0].iterdir(), stores(broken)[0].iterdir(), strict=True):
        assert (one.name, one.read_bytes()) == (other.name, other.read_bytes())


def test_survives_a_kill(source, tmp_path):
    code = (
        "import sys, time, pathlib; sys.path.insert(0, sys.argv[2]); from conftest import ListTexts;"
        "import test_vectors as t; t.store.CHUNK = 8;"
        "slow = type('Slow', (t.CountingEncoder,), {'encode': lambda s, x, k: (time.sleep(.05), "
        "t.CountingEncoder.encode(s, x, k))[1]});"
        "texts = ListTexts(f'text {i} ' + 'x' * (i % 7) for i in range(50));"
        "t.vectors(slow(), texts, 'document', cache=pathlib.Path(sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path, Path(__file__).parent])
    deadline = time.monotonic() + 30
    while not any(b"\1" in path.read_bytes() for path in tmp_path.glob("*/done")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    rest = CountingEncoder()
    got = vectors(rest, source, "document", cache=tmp_path)
    assert 0 < rest.encoded < 50
    np.testing.assert_array_equal(got, expected(source))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            lambda texts: np.full((len(texts), 3), np.nan),
            "8 of 8 document vectors are NaN or infinite, the first of 'text 0'",
        ),
        (lambda texts: np.zeros((len(texts), 4)), r"vectors of shape \(8, 4\) for 8 texts; expected \(8, 3\)"),
        (lambda texts: np.zeros((len(texts) - 1, 3)), r"vectors of shape \(7, 3\) for 8 texts"),
    ],
)
def test_refuses_vectors_that_cannot_be_right(source, tmp_path, made, said):
    encoder = CountingEncoder()
    encoder.encode = lambda texts, kind: made(texts)
    with pytest.raises(ModelError, match=said):
        vectors(encoder, source, "document", cache=tmp_path)
    assert not any(b"\1" in path.read_bytes() for path in tmp_path.glob("*/done"))


def test_refuses_a_store_that_was_changed(source, tmp_path):
    vectors(CountingEncoder(), source, "document", cache=tmp_path)
    folder = stores(tmp_path)[0]
    (folder / "done").write_bytes(b"\1")
    with pytest.raises(StoreError, match="Delete the folder"):
        vectors(CountingEncoder(), source, "document", cache=tmp_path)
    (folder / "vectors.npy").write_bytes(b"")
    with pytest.raises(StoreError, match="Delete the folder"):
        vectors(CountingEncoder(), source, "document", cache=tmp_path)


def test_an_encoder_without_version_leaves_nothing_behind(source, tmp_path):
    counting = CountingEncoder()
    encoder = CallableEncoder(lambda texts: counting.encode(texts, "document"), name="mine", dim=3)
    for times in (1, 2):
        got = vectors(encoder, source, "document", cache=tmp_path)
        np.testing.assert_array_equal(got, expected(source))
        assert not got.flags.writeable
        assert counting.encoded == 50 * times
    assert not list(tmp_path.iterdir())


def test_sides_without_rows(texts, tmp_path):
    assert vectors(CountingEncoder(), texts([]), "query", cache=tmp_path).shape == (0, 3)
    none = np.zeros(0, np.int32)
    assert vectors(CountingEncoder(), texts(["a"]), "query", cache=tmp_path, rows=none).shape == (0, 3)
    free = CallableEncoder(lambda texts: np.ones((len(texts), 3)))
    assert vectors(free, texts([]), "query", cache=tmp_path).shape == (0, 3)


def test_finished_vectors_pass_through(source, tmp_path):
    given = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    np.save(tmp_path / "corpus.npy", given)
    encoder = Precomputed.open(tmp_path)
    assert encoder.dim == 4
    np.testing.assert_array_equal(vectors(encoder, source, "document", cache=tmp_path / "cache"), given)
    rows = np.array([7, 3], np.int32)
    np.testing.assert_array_equal(vectors(encoder, source, "document", cache=tmp_path, rows=rows), given[rows])
    with pytest.raises(DataError, match="there are no query vectors"):
        vectors(encoder, source, "query", cache=tmp_path)
    with pytest.raises(ModelError, match="cannot encode"):
        encoder.encode(["a"], "query")


def test_finished_vectors_of_other_rows_are_refused(texts, tmp_path):
    encoder = Precomputed(corpus=np.ones((3, 2), np.float32))
    with pytest.raises(DataError, match="3 document vectors for 2 documents"):
        vectors(encoder, texts(["a", "b"]), "document", cache=tmp_path)


def test_finished_vectors_are_told_apart_by_their_bytes():
    one, other = np.ones((3, 2), np.float32), np.ones((3, 2), np.float32)
    other[1, 1] = np.nextafter(np.float32(1), np.float32(2))
    first = Precomputed(one, one).fingerprint("query")
    assert first == Precomputed(one.copy(), other).fingerprint("query")
    assert first != Precomputed(other).fingerprint("query")
    assert first != Precomputed(one.reshape(2, 3)).fingerprint("query")


@pytest.mark.parametrize(
    ("arrays", "error", "said"),
    [
        ({}, DataError, "no vectors"),
        ({"queries": np.ones(3)}, DataError, r"shape \(3,\)"),
        ({"queries": np.ones((2, 2), int)}, DataError, "int64"),
        ({"queries": np.ones((2, 2)), "corpus": np.ones((2, 3))}, DataError, "2 and 3 dimensions"),
        ({"corpus": np.array([[1.0, 2], [3, np.inf]])}, ModelError, "document vector 1 is NaN or infinite"),
        ({"corpus": np.array([[1e300, 2]])}, ModelError, "document vector 0"),
    ],
)
def test_finished_vectors_that_cannot_be_right(arrays, error, said):
    with pytest.raises(error, match=said), np.errstate(over="ignore"):
        Precomputed(**arrays)


def test_folders_without_vectors(tmp_path):
    with pytest.raises(DataError, match=r"neither queries\.npy nor corpus\.npy"):
        Precomputed.open(tmp_path / "nowhere")
    (tmp_path / "corpus.npy").write_text("not numpy")
    with pytest.raises(DataError, match="is no numeric array"):
        Precomputed.open(tmp_path)
    np.save(tmp_path / "corpus.npy", np.array([{}], object))
    with pytest.raises(DataError, match="is no numeric array"):
        Precomputed.open(tmp_path)


def test_functions_with_and_without_kind():
    plain = CallableEncoder(lambda texts: [[1.0, 2.0] for _ in texts], version="1")
    assert plain.encode(["a", "b"], "query").tolist() == [[1, 2], [1, 2]]
    assert plain.dim == 2
    assert plain.fingerprint("query") == plain.fingerprint("document")
    assert plain.encode([], "query").shape == (0, 2)

    def by_kind(texts, kind):
        return np.full((len(texts), 1), 1 if kind == "query" else 2)

    def batched(texts, batch_size=3):
        return np.full((len(texts), 1), batch_size)

    encoder = CallableEncoder(by_kind, version="1")
    assert encoder.name == "by_kind"
    assert encoder.encode(["a"], "query").tolist() == [[1]]
    assert encoder.encode(["a"], "document").tolist() == [[2]]
    assert encoder.fingerprint("query") != encoder.fingerprint("document")
    assert CallableEncoder(batched).encode(["a"], "query").tolist() == [[3]]


def test_a_function_is_only_known_by_its_version():
    def fn(texts):
        return np.ones((len(texts), 1))

    free = CallableEncoder(fn)
    assert free.fingerprint("query") != free.fingerprint("query")
    one, two = CallableEncoder(fn, version="1"), CallableEncoder(fn, version="2")
    assert one.fingerprint("query") == CallableEncoder(fn, version="1").fingerprint("query")
    assert one.fingerprint("query") != two.fingerprint("query")
    with pytest.raises(ModelError, match="expected"):
        CallableEncoder(lambda texts: np.ones(3)).encode(["a"], "query")
