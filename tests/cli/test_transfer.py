"""The command that measures other tasks, as a program sees it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from foils.evaluate.transfer import run
from little import HashEncoder, write_jsonl
from shell import foils


class Blind(HashEncoder):
    def encode(self, texts, kind):
        return np.stack([HashEncoder("blind", self.dim, 3)._word(text) for text in texts]).astype(np.float32)


@pytest.fixture
def task(tmp_path, monkeypatch):
    """Two models by name, and pairs that one of them is blind to."""
    models = {"start": HashEncoder("start"), "blind": Blind("blind")}
    monkeypatch.setattr(run, "load_encoder", models.__getitem__)
    rng = np.random.default_rng(0)
    words = ["salt", "tide", "wave", "oak", "pine", "bark", "glacier", "snow"]
    rows = []
    for i in range(120):
        one, other = rng.choice(words, 4), rng.choice(words, 4)
        rows.append(
            {"sentence1": " ".join(one), "sentence2": " ".join(other), "score": len({*one} & {*other}) + i % 3 / 9}
        )
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    return str(tmp_path / "pairs.jsonl")


def test_a_regression_is_an_exit_code_where_that_is_asked_for(task):
    asked = ("transfer", "--task", task, "-m", "blind", "--baseline", "start", "--rounds", "300")
    found = json.loads(foils(*asked, "--json"))
    assert found["kind"] == "foils transfer"
    assert found["regressions"] == [{"system": "blind", "task": "pairs similarity"}]
    table = foils(*asked, "--fail-on-regression", check=1)
    assert "REGRESSION: blind is worse at pairs similarity" in table
    back = ("transfer", "--task", task, "-m", "start", "--baseline", "blind", "--rounds", "300")
    assert "better" in foils(*back, "--fail-on-regression")


def test_what_is_asked_wrongly(task):
    foils("transfer", "-m", "start", check=2)
    foils("transfer", "--task", "nothing.jsonl", "-m", "start", check=1)
    foils("transfer", "--task", f"cluster={task}", "-m", "start", check=2)
    foils("influence", "nowhere", check=1)
