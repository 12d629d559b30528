"""What is printed holds the numbers, fits 80 columns, and says plainly what is not distinguishable."""

import json
import re

import numpy as np
import pytest
from rich.console import Console

from foils.core.pairs import Pairs
from foils.evaluate.scores import Scores, compare, mean_intervals
from foils.evaluate.tables import Table

MEASURES = ("RR@10", "nDCG@10", "R@100", "P(rel=2)@5")


@pytest.fixture(scope="module")
def table(data):
    """Start, a clearly better, a clearly worse and an indistinguishable system."""
    generator = np.random.default_rng(2)
    n = 120
    base = generator.uniform(0.2, 0.6, n)
    shift = {"start": 0.0, "bm25": 0.2, "in-batch": -0.15, "runs/dense-hard-with-a-long-name": 0.0}
    spread = {"start": 0.0, "bm25": 0.1, "in-batch": 0.1, "runs/dense-hard-with-a-long-name": 0.05}
    values = {
        name: {measure: base + shift[name] + generator.normal(0, spread[name] or 1e-9, n) for measure in MEASURES}
        for name in shift
    }
    values["start"]["R@100"] = values["bm25"]["R@100"] = np.ones(n)
    versus = compare(values, "start", rounds=999)
    spans = mean_intervals(values, rounds=999)
    empty = Pairs.build([], [], scores={"run": []}, ranks={"run": []})

    def scores(name):
        rows = np.arange(n, dtype=np.int32)
        return Scores(name, data, "test", rows, values[name], spans[name], empty, 1, 0, versus.get(name, {}))

    return Table({name: scores(name) for name in values}, "start")


def printed(table, width=80):
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_fits_eighty_columns_without_cutting_numbers(table):
    text = printed(table)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_holds_every_mean_difference_and_verdict(table):
    text = printed(table)
    for scores in table.scores.values():
        for measure in MEASURES:
            assert f"{scores.mean(measure):.3f}".removeprefix("0") in text
    for measure in MEASURES:
        for name in ("bm25", "in-batch"):
            versus = table.scores[name].versus[measure]
            assert re.sub(r"([+-])0\.", r"\1.", f"{versus.difference:+.3f}") in text
    assert text.count("better") == 3  # bm25, but for R@100, which is the same
    assert text.count("worse") == 5  # and the last one for R@100, where nothing can be better than the start
    assert sum(line.count("unclear") for line in text.splitlines()) >= 5
    assert "unclear: not distinguishable from the baseline" in text
    assert "1.000" in text
    assert "p .003 better" in text  # the least p of 999 draws, times 3 systems
    assert "1 more queries have no positive" in text


def test_says_how_small_a_difference_would_have_been_seen(table):
    text = " ".join(printed(table).split())
    versus = table.scores["runs/dense-hard-with-a-long-name"].versus["RR@10"]
    assert versus.verdict == "unclear"
    size = f"{versus.detectable:.3f}".removeprefix("0")
    assert f"4 times in 5, one uncorrected test sees a true difference from about {size} RR@10" in text


def test_verdicts_follow_the_corrected_p(table):
    for scores in table.scores.values():
        for versus in scores.versus.values():
            expected = "unclear" if versus.p_holm >= 0.05 else "better" if versus.difference > 0 else "worse"
            assert versus.verdict == expected
            assert versus.p_holm >= versus.p


def test_without_a_baseline_there_are_only_means(table):
    text = printed(Table({"start": table.scores["start"]}))
    assert "baseline" not in text
    assert "p" not in re.sub(r"[a-z]{2,}|split|P\(rel", "", text)


def test_json_holds_no_nan(table, data):
    odd = table.scores["bm25"]
    versus = compare({"a": {"RR": np.array([0.1])}, "b": {"RR": np.array([0.3])}}, "a", rounds=9)["b"]
    spans = mean_intervals({"b": {"RR": np.array([0.3])}}, rounds=9)["b"]
    single = Scores("b", data, "test", np.zeros(1, np.int32), {"RR": np.array([0.3])}, spans, odd.ranking, 0, 0, versus)
    assert np.isnan(versus["RR"].detectable)
    text = json.dumps({"one": Table({"b": single}, "a").to_dict(), "all": table.to_dict()}, allow_nan=False)
    back = json.loads(text)
    assert back["one"]["systems"][0]["measures"]["RR"]["versus"]["detectable"] is None
    assert [system["system"] for system in back["all"]["systems"]] == list(table.scores)
    entry = back["all"]["systems"][1]["measures"]["RR@10"]
    assert entry["mean"] == odd.mean("RR@10")
    assert entry["versus"]["p_holm"] == odd.versus["RR@10"].p_holm
    assert entry["low"] < entry["mean"] < entry["high"]
