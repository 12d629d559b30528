import os
import subprocess
import sys

import numpy as np
import pytest

from foils.adapters import kmeans
from foils.adapters.kmeans import nearest, spherical_kmeans


def blobs(count=7, each=40, dim=12, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((count, dim))
    points = np.repeat(centres, each, axis=0) + 0.05 * rng.standard_normal((count * each, dim))
    return points.astype(np.float32), np.repeat(np.arange(count), each)


def keys(n):
    return np.arange(1, n + 1, dtype=np.uint64)


def test_finds_what_was_put_there():
    points, truth = blobs()
    best = max(
        (spherical_kmeans(points, keys(len(points)) + np.uint64(i), 7) for i in range(8)),
        key=lambda centroids: nearest(points, centroids)[1].sum(),
    )
    label, _ = nearest(points, best)
    pairs = {(a, b) for a, b in zip(label.tolist(), truth.tolist(), strict=True)}
    assert len(pairs) == 7


def test_every_round_fits_at_least_as_well(monkeypatch):
    points, _ = blobs(seed=3)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    fits = []
    for rounds in (1, 2, 5, 20):
        monkeypatch.setattr(kmeans, "ROUNDS", rounds)
        fits.append(nearest(unit, spherical_kmeans(points, keys(len(points)), 9))[1].sum())
    assert fits == sorted(fits)


def test_at_rest_each_centroid_is_the_direction_of_its_points():
    points, _ = blobs(count=4, seed=1)
    centroids = spherical_kmeans(points, keys(len(points)), 4)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    label, _ = nearest(unit, centroids)
    for i in range(4):
        total = unit[label == i].sum(axis=0)
        assert centroids[i] == pytest.approx(total / np.linalg.norm(total), abs=1e-5)


def test_agrees_with_a_slow_loop():
    points, _ = blobs(count=5, each=12, dim=6, seed=2)
    got = spherical_kmeans(points, keys(len(points)), 5)
    unit = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float64)
    from foils.core import noise

    order = np.argsort(noise.bits(0, "kmeans", keys(len(points)), np.zeros(1, np.uint64)), kind="stable")
    centroids = unit[order[:5]]
    for _ in range(kmeans.ROUNDS):
        label = [max(range(5), key=lambda c: (float(p @ centroids[c]), -c)) for p in unit]
        fit = [float(p @ centroids[c]) for p, c in zip(unit, label, strict=True)]
        worst = iter(sorted(range(len(unit)), key=lambda i: fit[i]))
        new = []
        for c in range(5):
            mine = [p for p, own in zip(unit, label, strict=True) if own == c]
            total = np.sum(mine, axis=0) if mine else unit[next(worst)]
            new.append(total / np.linalg.norm(total))
        centroids = np.array(new)
    assert got == pytest.approx(centroids, abs=1e-4)


def test_more_centroids_than_distinct_vectors_and_zero_vectors():
    points = np.array([[1, 0], [1, 0], [0, 0], [0, 2]], np.float32)
    centroids = spherical_kmeans(points, keys(4), 4)
    assert centroids.shape == (4, 2)
    assert np.isfinite(centroids).all()
    with pytest.raises(ValueError, match="1 to 4"):
        spherical_kmeans(points, keys(4), 5)


def test_the_number_of_threads_changes_no_byte():
    code = (
        "import sys, numpy as np; from foils.adapters.kmeans import spherical_kmeans;"
        "v = np.random.default_rng(0).standard_normal((3000, 64)).astype(np.float32);"
        "c = spherical_kmeans(v, np.arange(3000, dtype=np.uint64), 50);"
        "sys.stdout.buffer.write(c.tobytes())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            env={**os.environ, "OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n},
        ).stdout
        for n in ("1", "2")
    ]
    assert len(runs[0]) == 50 * 64 * 4
    assert runs[0] == runs[1]
