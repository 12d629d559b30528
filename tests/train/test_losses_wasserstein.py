"""Losses that look at a whole batch: distances of distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from foils.core.errors import SpecError
from foils.core.spec import parse
from foils.train.contrasts import InBatch, Own
from foils.train.losses import Wasserstein
from foils.train.losses.wasserstein import squared_distance
from train.test_losses_lists import lists


def softmax(rows):
    powers = np.exp(rows - rows.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def plain_distance(x, y):
    """As SyCL defines it, with the covariance matrices themselves."""
    cx, cy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.sqrt(np.linalg.eigvals(cx @ cy).real.clip(0)).sum()
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cx + cy) - 2 * root


def test_the_distance_is_that_of_the_covariance_matrices():
    rng = np.random.default_rng(0)
    for rows, columns in ((30, 6), (6, 30), (7, 7), (2, 5)):
        x, y = softmax(rng.normal(size=(rows, columns))), softmax(2 * rng.normal(size=(rows, columns)))
        found = squared_distance(torch.tensor(x), torch.tensor(y))
        assert float(found) == pytest.approx(plain_distance(x, y), abs=1e-7)
    one = torch.tensor(x[:1]), torch.tensor(y[:1])
    assert float(squared_distance(*one)) == pytest.approx(((x[0] - y[0]) ** 2).sum())


def test_its_gradient_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(5, 8, generator=generator, dtype=torch.float64).softmax(dim=1).requires_grad_()
    y = torch.randn(5, 8, generator=generator, dtype=torch.float64).softmax(dim=1)
    assert torch.autograd.gradcheck(lambda rows: squared_distance(rows, y), (x,))


def test_a_perfect_fit_is_0_without_gradient():
    scores = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    batch = lists(scores, grade=scores.detach())
    loss = Wasserstein()(batch, Own().allowed(batch))
    assert loss.detach().abs().max() < 1e-12
    assert torch.autograd.grad(loss.sum(), scores)[0].abs().max() < 1e-7


def test_lists_are_extended_by_those_of_the_others_with_grade_0():
    """Two rows of three documents each, side by side, as the released code lays them out."""
    rng = np.random.default_rng(3)
    scores, grades = rng.normal(size=(2, 6)), np.array([[3.0, 1.0, 0.0], [3.0, 2.0, 1.0]])
    blocks = np.kron(np.eye(2), np.ones((1, 3)))
    wide = np.zeros((2, 6))
    wide[blocks > 0] = grades.ravel()
    batch = lists(
        torch.tensor(scores),
        label=[[1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]],
        own=(blocks > 0).tolist(),
        grade=np.where(blocks > 0, wide, np.nan),
    )
    found = Wasserstein(temperature=0.5)(batch, InBatch().allowed(batch))
    assert found.tolist() == pytest.approx([plain_distance(softmax(scores / 0.5), softmax(wide))] * 2, abs=1e-8)


def test_rows_without_grades_take_no_part_and_the_mean_is_the_distance():
    scores = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    grades = torch.rand(4, 5, dtype=torch.float64)
    part = lists(scores[:3], grade=grades[:3])
    whole = lists(scores, grade=torch.cat((grades[:3], torch.full((1, 5), math.nan))))
    few, all_ = (Wasserstein()(batch, Own().allowed(batch)) for batch in (part, whole))
    assert all_[3] == 0
    torch.testing.assert_close(all_.mean(), few.mean())


def test_bounds():
    for text in ("Wasserstein(temperature=0)", "Wasserstein(grade_temperature=0)"):
        with pytest.raises(SpecError, match="temperature must be above 0"):
            parse(text, "loss")
