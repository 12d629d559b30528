"""Calibration against the optimum found another way, and against probabilities that are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from foils.adapters.calibration import Calibration, expected_calibration_error, fit, nll, sigmoid
from foils.core.errors import ModelError


def drawn(n, a, b, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 3, n)
    return z, rng.random(n) < sigmoid(a * z + b)


def test_it_finds_the_numbers_that_made_the_labels():
    a, b = fit(*drawn(200_000, 0.6, -1.2))
    assert a == pytest.approx(0.6, abs=0.01)
    assert b == pytest.approx(-1.2, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_least_loss_of_platts_targets(seed):
    from scipy.optimize import minimize

    z, y = drawn(150, 0.4, 1.0, seed)
    n, m = y.sum(), (~y).sum()
    target = np.where(y, (n + 1) / (n + 2), 1 / (m + 2))
    best = minimize(lambda w: np.sum(np.logaddexp(0, w[0] * z + w[1]) - target * (w[0] * z + w[1])), [0.1, 0.0])
    np.testing.assert_allclose(fit(z, y), best.x, atol=1e-3)


def test_separable_and_useless_logits():
    a, b = fit(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0, 0, 1, 1], bool))
    assert 0 < a < 10
    assert np.isfinite(b)
    assert fit(np.array([2.0, 1.0, -1.0, -2.0]), np.array([0, 0, 1, 1], bool)) is None
    assert fit(np.array([1.0, 2.0]), np.array([1, 1], bool)) is None
    assert fit(np.zeros(0), np.zeros(0, bool)) is None
    huge, _ = fit(np.array([-1e4, 1e4, -9e3, 8e3]), np.array([0, 1, 0, 1], bool))
    assert huge > 0


def test_measures_against_slow_ones():
    z, y = drawn(3000, 1.0, 0.0, 4)
    p = sigmoid(0.3 * z)
    slow = 0.0
    for b in range(15):
        inside = (p >= b / 15) & ((p < (b + 1) / 15) | (b == 14))
        if inside.any():
            slow += inside.mean() * abs(y[inside].mean() - p[inside].mean())
    assert expected_calibration_error(p, y) == pytest.approx(slow)
    assert expected_calibration_error(sigmoid(z), y) < 0.03 < expected_calibration_error(p, y)
    assert nll(0.3 * z, y) == pytest.approx(-np.mean(np.where(y, np.log(p), np.log(1 - p))))
    assert expected_calibration_error(np.array([1.0, 0.0]), np.array([1, 0], bool)) == 0
    np.testing.assert_array_equal(sigmoid(np.array([-1e4, 0.0, 1e4])), [0.0, 0.5, 1.0])


def test_it_is_written_and_read_and_keeps_the_order(tmp_path):
    made = Calibration(0.37, -1.5, "here", {"pairs": 3})
    assert Calibration.read(tmp_path) is None
    made.write(tmp_path)
    assert Calibration.read(tmp_path) == made
    z = np.linspace(-4, 4, 99, dtype=np.float32)
    np.testing.assert_allclose(made.probabilities(z), sigmoid(made.log_odds(z)), rtol=1e-6)
    assert np.all(np.diff(made.probabilities(z)) > 0)
    path = tmp_path / "calibration.json"
    content = json.loads(path.read_text())
    for bad in ({**content, "scale": -1.0}, {**content, "method": "isotonic"}, {**content, "shift": float("nan")}):
        path.write_text(json.dumps(bad))
        with pytest.raises(ModelError, match="cannot be used"):
            Calibration.read(tmp_path)
    for bad in ("{", "[]", "{}"):
        path.write_text(bad)
        with pytest.raises(ModelError, match="cannot be read"):
            Calibration.read(tmp_path)
