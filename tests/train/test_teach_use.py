"""A teacher at work: through the command line, in mining, and in the losses that read its saved scores."""

from __future__ import annotations

import json

import numpy as np
import pytest

from foils import Pairs
from foils.adapters.models import load_reranker
from foils.core.errors import ModelError, PipelineError, StoreError
from foils.follow import Job, follow
from foils.recipe import load_recipe, source
from foils.store import Negatives
from foils.train import MarginMSE, TrainOptions, TrainSpec, objective, train
from shell import foils as command

QUICK = ["--set", "max_steps=3", "--set", "dev_share=0.3", "--batch-size", "8", "--learning-rate", "1e-5"]
ARGUMENTS = ["--mine", "Random(k=6)", "--loss", "listwise", *QUICK]


@pytest.fixture(scope="module")
def taught(learnable_path, teacher, tmp_path_factory):
    """The teacher taught a little more, by the command line."""
    out = tmp_path_factory.mktemp("taught") / "teacher"
    report = command("teach", str(learnable_path), "-m", str(teacher.out), "-o", str(out), *ARGUMENTS, "--json")
    return out, json.loads(report)


def test_the_command_teaches_and_reports(taught, learnable_path, teacher):
    out, report = taught
    assert report["status"] == "finished"
    assert report["calibration"]["report"]["pairs"] == 5 * report["calibration"]["report"]["positives"]
    assert report["settings"]["options"]["loss"] == "listwise"
    assert (out / "negatives" / "manifest.json").is_file()
    text = command("teach", str(learnable_path), "-m", str(teacher.out), "-o", str(out), *ARGUMENTS)
    assert "was finished already" in text
    assert "calibration error" in text


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        ([], 2, "--negatives FOLDER or --mine PIPELINE"),
        (["--mine", "Random(k=2)", "--loss", "hinge"], 2, "loss='hinge' must be one of"),
        (["--mine", "Random(k=2)", "--set", "dept=3"], 2, "unknown training option 'dept'"),
        (["--negatives", "nowhere", "--encoder", "a=b"], 2, "with --negatives nothing is mined"),
        (["--negatives", "nowhere"], 1, "no negatives here"),
        (["--mine", "Random(k=2)", "--split", "valid"], 1, "no split 'valid'"),
    ],
)
def test_wrong_commands_say_so(learnable_path, still_path, tmp_path, more, code, message):
    text = command("teach", str(learnable_path), "-m", str(still_path), "-o", str(tmp_path / "x"), *more, check=code)
    assert message in text


def test_a_static_base_is_refused(learnable_path, static_path, tmp_path):
    text = command("teach", str(learnable_path), "-m", str(static_path), "-o", str(tmp_path / "x"), *ARGUMENTS, check=1)
    assert "static model" in text


def test_its_scores_reach_the_loss(learnable, taught, static_path, tmp_path, monkeypatch):
    """Mined with log-odds of the teacher, and seen by `MarginMSE` for every row's own pairs."""
    out, _ = taught
    seen = {}
    original = MarginMSE.__call__

    def spying(self, view, allowed):
        for row, column in np.argwhere(~np.isnan(view["teacher"].numpy())):
            seen[int(view_rows[0][row]), int(view_rows[1][column])] = float(view["teacher"][row, column])
        return original(self, view, allowed)

    view_rows = [None, None]
    build = objective.batch_of

    def building(step, *args, **kwargs):
        view_rows[0], view_rows[1] = step.query[step.at].numpy(), step.doc.numpy()
        return build(step, *args, **kwargs)

    monkeypatch.setattr(objective, "batch_of", building)
    monkeypatch.setattr(MarginMSE, "__call__", spying)
    file = tmp_path / "margins.yaml"
    file.write_text(source("margin-mse").replace("BM25(k=100) >> Uniform(k=20)", "Random(k=20)"))
    recipe = load_recipe(file)
    options = TrainOptions(max_steps=3, batch_size=8, negatives_per_row=3, dev_share=0)
    found = follow(
        recipe, learnable, str(static_path), out=tmp_path / "run", job=Job(encoders={"teacher": out}), options=options
    )
    kept = Negatives.open(tmp_path / "run" / "negatives").kept(learnable)
    saved = dict(zip(zip(kept.query.tolist(), kept.doc.tolist(), strict=True), kept["teacher"].tolist(), strict=True))
    assert len(seen) > 40
    for pair, value in seen.items():
        assert value == pytest.approx(saved[pair])
    judge = load_reranker(out).logits()
    some = list(seen)[:30]
    texts = [learnable.queries.texts([q for q, _ in some]), learnable.corpus.texts([d for _, d in some])]
    np.testing.assert_allclose(judge.score(*texts), [seen[pair] for pair in some], atol=0.05)
    assert found.run.record["losses"][0]["loss"] > 0


def test_half_precision_keeps_the_head_whole(taught):
    import torch

    out, _ = taught
    judge, half = load_reranker(out), load_reranker(out, precision="bfloat16")
    queries, docs = ["q1 q2 q3", "q4", "q9 q8"] * 5, ["d1 d2", "d4 d5 d6", "d7"] * 5
    np.testing.assert_allclose(half.score(queries, docs), judge.score(queries, docs), atol=0.01)
    kinds = {name: weight.dtype for name, weight in half.model.named_parameters()}
    assert {kind for name, kind in kinds.items() if "classifier" in name} == {torch.float32}
    assert kinds["0.model.bert.embeddings.word_embeddings.weight"] == torch.bfloat16
    assert half.fingerprint != judge.fingerprint
    with pytest.raises(ModelError, match="for models loaded by name"):
        load_reranker(judge.model, precision="bfloat16")


def test_another_teacher_is_another_run(learnable, static_path, tmp_path):
    """The same pairs with other saved scores do not continue, nor count as finished; unread scores do not matter."""
    rows = learnable.query_rows("train")
    positives = learnable.positives("train")
    query, doc = np.r_[positives.query, rows], np.r_[positives.doc, np.full(len(rows), 140)]
    label = np.r_[np.ones(len(positives), np.int8), np.zeros(len(rows), np.int8)]
    options = TrainOptions(max_steps=1, dev_share=0)

    def go(shift, other):
        scores = {"teacher": np.arange(len(query)) * 0.1 + shift * label, "other": np.full(len(query), other)}
        spec = TrainSpec(loss=MarginMSE(), negatives=Pairs.build(query, doc, label, scores=scores))
        return train(learnable, spec, str(static_path), out=tmp_path / "run", options=options)

    assert not go(0.0, 1.0).found_finished
    assert go(0.0, 2.0).found_finished
    with pytest.raises(StoreError, match="negatives is"):
        go(1.0, 1.0)


def test_a_guide_of_the_loss_is_given_by_name(learnable, static_path, tmp_path):
    """TAS-Balanced's in-batch term needs a bi-encoder for all pairs of a batch, which nothing mined can be."""
    file = tmp_path / "in-batch-teacher.yaml"
    file.write_text("mine: Random(k=4)\ncontrast: InBatch()\nloss: InBatchMarginMSE(by='guide')\n")
    options = TrainOptions(max_steps=2, batch_size=8, dev_share=0)
    job = Job(encoders={"guide": str(static_path)})
    found = follow(load_recipe(file), learnable, str(static_path), out=tmp_path / "run", job=job, options=options)
    assert set(found.run.record["settings"]["guides"]) == {"guide"}
    assert found.run.record["losses"][0]["loss"] == pytest.approx(0, abs=1e-3)  # the student is its own teacher
    with pytest.raises(PipelineError, match="has no score 'guide'"):
        follow(load_recipe(file), learnable, str(static_path), out=tmp_path / "other", job=Job(), options=options)


def test_tas_balanced_has_two_teachers(learnable, taught, static_path, still_path, tmp_path):
    """The pair teacher's margins from what was mined, the in-batch teacher's of every pair, batches of one topic."""
    out, _ = taught
    file = tmp_path / "tas.yaml"
    file.write_text(source("tas-b").replace("BM25(k=100)", "Random(k=20)"))
    options = TrainOptions(max_steps=6, batch_size=8, negatives_per_row=2, dev_share=0)
    job = Job(encoders={"teacher": out, "guide": str(still_path)})
    run = follow(load_recipe(file), learnable, str(static_path), out=tmp_path / "run", job=job, options=options).run
    assert run.record["settings"]["recipe"]["batches"].startswith("Clustered(")
    assert list(run.record["settings"]["guides"]) == ["guide"]
    assert np.isfinite([entry["loss"] for entry in run.record["losses"]]).all()
    without = Job(encoders={"teacher": out})
    with pytest.raises(PipelineError, match="'guide'"):
        follow(load_recipe(file), learnable, str(static_path), out=tmp_path / "no", job=without, options=options)
