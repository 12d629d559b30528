"""The quick scan gives the bytes of the plain search, whatever its form, tiles, threads and memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("numba")

import torch

from foils.adapters import exact, scan, scan_codes, scan_device, scores
from foils.adapters.exact import ExactIndex, search
from foils.adapters.scan_codes import Integers, Marks, Packed, Singles, best_form
from foils.adapters.scan_products import supported
from foils.adapters.scores import pair_scores
from searching import same, slow_search, unit

FORMS = [Integers(), Singles(), *([Packed()] if supported() else [])]


@pytest.fixture(scope="module", params=FORMS, ids=lambda form: type(form).__name__)
def quick(request):
    """Search with small tiles by this form only; returns how many queries were left to the plain search, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "QUERIES", 8)
        patch.setattr(scan, "TILE", 32)
        patch.setattr(scan, "_FINISH", 16)
        patch.setattr(scan, "_FEWEST", 4)
        patch.setattr(scan, "_ENCODE", 50)

        def searched(queries, docs, k, memory=1 << 20, room=2048):
            patch.setattr(scan, "_ROOM", room)
            scanner = scan.Scanner(docs, request.param, memory)
            queries = np.ascontiguousarray(queries, np.float32)
            rows, found = np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.float32)
            left = scanner.search(queries, lambda q, d: pair_scores(queries, docs, q, d), rows, found)
            plain = search(queries, docs, k)
            rows[left], found[left] = plain[0][left], plain[1][left]
            return rows, found, int(left.sum())

        yield searched


def clustered(rng, n, dim, centres):
    return unit(centres[rng.integers(0, len(centres), n)] + 0.7 * rng.standard_normal((n, dim)))


@pytest.mark.parametrize(
    ("n", "dim", "k"), [(1500, 48, 1), (1500, 48, 20), (900, 130, 50), (400, 7, 100), (33, 16, 33)]
)
def test_equals_the_plain_search(quick, n, dim, k):
    rng = np.random.default_rng(n)
    centres = rng.standard_normal((30, dim))
    docs, queries = clustered(rng, n, dim, centres), clustered(rng, 50, dim, centres)
    rows, found, left = quick(queries, docs, k)
    assert left <= 2
    assert same((rows, found), slow_search(queries, docs, k))


@given(
    st.integers(1, 200),
    st.integers(1, 20),
    st.integers(2, 20),
    st.integers(1, 60),
    st.sampled_from([16, 64, 2048]),
    st.sampled_from(["ties", "sizes", "shifted", "near"]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=150, deadline=None)
def test_hard_cases_equal_the_slow_search(quick, n, q, dim, k, room, kind, seed):
    rng = np.random.default_rng(seed)
    k = min(k, n)
    docs, queries = rng.standard_normal((n, dim)), rng.standard_normal((q, dim))
    if kind == "ties":
        docs, queries = rng.integers(-2, 3, (n, dim)), rng.integers(-2, 3, (q, dim))
    elif kind == "sizes":
        docs, queries = docs * 10.0 ** rng.integers(-15, 15, (n, 1)), queries * 10.0 ** rng.integers(-15, 15, (q, 1))
    elif kind == "shifted":
        docs, queries = docs * 1e-3 + 5, queries - 3
    elif kind == "near":
        docs = queries[rng.integers(0, q, n)] * (1 + rng.integers(-3, 4, (n, 1)) * 1e-7)
    docs, queries = docs.astype(np.float32), queries.astype(np.float32)
    rows, found, _ = quick(queries, docs, k, room=room)
    assert same((rows, found), slow_search(queries, docs, k))


def marked(form, queries, docs, scale, least):
    """Products and marks of a block and a tile, with bounds that are the scaled products themselves."""
    out = Marks.of(len(queries), len(scale), form)
    out.reach[:], out.least[:], out.least[: len(queries)] = 0, np.inf, least
    form.mark(form.ready(queries), docs, scale, np.zeros(len(scale) // 64, np.float32), out)
    bits = np.unpackbits(out.marks.view(np.uint8), axis=1, bitorder="little").astype(bool)
    return out.products[: len(queries)], bits[: len(queries)]


@given(
    st.sampled_from(FORMS),
    st.integers(1, 20),
    st.integers(1, 4),
    st.integers(2, 150),
    st.floats(-2, 2),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_marks_are_what_reaches_the_least_and_products_theirs(form, q, panels, dim, least, seed):
    rng = np.random.default_rng(seed)
    queries, codes = rng.integers(-127, 128, (q, dim)), rng.integers(-127, 128, (panels * 64, dim))
    queries[0], codes[0], codes[-1] = 127, 127, -127
    products = queries @ codes.T
    scale = rng.uniform(0.5, 2, panels * 64).astype(np.float32)
    bounds = products.astype(np.float32) * scale
    least = np.full(q, least * np.sqrt(dim) * 73**2, np.float32)
    least[rng.integers(q)] = rng.choice([-np.inf, np.inf])
    kind = np.int8 if form.products is np.int32 else np.float32
    room = form.room(2, panels * 64, dim)
    order = rng.permutation(panels * 64)
    form.place(codes[order].astype(kind), np.ones(len(order), np.int64), order, room)
    found, bits = marked(form, queries.astype(kind), room[1], scale, least)
    assert np.array_equal(bits, bounds >= least[:, None])
    for row, line, mark in zip(found, products, bits, strict=True):
        assert np.array_equal(row[: mark.sum()], line[mark])


@given(
    st.sampled_from(FORMS), st.integers(2, 300), st.integers(-18, 18), st.integers(-18, 18), st.integers(0, 2**32 - 1)
)
@settings(max_examples=100, deadline=None)
def test_bounds_hold_for_every_pair(form, dim, left, right, seed):
    """With exact arithmetic in place of the scan's: the true product lies within the margin."""
    rng = np.random.default_rng(seed)
    docs = ((rng.standard_normal((20, dim)) + rng.integers(0, 3)) * 10.0**left).astype(np.float32)
    queries = (rng.standard_normal((6, dim)) ** 3 * 10.0**right).astype(np.float32)
    scanner = scan.Scanner(docs, form, 1 << 20)
    coded = form.encode(queries, np.zeros(dim, np.float32))
    with scan._threads() as spread:
        documents = scanner._docs(0, 20, spread)
    scale, reach, error, along, slack = scanner._query_facts(queries, coded).astype(np.float64).T
    facts = documents.facts[0]
    products = marked(form, coded.codes, documents.codes[0], facts[0], np.full(6, -np.inf))[0][:, :20]
    facts = facts[:, :20]
    value = scale[:, None] * facts[0].astype(np.float64) * products + along[:, None]
    margin = reach[:, None] * facts[1] + error[:, None] * facts[2] + slack[:, None]
    assert (np.abs(queries.astype(np.float64) @ docs.T.astype(np.float64) - value) <= margin).all()


def test_integers_reconstruct_to_half_a_step():
    vectors = np.random.default_rng(0).standard_normal((40, 33)).astype(np.float32)
    vectors[3], vectors[4] = 0, 1e-33
    centre = np.full(33, 0.25, np.float32)
    codes = Integers().encode(vectors, centre)
    scale = codes.facts[0, :, None].astype(np.float64)
    error = vectors - centre.astype(np.float64) - scale * codes.codes
    assert (np.abs(error) <= scale * 0.5001 + 1e-32).all()
    assert (codes.facts[1] >= np.linalg.norm(error, axis=1)).all()
    assert (codes.facts[2] >= np.linalg.norm(vectors - centre.astype(np.float64), axis=1)).all()


def test_an_estimate_that_is_too_high_is_found_out(quick):
    """The tiles sample every m-th document: a collection with that very period deceives them."""
    rng = np.random.default_rng(5)
    docs, queries = unit(rng.standard_normal((32 * 64, 16))), unit(rng.standard_normal((20, 16)))
    docs[::64] = queries[0] + 0.01 * rng.standard_normal((32, 16))  # all near ones in the first tile
    rows, found, _ = quick(np.concatenate([queries, queries[:1]]), docs, 40)
    assert same((rows, found), slow_search(np.concatenate([queries, queries[:1]]), docs, 40))


def test_duplicates_and_zero_vectors(quick):
    rng = np.random.default_rng(6)
    docs, queries = unit(rng.standard_normal((1200, 24))), unit(rng.standard_normal((12, 24)))
    docs[100:900] = docs[7]
    docs[950:960] = 0
    queries[0], queries[1] = docs[7], 0
    rows, found, left = quick(queries, docs, 20, room=128)
    assert left >= 1  # the zero query
    assert same((rows, found), slow_search(queries, docs, 20))


@pytest.mark.parametrize("memory", [1 << 12, 1 << 16, 1 << 18, 1 << 24])
@pytest.mark.parametrize("threads", [1, 3])
def test_memory_and_threads_change_nothing(quick, memory, threads):
    rng = np.random.default_rng(7)
    docs, queries = unit(rng.standard_normal((2000, 24))), unit(rng.standard_normal((60, 24)))
    docs[500:520] = docs[0]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert same(quick(queries, docs, 25, memory=memory)[:2], slow_search(queries, docs, 25))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_memory_mapped(quick, tmp_path, dtype):
    rng = np.random.default_rng(8)
    np.save(tmp_path / "docs.npy", rng.standard_normal((700, 20)).astype(dtype))
    mapped = np.load(tmp_path / "docs.npy", mmap_mode="r")
    queries = rng.standard_normal((9, 20)).astype(dtype)
    wanted = slow_search(queries.astype(np.float32), np.asarray(mapped).astype(np.float32), 7)
    assert same(quick(queries, mapped, 7)[:2], wanted)


def test_the_index_takes_the_scan_where_it_pays(monkeypatch):
    rng = np.random.default_rng(9)
    docs, queries = unit(rng.standard_normal((3000, 24))), unit(rng.standard_normal((40, 24)))
    plain = search(queries, docs, 30)
    monkeypatch.setattr(exact, "_WARM", 0)
    index = ExactIndex(docs)
    assert same(index.search(queries, 30), plain)
    assert index._scanner is not None
    assert index._scanner._stored == 0
    assert same(index.search(queries, 30), plain)  # with the codes that were kept
    assert same(index.search(queries[:0], 30), [part[:0] for part in plain])
    bad = queries.copy()
    bad[3, 3] = np.nan
    with pytest.raises(exact.ModelError, match="query vectors"):
        index.search(bad, 30)
    monkeypatch.setattr(scan, "available", lambda: False)
    index = ExactIndex(docs)
    assert same(index.search(queries, 30), plain)
    assert index._scanner is None


def test_blocks_count_together_only_while_the_codes_are_kept(monkeypatch):
    rng = np.random.default_rng(11)
    docs, queries = unit(rng.standard_normal((2000, 24))), unit(rng.standard_normal((30, 24)))
    monkeypatch.setattr(exact, "_WARM", 100 * docs.size)
    monkeypatch.setattr(exact, "_COLD", 100 * docs.size)
    index = ExactIndex(docs)
    for scanned in (False, False, False, True):
        index.search(queries, 10)
        assert (index._scanner is not None) is scanned
    for memory, scanned in ((exact.MEMORY, True), (1 << 12, False)):
        index = ExactIndex(docs, memory=memory, expected=100)
        index.search(queries, 10)
        assert (index._scanner is not None) is scanned


def test_singles_are_not_used_when_torch_is_imprecise(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    monkeypatch.setattr(scan_codes, "_packs", lambda: False)
    assert isinstance(best_form(384), Singles)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert best_form(384) is None
    finally:
        torch.set_float32_matmul_precision(before)


@given(st.integers(1, 1100), st.integers(1, 60), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_compiled_scores_are_those_of_numpy(dim, pairs, half, seed):
    rng = np.random.default_rng(seed)
    queries, docs = rng.standard_normal((5, dim)), rng.standard_normal((9, dim)) * 10.0 ** rng.integers(-4, 4, (9, 1))
    queries, docs = queries.astype(np.float32), docs.astype(np.float16 if half else np.float32)
    q, d = rng.integers(0, 5, pairs), rng.integers(0, 9, pairs)
    both = np.empty((2, pairs), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        scores._plain_scores(queries, docs, q, d, both[0])
        scores._compiled_scores(queries, docs, q, d, both[1])
    assert both[0].tobytes() == both[1].tobytes()


@pytest.mark.parametrize("spare", [0, 64])
@pytest.mark.parametrize("kind", ["plain", "ties", "shifted"])
def test_the_device_gives_the_same_bytes(monkeypatch, spare, kind):
    monkeypatch.setattr(scan_device, "_TILE", 100)
    monkeypatch.setattr(scan_device, "_QUERIES", 7)
    monkeypatch.setattr(scan_device, "_ELEMENTS", 5000)
    monkeypatch.setattr(scan_device, "_SPARE", spare)
    monkeypatch.setattr(exact, "accelerator", lambda: "cuda" if torch.cuda.is_available() else "cpu")
    rng = np.random.default_rng(10)
    docs, queries = rng.standard_normal((1000, 200)), rng.standard_normal((30, 200))
    if kind == "ties":
        docs[100:300], queries[0] = docs[5], docs[5]
    elif kind == "shifted":
        docs, queries = docs * 1e-3 + 2, queries + 2
    docs, queries = docs.astype(np.float32), queries.astype(np.float32)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        for k in (1, 20, 60):
            plain = search(queries, docs, k)
            with monkeypatch.context() as patch:
                patch.setattr(exact, "_WARM", 0)
                assert same(search(queries, docs, k), plain)
    finally:
        torch.set_float32_matmul_precision(before)


@given(st.integers(1, 700), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_canonical_scores_on_a_device_are_those_of_numpy(dim, seed):
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((2, 20, dim)).astype(np.float32)
    wanted = pair_scores(left, right, np.arange(20), np.arange(20))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    got = scan_device.canonical(torch.from_numpy(left).to(device), torch.from_numpy(right).to(device))
    assert got.cpu().numpy().tobytes() == wanted.tobytes()
