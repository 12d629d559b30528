"""The command: a table that reads in 80 columns, JSON, and errors with an exit code."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from foils.cli import app
from foils.core.errors import DataError


def run(*arguments):
    return CliRunner().invoke(app, ["calibrate", *map(str, arguments)], catch_exceptions=False)


def test_it_writes_the_file_and_tells_what_is_in_it(planted, tmp_path):
    data, negatives = planted
    file = tmp_path / "t.json"
    pipeline = f"Calibrated('{file}', target=0.08, by='run', groups=2) >> Top(k=8)"
    named = (negatives.path, pipeline, "--labels", "qrels:train", "--data", data.path)
    told = json.loads(run(*named, "--json").stdout)
    assert told.pop("out") == str(file)
    assert told == json.loads(file.read_text())
    shown = run(*named).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "With 95% confidence, at most 8.0%" in " ".join(shown.split())
    assert shown.count("above s+") == 2
    assert shown.count(" %\n") + shown.count(" % ") >= 6


def test_it_says_what_is_wrong(planted, tmp_path):
    data, negatives = planted
    with pytest.raises(DataError, match="no split 'nowhere'"):
        run(negatives.path, f"Calibrated('{tmp_path / 't.json'}')", "--labels", "qrels:nowhere", "--data", data.path)
    assert run(negatives.path, "Calibrated('t.json')").exit_code == 2  # no --labels
