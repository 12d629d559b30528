"""Folders that pages are about: negatives of a collection of hostile texts, and a run with everything going on."""

from __future__ import annotations

import json

import pytest

import foils
from foils.mine import mine
from foils.train.journal import write_line
from little import HashEncoder, make_beir

HOSTILE = (
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 2</script>",
    '<img src="https://example.org/x.png" onerror="window.hacked = 3">',
    "{{ 7 * 7 }} {% raw %} ${7*7} <!-- \u2028 &amp; \" ' `",
    "</textarea></style><svg onload=window.hacked=4>",
)
PIPELINE = "BM25(k=30) + Dense('student', k=30) >> BiEncoder('student') >> PositiveAware(margin=0.1) >> Top(k=4)"


@pytest.fixture(scope="session")
def hostile(tmp_path_factory, _own_cache):
    folder = make_beir(tmp_path_factory.mktemp("hostile") / "little", docs=120, queries=40)
    path = folder / "queries.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for number, row in enumerate(rows):
        row["text"] += " " + HOSTILE[number % len(HOSTILE)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return foils.load(folder)


@pytest.fixture(scope="session")
def negatives(hostile, tmp_path_factory):
    out = tmp_path_factory.mktemp("mined") / "neg <b>"
    return mine(hostile, PIPELINE, encoders={"student": HashEncoder()}, out=out)


def entry(step, **more):
    """A line of a log."""
    figures = {
        "loss": 3.0 / (1 + step / 20),
        "gap": -0.1 + step / 500,
        "gap_hardest": -0.2 + step / 500,
        "above": 0.8 - step / 200,
        "effective": 3.0,
        "negatives": 4.0,
        "uniformity": -1.5 - step / 100,
        "effective_rank": 60.0 + step / 10,
        "documents": 64.0,
        "top_document": 0.05,
        "top_rows": 0.05,
        "share/in-batch": 0.5,
        "share/bm25": 0.5,
        "share/ranks 1-5": 0.2,
        "share/ranks 6-20": 0.3,
    }
    figures |= more
    return {"step": step, "loss": figures["loss"], **{f"foils/{name}": value for name, value in figures.items()}}


@pytest.fixture
def run(tmp_path, negatives):
    """A run at step 100 of 200: dev looks, a breach with a rollback, two generations in use."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "negatives").symlink_to(negatives.path)
    used = [
        {
            "number": number,
            "step": 40 * number,
            "used_from": 40 * number + 3,
            "staleness": 3,
            "overlap@10": 0.7,
            "rbo": 0.6,
            "churn": 0.4,
            "hub": 0.02,
            "encoded": 1.0,
            "seconds": 4.2,
            "keep": 2,
        }
        for number in (1, 2)
    ]
    breach = {
        "step": 61,
        "what": "loss",
        "value": 9.0,
        "bound": 4.0,
        "back": 40,
        "generation": 1,
        "fallback": {"contrast": "InBatch()", "loss": "InfoNCE()"},
    }
    record = {
        "format": 1,
        "status": "running",
        "settings": {
            "recipe": {"contrast": "Own()", "loss": "InfoNCE()", "batches": "Shuffled()"},
            "data": "0123",
            "split": "train",
            "model": "4567",
            "seed": 0,
            "options": {"max_steps": 200, "batch_size": 16},
        },
        "counts": {"train": {"rows": 100, "queries": 90}, "dev": {"queries": 20, "documents": 120, "held_out": 20}},
        "notes": {"recipe": {"name": "ance", "title": "Mined again", "cite": "", "mine": "Dense('student')"}},
        "versions": {"python": "3.11"},
        "generations": used,
        "breaches": [breach],
        "rollbacks": [{"to": 1, "step": 40, "aside": "aside/1", "skipped": [60], "settled": True}],
    }
    (folder / "run.json").write_text(json.dumps(record))
    write_line(folder, {"begun": 0, "steps": 200})
    for step in range(0, 101, 5):
        if step % 20 == 0:
            value = 0.3 + step / 1000
            more = {"eval_span/low": value - 0.02, "eval_span/high": value + 0.03}
            others = {"eval_task/pairs similarity": 0.7 + step / 5000, "eval_task/some classes": 0.5 - step / 9000}
            write_line(folder, {"step": step, "eval_nDCG@10": value, "eval_RR@10": 0.1 + value, **more, **others})
        if step:
            write_line(folder, entry(step))
    return folder
