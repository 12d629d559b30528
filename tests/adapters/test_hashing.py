import numpy as np
import pytest

from foils.adapters import hashing
from foils.adapters.ann import build, recall
from foils.adapters.ann_text import parse
from foils.adapters.exact import search
from little import clustered, unit

pytest.importorskip("faiss")


def hamming_order(codes, query):
    distance = np.array([bin(int.from_bytes((code ^ query).tobytes(), "little")).count("1") for code in codes])
    return np.lexsort((np.arange(len(codes)), distance))


@pytest.mark.parametrize("counters", [1, 1 << 28])
@pytest.mark.parametrize("text", ["bits(fetch=50)", "lsh(fetch=50, bits=20)"])
def test_candidates_are_the_nearest_codes_and_ties_go_to_the_smaller_row(text, counters, monkeypatch):
    monkeypatch.setattr(hashing, "_COUNTERS", counters)
    docs, queries = clustered(500), clustered(12, seed=3)
    index = build(parse(text).derive(500, 24, 10), docs)
    proposed = index._propose(queries, 50)
    codes = index._codes
    for query, rows in zip(index._hash(queries), proposed, strict=True):
        assert set(rows.tolist()) == set(hamming_order(codes, query)[:50].tolist())


def test_bits_are_signs_of_mean_centred_vectors():
    docs = clustered(300, dim=21) + np.float32(0.3)
    index = build(parse("bits").derive(300, 21, 10), docs)
    expected = np.packbits(docs > docs.astype(np.float64).mean(axis=0), axis=1)
    assert np.array_equal(index._codes, expected)
    assert index._codes.shape == (300, 3)


def test_centring_matters_where_vectors_share_a_direction():
    rng = np.random.default_rng(0)
    shared = unit(rng.standard_normal((4000, 32)) + 4 * np.ones(32))
    queries = unit(rng.standard_normal((50, 32)) + 4 * np.ones(32))
    truth = search(queries, shared, 10)[1]
    centred = build(parse("bits(fetch=200)").derive(4000, 32, 10), shared)
    plain = build(parse("bits(fetch=200)").derive(4000, 32, 10), shared)
    plain._learned = np.zeros(32)
    plain._codes = plain._hashed(plain.rows)
    plain._fill()
    assert recall(centred, queries, truth) > recall(plain, queries, truth) + 0.1


def test_hyperplane_bits_agree_with_probability_one_minus_angle_over_pi():
    rng = np.random.default_rng(1)
    a = unit(rng.standard_normal((40, 24)))
    b = unit(a + rng.uniform(0, 2, (40, 1)) * rng.standard_normal((40, 24)))
    index = build(parse("lsh(bits=8192)").derive(40, 24, 5), a)
    agree = (np.unpackbits(index._hash(a), axis=1) == np.unpackbits(index._hash(b), axis=1)).mean(axis=1)
    angle = np.arccos(np.clip((a * b).sum(axis=1), -1, 1))
    expected = 1 - angle / np.pi
    assert np.abs(agree - expected).max() < 5 * np.sqrt(0.25 / 8192)


def test_hyperplanes_are_standard_normal_and_fixed():
    docs = clustered(20, dim=64)
    planes = build(parse("lsh(bits=2048)").derive(20, 64, 5), docs)._learned
    assert planes.shape == (64, 2048)
    assert abs(planes.mean()) < 0.02
    assert abs(planes.std() - 1) < 0.01
    assert abs(np.corrcoef(planes[0], planes[1])[0, 1]) < 0.12
    assert np.array_equal(planes, build(parse("lsh(bits=2048)").derive(5, 64, 5), docs[:5])._learned)
