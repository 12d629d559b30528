"""What tests of the guard share: a loss that undoes what was learnt, a recipe with it, and runs that are cut off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foils.core.declared import _REGISTRY, declare
from foils.follow import follow
from foils.recipe import load_recipe
from foils.train import InfoNCE, Loss, TrainOptions
from killing import Killed
from steps import weights

OPTIONS = TrainOptions(batch_size=16, learning_rate=0.1, max_steps=60, save_every=7, evaluate_every=6, dev_share=0.1)
SHORT = replace(OPTIONS, max_steps=48, evaluate_every=4)
# With refreshes: from progress 0.4 on the positives are pushed away.
PLAN = """
mine: Dense('student', k=20) >> Uniform(k=6)
contrast: InBatch()
loss: Step([1, 0], [0.4])*InfoNCE(temperature=0.5) + Step([0, 99], [0.4])*Turned()
refresh: Every(steps=10)
guard: Guard(hub=None, above=None, loss=None)
fallback: in-batch
"""


@declare
class Turned(Loss):
    """Pushes positives away and pulls negatives in: what no recipe can say, for these tests only."""

    def __call__(self, view, allowed):
        return -InfoNCE(temperature=0.5)(view, allowed)


_REGISTRY.pop("Turned")  # other tests take every loss that is declared


@pytest.fixture(scope="module")
def turned():
    _REGISTRY["Turned"] = Turned
    yield
    del _REGISTRY["Turned"]


def planned(folder, text):
    (folder / "own.yaml").write_text(text)
    return load_recipe(folder / "own.yaml")


@pytest.fixture(scope="module")
def guarded(learnable, static_path, turned, plan, tmp_path_factory):
    """The run of the module's ``plan``; tests must not change it."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return follow(plan, learnable, str(static_path), out=out, options=SHORT).run


def cut_off(guarded, plan, data, model, out, die):
    """The same run, but killed at a moment and continued: with the same weights, curve, breaches and rollbacks."""

    def go():
        return follow(plan, data, str(model), out=out, options=SHORT).run

    with pytest.MonkeyPatch.context() as patch:
        die(patch, guarded.record["breaches"][0]["step"])
        with pytest.raises(Killed):
            go()
    run = go()
    np.testing.assert_array_equal(weights(run.model), weights(guarded.model))
    assert run.curve == guarded.curve
    for key in ("breaches", "rollbacks"):
        assert run.record[key] == guarded.record[key]
    return run
