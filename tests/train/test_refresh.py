"""When negatives are mined again."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from foils.core.errors import SpecError
from foils.core.spec import full, parse
from foils.recipe import load_recipe, shipped
from foils.train import Alongside, At, Every, Never
from foils.train.generations import mined_for


def test_due_steps():
    assert Never().due(100, 10) == ()
    assert Every(steps=30).due(100, 10) == (30, 60, 90)
    assert Every(steps=50).due(100, 10) == (50,)  # not after the last step
    assert Every(epochs=0.25).due(20, 10) == (2, 5, 8, 10, 12, 15, 18)  # 2.5 and 7.5 to the even number
    assert Every(epochs=2).due(100, 33) == (66,)
    assert Every(steps=500).due(100, 10) == ()
    assert At(times=(0.333, 0.5)).due(9, 3) == (3, 4)
    assert At(times=(0.01,)).due(9, 3) == ()
    assert Alongside(steps=30).due(100, 10) == (30, 60, 90)
    assert [kind.waits for kind in (Never, Every, At, Alongside)] == [True, True, True, False]


@pytest.mark.parametrize(
    "text",
    [
        "Never()",
        "Every(epochs=0.5, encode='queries')",
        "At(times=[0.3, 0.6])",
        "Alongside(steps=5, share=0.2, chunks=5)",
    ],
)
def test_text_forms(text):
    assert repr(parse(text, "refresh")) == text
    assert parse(full(parse(text, "refresh")), "refresh") == parse(text, "refresh")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Every()", r"Every\(steps=None\): steps must be given, or epochs, and not both"),
        ("Every(steps=3, epochs=1)", "not both"),
        ("Alongside(steps=0)", r"steps must be at least 1"),
        ("Every(epochs=0)", "epochs must be above 0"),
        ("Every(steps=3, encode='none')", "encode must be one of 'all', 'queries', 'pool'"),
        ("Every(steps=3, share=0)", "share must be above 0, at most 1"),
        ("Every(steps=3, missed=-1)", "missed must be between 0 and 1"),
        ("Every(steps=3, chunks=0)", "chunks must be at least 1"),
        ("At(times=[])", "times must be ascending, above 0 and below 1"),
        ("At(times=[0.5, 0.2])", "times must be ascending"),
        ("At(times=[0.5, 1.0])", "below 1"),
        ("Evry(steps=2)", "Did you mean 'Every'"),
    ],
)
def test_bounds(text, fault):
    with pytest.raises(SpecError, match=fault):
        parse(text, "refresh")


def test_recipes_say_when(tmp_path):
    def recipe(text):
        (tmp_path / "own.yaml").write_text(text)
        return load_recipe(tmp_path / "own.yaml")

    mine = "mine: Dense('student', k=20) >> Uniform(k=4)\n"
    assert recipe(mine).refresh == Never()
    found = recipe(mine + "refresh: Every(steps=20)\n")
    assert found.refresh == Every(steps=20)
    assert found.text()["refresh"] == "Every(steps=20)"
    with pytest.raises(SpecError, match="needs 'mine'"):
        recipe("refresh: Every(steps=20)\n")
    with pytest.raises(SpecError, match="cannot depend on the progress"):
        recipe(mine + "refresh: Every(steps=Linear(3, 5))\n")


@pytest.mark.parametrize("chunks", [1, 3, 4])
def test_no_chunk_is_empty_however_few_queries_there_are(fake, chunks):
    data = fake([(q, q) for q in range(12)])
    mined = np.asarray([1, 4, 5, 11], np.int32)
    parts = [mined_for(data, mined, number, chunks) for number in range(1, chunks + 1)]
    assert np.concatenate(parts).size == 4
    assert set(np.concatenate(parts).tolist()) == set(mined.tolist())
    sizes = sorted(map(len, parts))
    assert sizes[-1] - sizes[0] <= 1
    np.testing.assert_array_equal(mined_for(data, mined, chunks + 1, chunks), parts[0])


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_recipes_mine_again_in_a_training_of_one_epoch(name):
    for phase in load_recipe(name).phases:
        if not isinstance(phase.refresh, Never):
            steps = round(phase.share * 100)
            assert len(phase.refresh.due(steps, 100)) >= 2, phase.name


def test_declaring_needs_no_torch():
    code = "import sys, foils.train; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
