from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from foils.adapters import ann
from foils.adapters.ann import INDEXES, Wanted, build, prepare, recall, sampled
from foils.adapters.ann_cells import Cells
from foils.adapters.ann_rescoring import longest, rescored
from foils.adapters.ann_settings import KINDS, Exact, IvfFlat
from foils.adapters.ann_text import parse
from foils.adapters.exact import ExactIndex, pair_scores, search
from foils.core.errors import MissingExtra, ModelError, SpecError, StoreError
from little import clustered, unit

pytest.importorskip("faiss")
KIND = pytest.mark.parametrize("kind", [pytest.param(k, marks=_m) if _m else k for k, _m in (
    *((k, None) for k in INDEXES if k != "scann"),
    ("scann", pytest.mark.skipif(sys.platform != "linux", reason="wheels for Linux only")),
)])  # fmt: skip
EXHAUSTIVE = {
    "hnsw": "hnsw(fetch=700, ef_search=700)",
    "ivf-flat": "ivf-flat(fetch=700, nlist=12, nprobe=12)",
    "ivf-pq": "ivf-pq(fetch=700, nlist=4, nprobe=4, nbits=5)",
    "scann": "scann(fetch=700, leaves=20, search=20, reorder=700)",
    "bits": "bits(fetch=700)",
    "lsh": "lsh(fetch=700, bits=64)",
}
# Little effort, so that documents are missed and the tests see how.
ROUGH = {
    "hnsw": "hnsw(m=4, ef_construction=8, ef_search=1)",
    "ivf-flat": "ivf-flat(nlist=20, nprobe=2)",
    "ivf-pq": "ivf-pq(nlist=8, nprobe=2, m=4, nbits=5)",
    "scann": "scann(leaves=20, search=2)",
    "bits": "bits(fetch=40)",
    "lsh": "lsh(fetch=40, bits=32)",
}


@pytest.fixture(scope="module")
def docs():
    vectors = clustered(700)
    vectors[300:308] = vectors[299]  # the same vector nine times
    return vectors


@pytest.fixture(scope="module")
def queries():
    return clustered(90, seed=1)


def made(kind, docs, depth=20, texts=ROUGH):
    return build(parse(texts[kind]).derive(len(docs), docs.shape[1], depth), docs)


def same(got, wanted):
    return got[0].tobytes() == wanted[0].tobytes() and got[1].tobytes() == wanted[1].tobytes()


@KIND
@pytest.mark.parametrize("k", [1, 30, 700, 900])
def test_an_exhaustive_search_is_exact_search(kind, k, docs, queries):
    assert same(made(kind, docs, texts=EXHAUSTIVE).search(queries, k), search(queries, docs, k))


@KIND
def test_results_are_canonical_ordered_and_never_repeat(kind, docs, queries):
    index = made(kind, docs)
    rows, scores = index.search(queries, 50)
    there = rows >= 0
    assert there.any(axis=1).all()
    assert (there.sum(axis=1) <= index.settings.fetch).all()
    assert (scores[~there] == -np.inf).all()
    query, place = np.nonzero(there)
    exact = pair_scores(queries, docs, query.astype(np.int32), rows[query, place])
    assert exact.tobytes() == scores[query, place].tobytes()
    for row, score in zip(rows, scores, strict=True):
        valid = row >= 0
        assert (np.flatnonzero(valid) == np.arange(valid.sum())).all()
        assert len(set(row[valid])) == valid.sum()
        assert list(zip(-score[valid], row[valid], strict=True)) == sorted(zip(-score[valid], row[valid], strict=True))


@KIND
@pytest.mark.parametrize("block", [1, 7])
def test_neither_the_batch_nor_k_shows(kind, block, docs, queries):
    index = made(kind, docs)
    rows, scores = index.search(queries, 25)
    parts = [index.search(queries[at : at + block], 25) for at in range(0, len(queries), block)]
    assert same((np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])), (rows, scores))
    shorter = index.search(queries, 9)
    assert same(shorter, (np.ascontiguousarray(rows[:, :9]), np.ascontiguousarray(scores[:, :9])))


@KIND
def test_a_second_build_is_the_same(kind, docs, queries):
    assert same(made(kind, docs).search(queries, 20), made(kind, docs).search(queries, 20))


@pytest.mark.slow
def test_threads_change_nothing():
    script = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1])\n"
        "from foils.adapters.ann import INDEXES, build; from foils.adapters.ann_text import parse\n"
        "from little import clustered\n"
        "docs, queries = clustered(5000, 32), clustered(200, 32, seed=1)\n"
        "for kind in INDEXES:\n"
        "    index = build(parse(kind).derive(5000, 32, 20), docs)\n"
        "    print(kind, hashlib.sha256(index.search(queries, 20)[0].tobytes()).hexdigest())\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", script, str(Path(__file__).parents[1])],
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True, text=True, check=True,
        ).stdout
        for threads in ("1", "2")
    ]  # fmt: skip
    assert outputs[0] == outputs[1]
    assert outputs[0].count("\n") == len(INDEXES)


@KIND
@pytest.mark.parametrize("n", [1, 2, 15, 17, 63, 64, 65])
def test_tiny_collections(kind, n, docs, queries):
    index = build(parse(kind).derive(n, 24, min(n, 5)), docs[:n])
    rows, _ = index.search(queries, 5)
    assert (rows[:, 0] >= 0).all()
    assert rows.max() < n
    assert ((rows >= 0).sum(axis=1) <= n).all()


@KIND
def test_an_empty_collection_finds_nothing(kind, queries):
    index = build(parse(kind).derive(0, 24, 0), np.zeros((0, 24), np.float32))
    rows, scores = index.search(queries, 3)
    assert (rows == -1).all()
    assert np.isneginf(scores).all()


@KIND
def test_saved_and_loaded_it_finds_the_same(kind, docs, queries, tmp_path):
    index = made(kind, docs)
    index.save(tmp_path)
    loaded = INDEXES[kind](index.settings, docs, tmp_path)
    assert same(loaded.search(queries, 20), index.search(queries, 20))
    (tmp_path / "copy").mkdir()
    loaded.save(tmp_path / "copy")
    (tmp_path / "rows.npy").unlink()
    copied = INDEXES[kind](index.settings, docs, tmp_path / "copy")
    assert same(copied.search(queries, 20), index.search(queries, 20))


@KIND
@pytest.mark.parametrize("through_disk", [False, True])
def test_rows_survive_saving_adding_replacing_and_removing(kind, through_disk, docs, queries, tmp_path):
    index = made(kind, docs[:600], texts=EXHAUSTIVE)
    more = {"fetch": 700, "reorder": 700} if kind == "scann" else {"fetch": 700}
    index.searching_with(replace(index.settings, **more))
    if through_disk:
        index.save(tmp_path)
        index = INDEXES[kind](index.settings, docs[:600], tmp_path)
    now = docs.copy()
    replaced, removed = np.array([5, 17, 599]), np.array([0, 40, 41, 300])
    now[replaced] = -now[replaced]
    done = index.update(now, changed=np.concatenate([replaced, np.arange(600, 700)]), removed=removed)
    assert done == {"ivf-flat": "re-added", "bits": "re-added", "lsh": "re-added", "scann": "rebalanced"}.get(
        kind, "rebuilt"
    )
    rows, scores = index.search(np.concatenate([now[replaced], docs[removed], queries]), 700)
    assert not np.isin(rows, removed).any()
    assert rows[:3, 0].tolist() == replaced.tolist()
    stay = np.setdiff1d(np.arange(700), removed)
    exact = search(np.concatenate([now[replaced], docs[removed], queries]), now[stay], 700)
    assert same((rows, scores), (np.where(exact[0] >= 0, stay[exact[0]], -1).astype(np.int32), exact[1]))
    assert index.update(now) == "nothing"
    # a row that was removed can come back, and what was changed can be saved again
    index.update(now, changed=[40])
    (tmp_path / "again").mkdir()
    index.save(tmp_path / "again")
    again = INDEXES[kind](index.settings, now, tmp_path / "again")
    assert again.search(now[[40]], 1)[0].tolist() == [[40]]
    assert same(again.search(queries, 50), index.search(queries, 50))


@KIND
def test_any_order_of_updates_ends_where_exact_search_does(kind, docs, queries):
    rng = np.random.default_rng(8)
    index = made(kind, docs[:300], texts=EXHAUSTIVE)
    more = {"fetch": 700, "reorder": 700} if kind == "scann" else {"fetch": 700}
    index.searching_with(replace(index.settings, **more))
    now, live = docs[:300].copy(), set(range(300))
    for n in (300, 360, 365, 500, 500):
        now = np.concatenate([now, docs[len(now) : n]])
        changed = np.unique(np.concatenate([rng.choice(n, 20), np.arange(len(index.docs), n)]))
        removed = rng.choice(n, 30)
        now[changed] = now[changed][:, ::-1]
        index.update(now, changed=changed, removed=removed)
        live = (live - set(removed.tolist())) | set(changed.tolist())
        assert index.rows.tolist() == sorted(live)
        rows = np.array(sorted(live))
        exact = search(queries, now[rows], 40)
        assert same(index.search(queries, 40), (rows[exact[0]].astype(np.int32), exact[1]))


@pytest.mark.parametrize("kind", ["ivf-flat", "scann", "bits"])
def test_after_a_small_drift_an_updated_index_is_as_good_as_a_new_one(kind):
    pytest.importorskip(str(KINDS[kind].library))
    old, queries = clustered(3000, 32), clustered(100, 32, seed=2)
    noise = np.random.default_rng(0).standard_normal(old.shape) * 0.02
    now = unit(old + noise)
    assert 0.98 < (old * now).sum(axis=1).mean() < 0.998
    truth, settings = search(queries, now, 20)[1], parse(kind).derive(3000, 32, 20)
    index, fresh = build(settings, old), build(settings, now)
    index.update(now, changed=np.arange(3000))
    assert recall(index, queries, truth) > recall(fresh, queries, truth) - 0.03


def test_updates_refuse_rows_that_are_not_there(docs):
    index = made("ivf-flat", docs)
    with pytest.raises(IndexError, match="700"):
        index.update(docs, changed=[700])
    with pytest.raises(ValueError, match="at least"):
        index.update(docs[:5])


@pytest.mark.parametrize(
    ("kind", "knob", "values"),
    [
        ("ivf-flat", "nprobe", [1, 4, 16, 60]),
        ("ivf-pq", "fetch", [20, 80, 320, 3000]),
        ("hnsw", "ef_search", [20, 80, 320]),
        ("scann", "search", [1, 4, 16, 50]),
        ("bits", "fetch", [20, 80, 320, 3000]),
        ("lsh", "fetch", [20, 80, 320, 3000]),
    ],
)
def test_more_effort_finds_no_less(kind, knob, values):
    docs, queries = clustered(3000), clustered(80, seed=1)
    truth = search(queries, docs, 20)[1]
    settings = parse(kind).derive(3000, 24, 20)
    index = build(replace(settings, fetch=20), docs)
    reached = []
    for value in values:
        index.searching_with(replace(index.settings, **{knob: value}))
        reached.append(recall(index, queries, truth))
    assert all(b >= a - 0.01 for a, b in pairwise(reached)), reached
    assert reached[-1] > reached[0]


def test_recall_counts_what_exact_search_finds(docs, queries):
    rows, truth = search(queries, docs, 10)
    assert recall(ExactIndex(docs), queries, truth) == 1.0
    index = made("ivf-flat", docs)
    found = index.search(queries, 10)[0]
    slow = np.mean([len(set(f) & set(t)) / 10 for f, t in zip(found.tolist(), rows.tolist(), strict=True)])
    assert recall(index, queries, truth) == pytest.approx(slow)
    assert recall(index, queries, np.full((90, 10), -np.inf, np.float32)) == 1.0
    alike = np.ones((400, 8), np.float32)  # whichever of equal documents is found
    assert recall(made("bits", alike), alike[:3], search(alike[:3], alike, 10)[1]) == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])  # the latter is gathered, not read in place
def test_rescoring_is_a_full_sort_of_the_candidates(docs, queries, dtype, tmp_path):
    np.save(tmp_path / "docs.npy", docs.astype(dtype))
    docs = np.load(tmp_path / "docs.npy", mmap_mode="r")
    rng = np.random.default_rng(3)
    rows = np.stack([rng.permutation(700)[:300] for _ in queries]).astype(np.int64)
    rows[rng.random(rows.shape) < 0.2] = -1
    rows[5] = -1
    for k in (1, 10, 299, 400):
        got = rescored(queries, docs, rows, k, longest(docs))
        for i, row in enumerate(rows):
            mine = np.unique(row[row >= 0]).astype(np.int32)
            scores = pair_scores(queries, docs, np.full(len(mine), i, np.int32), mine)
            order = np.lexsort((mine, -scores))[:k]
            assert got[0][i, : len(order)].tolist() == mine[order].tolist()
            assert got[1][i, : len(order)].tolist() == scores[order].tolist()
            assert (got[0][i, len(order) :] == -1).all()


@pytest.mark.parametrize("nprobe", [1, 5, 39, 40])
def test_cells_are_those_of_exact_search_and_the_batch_does_not_show(nprobe, queries):
    centroids = clustered(40)
    centroids[20:] = centroids[:20]  # each twice, so that the last one is often in doubt
    asked = np.concatenate([queries, np.zeros((1, 24), np.float32)])
    cells, products = Cells(centroids).nearest(asked, nprobe)
    assert cells.tolist() == np.sort(search(asked, centroids, nprobe)[0], axis=1).tolist()
    exact = (asked[:, None].astype(np.float64) * centroids[cells]).sum(axis=2)
    assert np.abs(products - exact).max() < 1e-6
    one = [Cells(centroids).nearest(asked[i : i + 1], nprobe)[0] for i in range(len(asked))]
    assert np.array_equal(np.concatenate(one), cells)


# preparing: cache, measurement, warnings


def wanted(text, cache, k=10, vectors="v1"):
    return Wanted(parse(text), k, k + 2, vectors, cache)


def test_open_efforts_are_raised_until_the_recall_suffices(tmp_path, caplog):
    docs, queries = clustered(4000), clustered(100, seed=2)
    low = prepare(docs, queries, wanted("ivf-flat(nlist=60, nprobe=1)", tmp_path))
    assert low.record["recall_at_k"] < 0.8
    assert "wanted 0.95" in caplog.text
    caplog.clear()
    tuned = prepare(docs, queries, wanted("ivf-flat(nlist=60)", tmp_path))
    assert tuned.record["recall_at_k"] >= 0.95
    assert not caplog.text
    assert tuned.record["parameters"]["nprobe"] > 1
    assert (tuned.record["k"], tuned.record["sample"], tuned.record["kind"]) == (10, 100, "ivf-flat")
    assert tuned.record["library"].startswith("faiss")
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1  # efforts are no part of the built index
    everything = prepare(docs, queries, wanted("ivf-flat(nlist=60, recall=1)", tmp_path))
    assert everything.record["recall_at_k"] == 1.0


@KIND
def test_a_second_run_takes_index_and_measurement_from_the_cache(kind, docs, queries, tmp_path, monkeypatch, caplog):
    first = prepare(docs, queries, wanted(ROUGH[kind].replace("(", "(recall=1, "), tmp_path))
    warned = caplog.text
    monkeypatch.setattr(INDEXES[kind], "_build", None)
    monkeypatch.setattr(ann, "ExactIndex", None)
    caplog.clear()
    second = prepare(docs, queries, wanted(ROUGH[kind].replace("(", "(recall=1, "), tmp_path))
    assert second.record == first.record
    assert json.loads(json.dumps(second.record)) == second.record
    assert same(second.index.search(queries, 12), first.index.search(queries, 12))
    assert caplog.text.count("what it misses".capitalize()) == warned.count("what it misses".capitalize())


def test_other_vectors_parameters_or_versions_are_other_indexes(docs, queries, tmp_path, monkeypatch):
    def folders():
        return len([path for path in tmp_path.iterdir() if path.is_dir()])

    prepare(docs, queries, wanted("ivf-flat", tmp_path))
    prepare(docs, queries, wanted("ivf-flat", tmp_path))
    assert folders() == 1
    prepare(docs, queries, wanted("ivf-flat", tmp_path, vectors="v2"))
    assert folders() == 2
    prepare(docs, queries, wanted("ivf-flat(nlist=5)", tmp_path))
    assert folders() == 3
    monkeypatch.setattr(ann, "library_version", lambda settings: "faiss-cpu 99")
    prepare(docs, queries, wanted("ivf-flat", tmp_path))
    assert folders() == 4
    prepare(docs, queries, wanted("ivf-flat", tmp_path, vectors=None))
    assert folders() == 4


def test_vectors_of_unlike_lengths_are_warned_of(queries, tmp_path, caplog):
    docs = clustered(2000) * np.random.default_rng(0).uniform(0.2, 3, 2000).astype(np.float32)[:, None]
    with caplog.at_level(logging.WARNING):
        prepare(docs, queries, wanted("hnsw", tmp_path))
    assert "normalised" in caplog.text


def test_a_damaged_cache_names_the_folder(docs, queries, tmp_path):
    prepare(docs, queries, wanted("ivf-flat", tmp_path))
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    (folder / "index.faiss").write_bytes(b"nonsense")
    with pytest.raises(StoreError, match="Delete the folder"):
        prepare(docs, queries, wanted("ivf-flat", tmp_path))


def test_auto_is_exact_up_to_its_bound(docs, queries, tmp_path):
    assert prepare(docs, queries, wanted("auto", tmp_path)).record is None
    found = prepare(docs, queries, wanted("auto(exact_up_to=500)", tmp_path))
    assert found.record["kind"] == "ivf-flat"
    many = clustered(4000)
    tuned = prepare(many, queries, wanted("auto(exact_up_to=500, recall=0.999)", tmp_path, vectors="v3"))
    assert tuned.record["parameters"]["nprobe"] > IvfFlat().derive(4000, 24, 12).nprobe
    assert tuned.record["recall_at_k"] >= 0.999


def test_the_sample_depends_on_keys_alone():
    keys = np.random.default_rng(0).integers(0, 2**63, 1000).astype(np.uint64)
    places = sampled(keys)
    assert len(places) == 200
    order = np.random.default_rng(1).permutation(1000)
    assert set(keys[order][sampled(keys[order])]) == set(keys[places])


@pytest.mark.parametrize(("kind", "module"), [("ivf-flat", "faiss"), ("scann", "scann")])
def test_a_missing_library_is_named_with_its_extra(kind, module, docs, queries, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if "Editable" not in repr(finder)])
    with pytest.raises(MissingExtra, match=rf"foils\[{module}\]"):
        prepare(docs, queries, wanted(kind, tmp_path))


def test_foils_does_not_import_the_libraries():
    code = "import sys, foils.stages, foils.mine; print([m for m in ('faiss', 'scann', 'torch') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_bad_queries_are_refused(docs, queries):
    index = made("ivf-flat", docs)
    with pytest.raises(ValueError, match="expected"):
        index.search(queries[:, :5], 3)
    with pytest.raises(ValueError, match="at least 1"):
        index.search(queries, 0)
    with pytest.raises(ModelError, match="NaN"):
        index.search(np.full((1, 24), np.nan, np.float32), 1)
    with pytest.raises(ValueError, match="another index"):
        index.searching_with(replace(index.settings, nlist=3))


# texts


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_read_back(kind):
    settings = parse(kind)
    assert settings.kind == kind == str(settings)
    for n in (1, 300, 10**6):
        derived = settings.derive(n, 384, min(n, 100))
        assert isinstance(derived, Exact) or parse(str(derived)) == derived
        assert derived.derive(n, 384, min(n, 100)) == derived


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ivf-flt", "Did you mean 'ivf-flat'"),
        ("annoy", "There are: exact, auto, hnsw"),
        ("", "is no index"),
        ("ivf-flat(3)", "by name. It takes recall, fetch, nlist, nprobe"),
        ("ivf-flat(np=3)", "no parameter 'np'. It takes recall"),
        ("ivf-flat(nprobe=-1)", "nprobe must be at least 0"),
        ("hnsw(m=1.5)", "m must be a whole number"),
        ("hnsw(m=True)", "m must be a whole number"),
        ("hnsw(m=1)", "m must be at least 2 and at most 512"),
        ("bits(recall=2)", "recall must be at least 0 and at most 1"),
        ("bits(recall='x')", "recall must be a number"),
        ("ivf-flat(nprobe=x)", "cannot read this"),
        ("ivf-flat(nprobe=__import__('os'))", "cannot read this"),
        ("ivf-flat(nprobe=1)(nlist=2)", "by name"),
        ("exact(k=1)", "It takes none"),
    ],
)
def test_what_cannot_be_an_index_is_explained(text, said):
    with pytest.raises(SpecError) as error:
        parse(text)
    assert said in str(error.value)


def test_what_does_not_fit_the_collection_is_explained():
    with pytest.raises(SpecError, match="divisors of the dimension 24: 1, 2, 3, 4, 6"):
        parse("ivf-pq(m=7)").derive(1000, 24, 10)
    with pytest.raises(SpecError, match="fetch must be at least 10"):
        parse("bits(fetch=3)").derive(1000, 24, 10)
    assert parse("ivf-flat(nlist=5000, nprobe=9999)").derive(100, 24, 10) == IvfFlat(fetch=26, nlist=100, nprobe=100)
