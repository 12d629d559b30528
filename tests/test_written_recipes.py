"""From the texts that are written to the model: each recipe with written texts, as the commands do it."""

from __future__ import annotations

import gzip
import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import foils
from foils.evaluate import evaluate
from foils.follow import Job, follow
from foils.recipe import load_recipe
from foils.train import TrainOptions
from little import OverlapReranker, make_beir
from shell import foils as command
from train.conftest import make_static

OPTIONS = TrainOptions(batch_size=16, learning_rate=0.05, max_steps=8, dev_share=0)


class Logits(OverlapReranker):
    scale = "logit"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The example's endpoint, which writes by rules, over real HTTP."""
    folder = str(Path(__file__).parents[1] / "examples")
    sys.path.insert(0, folder)
    try:
        import writer_server
    finally:
        sys.path.remove(folder)
    server = writer_server.Server(0, 0.0)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.url
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def facts(tmp_path_factory, _own_cache):
    """A collection of facts in sentences: numbers, dates and names that can be edited."""
    folder = make_beir(tmp_path_factory.mktemp("facts") / "facts", docs=120, queries=60)
    with gzip.open(folder / "corpus.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    for number, row in enumerate(rows):
        topic = row["title"]
        row["text"] = (
            f"The {topic} station {number} was built in {1900 + number % 90}. It is {5 + number} km from the coast. "
            f"More people visit it before noon than after it. It does not open on Monday. {row['text']}"
        )
    with gzip.open(folder / "corpus.jsonl.gz", "wt") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))
    asked = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    for row in asked:
        row["text"] += " station built in which year and how many km from the coast"
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    return folder


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    return str(make_static(tmp_path_factory.mktemp("models") / "static"))


@pytest.mark.parametrize(
    ("recipe", "authors"),
    [
        ("syneg", ["SyNeg(k=1)"]),
        ("counterfactual", ["Counterfactual()"]),
        ("perturbed", ["Perturb(reach='region')", "Identity(share=1.0)"]),
        ("gpl", ["Queries(k=2)"]),
    ],
)
def test_from_the_author_to_the_model(recipe, authors, facts, url, static, tmp_path, monkeypatch):
    monkeypatch.delenv("FOILS_LLM_KEY", raising=False)
    place = str(facts)
    for number, author in enumerate(authors):
        model = () if recipe == "perturbed" else ("--model", "rule", "--llm-url", url)
        command("write", place, author, "-o", str(tmp_path / f"shard{number}"), "--checks", "none", *model)
        place = str(tmp_path / f"shard{number}")
    data = foils.load(place)
    split = "written" if recipe == "gpl" else "train"
    plan = load_recipe(recipe)
    encoders = {"teacher": Logits()} if recipe == "gpl" else {}
    job = Job(split, encoders=encoders, influence=True)
    result = follow(plan, data, static, out=tmp_path / "run", job=job, options=OPTIONS)
    assert result.run.steps == 8
    assert np.isfinite([entry["loss"] for entry in result.run.record["losses"]]).all()
    kept = result.mined.kept(data)
    influence = json.loads((tmp_path / "run/influence/influence.json").read_text())
    shares = {row["name"]: row["gradient_share"] for row in influence["sources"]}
    if recipe == "gpl":
        assert kept.queries.min() >= len(data.base.queries), "written queries only"
        assert kept.doc.max() < len(data.base.corpus), "mined documents only"
    else:
        written = kept.take((kept.label == 0) & (kept.ranks["written"] > 0))
        assert len(written) > 5
        assert np.bincount(written.query).max() == 1, "at most one written negative of a query"
        assert shares["written"] > 0, "foils influence says what written negatives did"
        assert sum(shares.values()) == pytest.approx(1.0)
    scores = evaluate(data, str(result.run.model), split="test", measures=("nDCG@10",))
    assert np.isfinite(scores.mean("nDCG@10"))
