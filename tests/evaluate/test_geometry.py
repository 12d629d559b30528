"""The figures of a space against their closed forms, slow loops and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from foils.adapters import exact
from foils.evaluate import geometry as g


def random_units(n, d, seed=0):
    return g.unit(np.random.default_rng(seed).standard_normal((n, d)))


def test_golden_values():
    square = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    assert g.uniformity(square) == pytest.approx(-4.3963, abs=5e-5)
    assert g.uniformity(np.eye(8)) == pytest.approx(-4.0, abs=1e-12)
    assert g.uniformity(random_units(3000, 64)) == pytest.approx(-3.875, abs=0.005)
    assert g.effective_rank(np.eye(8)) == pytest.approx(7.0), "the mean takes one dimension away"
    assert g.anisotropy(np.eye(5)) == pytest.approx(0.0, abs=1e-15)


def test_a_collapsed_space():
    same = np.tile(random_units(1, 7), (9, 1))
    assert g.alignment(same, same) == 0.0
    assert g.uniformity(same) == pytest.approx(0.0, abs=1e-12)
    assert g.effective_rank(same) == 1.0
    assert g.anisotropy(same) == pytest.approx(1.0)
    assert g.tower_gap(same, same) == 0.0


@pytest.mark.parametrize("n", [2, 37, 700])  # below, and above a block
def test_against_slow_loops(n):
    x, y = random_units(n, 5), random_units(n, 5, seed=1)
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)] if n < 100 else None
    if pairs:
        near = [math.exp(-2 * float(((x[i] - x[j]) ** 2).sum())) for i, j in pairs]
        assert g.uniformity(x) == pytest.approx(math.log(sum(near) / len(near)), rel=1e-10)
        assert g.anisotropy(x) == pytest.approx(np.mean([x[i] @ x[j] for i, j in pairs]), abs=1e-12)
    else:
        cosine = x @ x.T
        upper = cosine[np.triu_indices(n, 1)]
        assert g.uniformity(x) == pytest.approx(np.log(np.exp(-2 * (2 - 2 * upper)).mean()), rel=1e-10)
        assert g.anisotropy(x) == pytest.approx(upper.mean(), abs=1e-12)
    assert g.alignment(x, y) == pytest.approx(np.mean([((a - b) ** 2).sum() for a, b in zip(x, y, strict=True)]))
    assert g.alignment(x, y, power=1) == pytest.approx(np.linalg.norm(x - y, axis=1).mean())
    spectrum = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    share = spectrum[spectrum > 1e-14] / spectrum.sum()
    assert g.effective_rank(x) == pytest.approx(math.exp(stats.entropy(share)), rel=1e-6)


def test_nothing_depends_on_rotation_or_length():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((40, 6)), rng.standard_normal((40, 6))
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    long = rng.uniform(0.1, 9, (40, 1))
    for figure in (g.uniformity, g.effective_rank, g.anisotropy):
        assert figure(x @ turn * long) == pytest.approx(figure(x), rel=1e-9)
    for figure in (g.alignment, g.tower_gap):
        assert figure(x @ turn * long, y @ turn) == pytest.approx(figure(x, y), rel=1e-9)


def test_hubness_of_random_vectors():
    """n = 1000, d = 64, k = 10: skew .29, Robin Hood .12, no antihub (measured)."""
    x = random_units(1000, 64).astype(np.float32)
    found = exact.search(x, x, 11)[0][:, 1:]
    counts = g.occurrences(found, 1000)
    assert counts.sum() == 10_000
    seen = g.hubness(counts, 10)
    assert seen["skewness"] == pytest.approx(stats.skew(counts))
    assert seen["skewness"] == pytest.approx(0.29, abs=0.25)
    assert seen["robin_hood"] == pytest.approx(0.12, abs=0.02)
    assert seen["antihubs"] <= 0.001


def test_hubness_of_one_hub():
    counts = g.occurrences(np.array([[0, 1], [0, 2], [0, -1]]), 4)
    assert counts.tolist() == [3, 1, 1, 0]
    seen = g.hubness(np.array([10, 0, 0, 0, 0]), 2)
    assert seen == {
        "skewness": pytest.approx(1.5),
        "robin_hood": pytest.approx(0.8),
        "antihubs": 0.8,
        "hubs": 1.0,
        "largest": 10.0,
    }
    assert g.hubness(np.array([2, 2, 2]), 2)["skewness"] == 0.0


@pytest.mark.parametrize(
    "bad",
    [
        lambda: g.uniformity(np.ones((1, 3))),
        lambda: g.anisotropy(np.ones((1, 3))),
        lambda: g.unit([1.0, 2.0]),
        lambda: g.unit([[1.0, math.nan]]),
        lambda: g.alignment(np.ones((2, 3)), np.ones((3, 3))),
        lambda: g.hubness(np.zeros(4, int), 2),
    ],
)
def test_what_has_no_figure_is_refused(bad):
    with pytest.raises(ValueError, match=r"."):
        bad()
