"""Vectors of texts that stayed the same while a collection changed are copied, not encoded again."""

from __future__ import annotations

import numpy as np
import pytest

from foils.adapters import known_vectors
from foils.adapters import vectors as store
from foils.adapters.known_vectors import digests, runs
from foils.adapters.vectors import vectors


class Recording:
    """Vectors that tell their text; the last number tells how many texts the call had, as last bits may."""

    name, dim = "recording", 3

    def __init__(self, weights="w1", *, fails_after=None):
        self.weights, self.calls, self.fails_after = weights, [], fails_after

    @property
    def encoded(self):
        return [text for call in self.calls for text in call]

    def fingerprint(self, kind):
        return f"{self.weights}/{kind}"

    def encode(self, texts, kind):
        if self.fails_after is not None and len(self.calls) >= self.fails_after:
            raise KeyboardInterrupt
        self.calls.append(list(texts))
        return np.array([[len(text), sum(map(ord, text)), len(texts)] for text in texts], np.float32)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(store, "CHUNK", 8)
    monkeypatch.setattr(store, "_GROUP", 3)


BEFORE = [f"text {i} {'x' * (i % 7)}" for i in range(90)]


def right(found, texts):
    wanted = [[len(text), sum(map(ord, text))] for text in texts]
    np.testing.assert_array_equal(found[:, :2], np.array(wanted, np.float32))


@pytest.mark.parametrize(
    "after",
    [
        [*BEFORE, "new", "newer"],
        ["new", *BEFORE],
        BEFORE[:40] + BEFORE[41:],
        [text if i % 10 else f"edited {i}" for i, text in enumerate(BEFORE)],
        BEFORE[::-1],
        ["first", *BEFORE[50:], "twice", "twice", *BEFORE[3:9], *BEFORE[3:9]],
        BEFORE[:1],
        ["nothing", "stayed"],
    ],
    ids=["added", "shifted", "removed", "edited", "reversed", "much at once", "one left", "all new"],
)
def test_only_what_changed_is_encoded(texts, tmp_path, after):
    vectors(Recording(), texts(BEFORE), "document", cache=tmp_path)
    side, encoder, seen = texts(after), Recording(), []
    found = vectors(encoder, side, "document", cache=tmp_path, progress=lambda *at: seen.append(at))
    assert encoder.encoded == [text for text in after if text not in BEFORE]
    right(found, after)
    assert max(side.asked) <= 8
    assert seen[0] == (0, len(after))
    assert [at for at, _ in seen] == sorted(at for at, _ in seen)
    again = Recording()
    right(vectors(again, texts(after), "document", cache=tmp_path), after)
    assert again.calls == []


def test_what_is_new_is_encoded_together(texts, tmp_path):
    vectors(Recording(), texts(BEFORE), "document", cache=tmp_path)
    encoder = Recording()
    after = [text if i % 6 else f"edited {i}" for i, text in enumerate(BEFORE)]
    vectors(encoder, texts(after), "document", cache=tmp_path)
    assert [len(call) for call in encoder.calls] == [4, 4, 4, 3]  # 24 rows a group; not one call for each chunk of 8


def test_other_weights_sides_and_versions_are_not_known(texts, tmp_path):
    vectors(Recording("w1"), texts(BEFORE), "document", cache=tmp_path)
    for encoder, kind in ((Recording("w2"), "document"), (Recording("w1"), "query")):
        vectors(encoder, texts([*BEFORE, "new"]), kind, cache=tmp_path)
        assert len(encoder.encoded) == 91


def test_rows_of_a_side_and_other_caches_are_known(texts, tmp_path):
    side, encoder = texts(BEFORE), Recording()
    vectors(encoder, side, "query", cache=tmp_path / "one", rows=np.arange(20, 60, dtype=np.int32))
    rows = np.arange(0, 90, 2, dtype=np.int32)
    found = vectors(encoder, side, "query", cache=tmp_path / "two", rows=rows, also=(tmp_path / "one",))
    right(found, side.texts(rows))
    assert encoder.encoded[40:] == side.texts([row for row in rows if not 20 <= row < 60])
    vectors(encoder, side, "query", cache=tmp_path / "three", also=(tmp_path / "none",))
    assert len(encoder.calls[-1]) == 90 % 8


def test_the_chunks_of_a_folder_that_is_half_done_are_known(texts, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        vectors(Recording(fails_after=5), texts(BEFORE), "document", cache=tmp_path)
    encoder = Recording()
    right(vectors(encoder, texts(["new", *BEFORE]), "document", cache=tmp_path), ["new", *BEFORE])
    assert encoder.encoded == ["new", *BEFORE[40:]]


AFTER = [text if i % 3 else f"edited {i}" for i, text in enumerate(BEFORE)] + [f"new {i}" for i in range(20)]


@pytest.mark.parametrize("calls", range(7))
def test_cut_off_and_continued_is_uninterrupted(texts, tmp_path, calls):
    def prepared(name):
        vectors(Recording(), texts(BEFORE), "document", cache=tmp_path / name)
        return tmp_path / name

    whole = vectors(Recording(), texts(AFTER), "document", cache=prepared("whole"))
    folder = prepared("broken")
    with pytest.raises(KeyboardInterrupt):
        vectors(Recording(fails_after=calls), texts(AFTER), "document", cache=folder)
    rest = Recording()
    found = vectors(rest, texts(AFTER), "document", cache=folder)
    np.testing.assert_array_equal(found, whole)
    assert len(rest.encoded) <= 50 - 8 * max(0, calls - 3)


def test_gaps_that_another_process_has_filled_stay_filled(texts, tmp_path):
    vectors(Recording(), texts(BEFORE), "document", cache=tmp_path)
    whole = np.array(vectors(Recording(), texts(AFTER), "document", cache=tmp_path))
    done = next(path for path in tmp_path.glob("*/done") if path.stat().st_size == -(-len(AFTER) // 8))
    flags = done.read_bytes()
    done.write_bytes(bytes(len(flags)))  # as this process read it before the other one began
    with pytest.raises(KeyboardInterrupt):
        vectors(Recording(fails_after=0), texts(AFTER), "document", cache=tmp_path)
    np.testing.assert_array_equal(np.load(done.with_name("vectors.npy")), whole)


def test_folders_of_an_earlier_version_are_used_but_not_copied_from(texts, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        vectors(Recording(fails_after=5), texts(BEFORE), "document", cache=tmp_path)
    next(tmp_path.glob("*/texts.npy")).unlink()
    encoder = Recording()
    right(vectors(encoder, texts(BEFORE), "document", cache=tmp_path), BEFORE)
    assert encoder.encoded == BEFORE[40:]
    encoder = Recording()
    vectors(encoder, texts([*BEFORE, "new"]), "document", cache=tmp_path)
    assert len(encoder.encoded) == 91


@pytest.mark.parametrize("name", ["meta.json", "texts.npy", "vectors.npy", "done"])
def test_a_folder_that_cannot_be_read_is_left_alone(texts, tmp_path, name):
    vectors(Recording(), texts(BEFORE), "document", cache=tmp_path)
    (tmp_path / "stray.txt").write_text("not a folder of vectors")
    next(tmp_path.glob(f"*/{name}")).write_bytes(b"[]")
    right(vectors(Recording(), texts([*BEFORE, "new"]), "document", cache=tmp_path), [*BEFORE, "new"])


def test_equal_first_halves_of_digests_are_told_apart(texts, tmp_path, monkeypatch):
    def alike(found):
        made = digests(found)
        made[:, 0] = 7
        return made

    monkeypatch.setattr(store, "digests", alike)
    vectors(Recording(), texts(BEFORE), "document", cache=tmp_path)
    after = [*BEFORE[1:], "new"]
    right(vectors(Recording(), texts(after), "document", cache=tmp_path), after)


def test_memory_is_bounded_by_what_is_wanted(texts, tmp_path, monkeypatch):
    monkeypatch.setattr(known_vectors, "_FREE", 10)
    for part in (BEFORE[:60], BEFORE[60:75], BEFORE[75:80]):
        vectors(Recording(), texts(part), "document", cache=tmp_path)
    encoder = Recording()
    # 60 rows of the largest folder; then room is left for 90 + 10 - 60, so for the two others.
    right(vectors(encoder, texts(BEFORE), "document", cache=tmp_path), BEFORE)
    assert encoder.encoded == BEFORE[80:]
    encoder = Recording()
    few = [*BEFORE[62:66], "new"]
    # Now the largest has all 90; there is no room for another, and none is needed.
    right(vectors(encoder, texts(few), "document", cache=tmp_path), few)
    assert encoder.encoded == ["new"]


def test_of_several_folders_those_that_fit_are_looked_into(texts, tmp_path, monkeypatch):
    monkeypatch.setattr(known_vectors, "_FREE", 0)
    for part in (BEFORE[:60], BEFORE[60:75]):
        vectors(Recording(), texts(part), "document", cache=tmp_path)
    encoder = Recording()
    vectors(encoder, texts(BEFORE[55:65]), "document", cache=tmp_path)
    assert encoder.encoded == BEFORE[60:65]  # the second folder has more rows than are wanted


def test_digests_and_runs():
    made = digests(["a", "b", "a", "", "\ud800"])
    assert made.shape == (5, 2)
    assert (made[0] == made[2]).all()
    assert len(np.unique(made, axis=0)) == 4
    assert digests([]).shape == (0, 2)
    positions = np.array([2, 3, 4, 7, 9, 10])
    assert [(first, positions[part].tolist()) for first, part in runs(positions)] == [
        (2, [2, 3, 4]), (7, [7]), (9, [9, 10])
    ]  # fmt: skip
    assert list(runs(positions[:0])) == []
