from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from shell import foils


@pytest.fixture(scope="module")
def mined(little, tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "neg"
    foils("mine", little, "BM25(k=40) >> NoAnswer() >> Top(k=12)", "-o", str(out))
    return str(out)


@pytest.fixture(scope="module")
def full(little, tmp_path_factory):
    """Judgements of every document: those of the query's own topic are relevant."""
    path = tmp_path_factory.mktemp("cli") / "full.tsv"
    path.write_text("".join(f"q{q}\td{d}\t{int((d - 3 * q) % 10 == 0)}\n" for q in range(60) for d in range(240)))
    return str(path)


def test_a_sheet_first_then_its_labels(mined, little, tmp_path):
    out = tmp_path / "audit"
    shown = foils("audit", mined, "--data", little, "--budget", "40", "-o", str(out))
    assert "Fill in the column 'label'" in shown.replace("\n", " ")
    planned = json.loads((out / "audit.json").read_text())
    assert planned["rate"] is None
    assert sum(row["drawn"] for row in planned["strata"]) == 40
    empty = foils("audit", mined, "--budget", "40", "--labels", str(out / "labels.csv"))
    assert "knows nothing of this sample" in empty
    for more in ((), ("--json",)):
        gate = ("--labels", str(out / "labels.csv"), "--fail-above", "0.9")
        assert "no rate to hold against 0.9" in foils("audit", mined, "--budget", "40", *gate, *more, check=1)
    with (out / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for place, row in enumerate(rows):
        row["label"] = "1" if place % 4 == 0 else "0"
    with (out / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    shown = foils("audit", mined, "--budget", "40", "--labels", str(out / "labels.csv"), "-o", str(out))
    assert "stratified, 95% interval" in shown
    told = json.loads((out / "audit.json").read_text())
    assert told["judge"]["kind"] == "people"
    assert told["rate"]["value"] == pytest.approx(0.25, abs=0.1)
    assert max(map(len, shown.splitlines())) <= 80


def test_the_exit_code_tells_what_is_shown(mined, full):
    judge = ("--judge", f"qrels:{full}")
    told = json.loads(foils("audit", mined, *judge, "--json"))
    rate = told["rate"]["value"]
    assert told["rate"]["method"] == "census"
    shown = foils("audit", mined, *judge, "--examples", "0")
    assert f"{rate:.1%}  counted" in shown
    assert f"{told['per_query']['rate']:.1%}  of {told['per_query']['queries']} queries have one, counted" in shown
    assert "[" not in shown.partition("step ")[2]  # a figure that is counted has no interval
    assert "takes all negatives of a query" in foils("audit", mined, *judge, "--budget", "60")
    assert "passed" in foils("audit", mined, *judge, "--fail-above", str(rate + 0.01))
    assert "failed: the rate is above" in foils("audit", mined, *judge, "--fail-above", str(rate - 0.01), check=1)
    sampled = json.loads(foils("audit", mined, *judge, "--budget", "60", "--json"))["rate"]
    assert sampled["low"] < rate < sampled["high"]
    between = str((sampled["low"] + sampled["value"]) / 2)
    shown = foils("audit", mined, *judge, "--budget", "60", "--fail-above", between)
    assert "not shown to be above" in shown


def test_a_report_of_a_sample_reads_in_80_columns(mined, full, tmp_path):
    lines = Path(full).read_text().splitlines()
    rough = tmp_path / "rough.tsv"
    flipped = [line[:-1] + str(int(line[-1] != "1")) if place % 9 == 0 else line for place, line in enumerate(lines)]
    rough.write_text("\n".join(flipped) + "\n")
    judges = ("--judge", f"qrels:{full}", "--cheap", f"qrels:{rough}")
    shown = foils("audit", mined, *judges, "--budget", "80")
    assert max(map(len, shown.splitlines())) <= 80
    assert "prediction-powered, 95% interval" in shown
    for word in ("false negatives", "ranks 1 to", "cheap judge", "Top(k=12)", "before, %", "as a trend only"):
        assert word in shown


def test_a_dry_run_asks_nobody(mined, full):
    told = json.loads(foils("audit", mined, "--judge", f"qrels:{full}", "--budget", "50", "--dry-run", "--json"))
    assert told["rate"] is None
    assert told["price"][f"qrels:{full}"]["pairs"] >= 50
    assert "would judge" in foils("audit", mined, "--judge", f"qrels:{full}", "--dry-run")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--judge", "qrels:train"], 1, "--complete"),
        (["--judge", "qrel"], 1, "cross-encoder"),
        (["--budget", "3"], 2, "at least 10"),
        (["--judge", "score", "--fail-above", "5"], 2, "between 0 and 1"),
        (["--level", "95"], 2, "level=95"),
        (["--fail-above", "0.1"], 2, "somebody must judge"),
        (["--labels", "none.csv"], 1, "no such file"),
        (["--cheap", "score"], 2, "corrects it"),
        (["--labels", "l.csv", "--judge", "a", "--judge", "b"], 2, "one cheap judge"),
        (["--by", "dense"], 2, "no score column 'dense'"),
    ],
)
def test_what_cannot_be_is_said(mined, options, code, message):
    assert message in foils("audit", mined, *options, check=code)


def test_a_file_of_another_tool(mined, little, full, tmp_path):
    file = tmp_path / "rows.jsonl"
    foils("export", mined, "-o", str(file), "-f", "flag-embedding")
    told = json.loads(foils("audit", str(file), "--data", little, "--judge", f"qrels:{full}", "--json"))
    own = json.loads(foils("audit", mined, "--judge", f"qrels:{full}", "--json"))
    assert told["rate"]["value"] == pytest.approx(own["rate"]["value"], abs=0.02)
    assert told["by"]["filter"] == []
    assert Path(told["negatives"]) == file
    assert "--data" in foils("audit", str(file), check=1)


def test_what_each_judge_of_a_consensus_is_worth(mined, full, tmp_path):
    lines = Path(full).read_text().splitlines()
    rough = tmp_path / "rough.tsv"
    flipped = [line[:-1] + str(int(line[-1] != "1")) if place % 9 == 0 else line for place, line in enumerate(lines)]
    rough.write_text("\n".join(flipped) + "\n")
    judges = ("--judge", f"qrels:{full}", "--judge", f"qrels:{rough}", "--judge", "score")
    shown = " ".join(foils("audit", mined, *judges, "--budget", "60", "--examples", "0").split())
    assert "log-odds that a vote is worth" in shown
    assert "(consensus)" in shown


def test_judges_that_agree_by_chance_give_no_rate(mined, full, tmp_path):
    draw = np.random.default_rng(0).integers
    coins = []
    for name in "abc":
        coins.append(tmp_path / f"{name}.tsv")
        lines = Path(full).read_text().splitlines()
        coins[-1].write_text("".join(f"{line[:-1]}{draw(0, 2)}\n" for line in lines))
    judges = [part for coin in coins for part in ("--judge", f"qrels:{coin}")]
    said = foils("audit", mined, *judges, "--budget", "200", "-o", str(tmp_path / "a"), check=1)
    assert "no more than chance would have them" in said
    assert not (tmp_path / "a" / "audit.json").exists()
