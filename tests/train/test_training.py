"""Runs from start to end: what is learnt, what is recorded, and that an interruption changes nothing."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers.integrations import integration_utils

from foils import Pairs
from foils.adapters.models import load_model
from foils.adapters.sentence import SentenceEncoder
from foils.core.errors import DataError, ModelError, SpecError, StoreError
from foils.phase import Trained
from foils.terminal import console, trained
from foils.train import InBatch, InfoNCE, Own, Run, TrainOptions, TrainSpec, checkpoints, reading, train
from foils.train.checkpoints import folder_of, newest
from foils.train.feeding import Feeder
from foils.train.guard.values import MILD
from foils.train.objective import Objective
from foils.train.student import open_student
from steps import ndcg, weights

FAST = TrainOptions(batch_size=16, learning_rate=0.3, epochs=6, dev_share=0.2)


def text_of(shown):
    out = console()
    with out.capture() as captured:
        out.print(shown)
    return " ".join(captured.get().split())


@pytest.fixture(scope="module")
def finished(learnable, static_path, tmp_path_factory):
    """One plain run; tests must not change it."""
    before = weights(static_path)
    spec, out = TrainSpec(notes={"recipe": "mine: nothing"}), tmp_path_factory.mktemp("runs") / "plain"
    run = train(learnable, spec, str(static_path), out=out, options=FAST)
    np.testing.assert_array_equal(weights(static_path), before)
    return run


@pytest.fixture
def forbidden(monkeypatch):
    """No training step may happen."""

    def forward(self, features, ids):
        raise AssertionError("a training step")

    monkeypatch.setattr(Objective, "forward", forward)


def interrupt(monkeypatch, step):
    """Die in the forward pass after that many of them, as an exception would end a run."""
    forward, seen = Objective.forward, []

    def counting(self, features, ids):
        seen.append(1)
        if len(seen) > step:
            raise KeyboardInterrupt
        return forward(self, features, ids)

    monkeypatch.setattr(Objective, "forward", counting)


def test_it_learns_what_generalises(learnable, static_path, finished):
    assert finished.curve[0]["nDCG@10"] < 0.1
    assert finished.metrics["nDCG@10"] > 0.4
    assert ndcg(learnable, finished.model) > ndcg(learnable, static_path) + 0.3


def test_the_result_is_a_plain_model_and_a_record(finished):
    assert sorted(path.name for path in finished.out.iterdir()) == ["model", "run.json"]
    record = json.loads((finished.out / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["settings"]["recipe"]["loss"] == InfoNCE().full()
    assert record["settings"]["options"]["batch_size"] == 16
    assert record["notes"] == {"recipe": "mine: nothing", "guard": repr(MILD)}
    assert record["counts"]["dev"]["held_out"] + record["counts"]["train"]["queries"] == 180
    assert finished.steps == 6 * record["counts"]["updates_per_epoch"]
    assert [point["step"] for point in finished.curve] == list(range(0, finished.steps + 1, finished.steps // 6))
    assert finished.best_step == max(finished.curve[1:], key=lambda point: point["nDCG@10"])["step"]
    assert "dev nDCG@10" in repr(finished)
    assert "foils" in (finished.model / "README.md").read_text()


def test_a_finished_run_says_so_and_trains_nothing(learnable, static_path, finished, forbidden):
    again = train(learnable, TrainSpec(), str(static_path), out=finished.out, options=FAST)
    assert again.found_finished
    assert "was finished already" in repr(again)
    assert Run.open(finished.out).record == finished.record


def test_same_seed_same_weights_other_seed_other_weights(learnable, static_path, finished, tmp_path):
    random.seed(77)
    torch.manual_seed(77)
    loaded = SentenceTransformer(str(static_path), device="cpu")
    again = train(learnable, TrainSpec(), loaded, out=tmp_path / "again", options=FAST)
    np.testing.assert_array_equal(weights(again.model), weights(finished.model))
    assert again.curve == finished.curve
    np.testing.assert_array_equal(loaded.state_dict()["0.embedding.weight"].numpy().ravel(), weights(static_path))
    other = train(learnable, TrainSpec(), str(static_path), out=tmp_path / "other", seed=1, options=FAST)
    assert not np.array_equal(weights(other.model), weights(finished.model))


def test_other_settings_are_refused_by_name(learnable, static_path, finished, tmp_path, forbidden):
    def again(spec=None, model=static_path, seed=0, options=FAST):
        train(learnable, spec or TrainSpec(), str(model), out=finished.out, seed=seed, options=options)

    with pytest.raises(StoreError, match=r"seed is 0 there and 1 now"):
        again(seed=1, options=replace(FAST, dev_share=0.2))
    with pytest.raises(StoreError, match=r"options.epochs is 6 there and 2 now; options.batch_size is 16 there"):
        again(options=replace(FAST, batch_size=8, epochs=2))
    with pytest.raises(StoreError, match=r"recipe.contrast is 'InBatch\(\)' there and 'Own\(\)' now"):
        again(TrainSpec(contrast=Own()))
    queries = learnable.query_rows("train")
    with pytest.raises(StoreError, match="negatives is None there"):
        again(TrainSpec(negatives=Pairs.build(queries, np.full(len(queries), 140))))
    changed = SentenceTransformer(str(static_path), device="cpu")
    changed[0].embedding.weight.data[3] += 1
    changed.save_pretrained(str(tmp_path / "changed"), create_model_card=False)
    with pytest.raises(StoreError, match="model is "):
        again(model=tmp_path / "changed")
    again(options=replace(FAST, report_to=("none",)))


def test_a_run_folder_is_a_model(finished):
    state = load_model(finished.out).state_dict()
    np.testing.assert_array_equal(
        np.concatenate([tensor.numpy().ravel() for tensor in state.values()]), weights(finished.model)
    )


def test_a_folder_with_something_else_is_refused(learnable, static_path, tmp_path, forbidden):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="not a training run"):
        train(learnable, TrainSpec(), str(static_path), out=tmp_path, options=FAST)
    (tmp_path / "mined" / "negatives").mkdir(parents=True)
    with pytest.raises(AssertionError, match="a training step"):
        train(learnable, TrainSpec(), str(static_path), out=tmp_path / "mined", options=FAST)
    with pytest.raises(StoreError, match="no training run here"):
        Run.open(tmp_path / "nowhere")


# Steps of 2 batches; 9 or 10 steps an epoch: cut off within the first epoch, and in the second after a checkpoint at
# its very start.
@pytest.mark.parametrize(("save_every", "batches"), [(3, 11), (5, 23)])
def test_resumed_is_uninterrupted(learnable, transformer_path, tmp_path, monkeypatch, save_every, batches):
    options = TrainOptions(
        batch_size=8, learning_rate=1e-2, max_steps=16, gradient_accumulation=2, save_every=save_every, dev_share=0.15
    )
    rows = learnable.query_rows("train")
    negatives = Pairs.build(np.repeat(rows, 4), np.tile(np.arange(100, 104), len(rows)))
    spec = TrainSpec(negatives=negatives)

    def go(name):
        return train(learnable, spec, str(transformer_path), out=tmp_path / name, seed=5, options=options)

    whole = go("whole")
    with monkeypatch.context() as patch:
        interrupt(patch, batches)
        with pytest.raises(KeyboardInterrupt):
            go("cut")
    reached = newest(tmp_path / "cut")
    assert reached is not None
    # What a kill in the middle of saving leaves: a newer folder without its last files.
    half = folder_of(tmp_path / "cut", 15)
    shutil.copytree(reached, half)
    (half / "complete.json").unlink()
    (half / "trainer_state.json").unlink()
    cut = go("cut")
    assert cut.record["resumed"]
    assert cut.steps == whole.steps == 16
    np.testing.assert_array_equal(weights(cut.model), weights(whole.model))
    assert cut.curve == whole.curve


KILLED = """
import sys, foils
from foils.train import TrainOptions, TrainSpec, train
data, model, out = sys.argv[1:]
options = TrainOptions(batch_size=8, learning_rate=0.1, max_steps=200, save_every=10, evaluate_every=30)
train(foils.load(data), TrainSpec(), model, out=out, options=options)
"""


@pytest.mark.slow
def test_kill_9_then_the_same_command_again(learnable, learnable_path, static_path, tmp_path):
    command = [sys.executable, "-c", KILLED, str(learnable_path), str(static_path), str(tmp_path / "killed")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while newest(tmp_path / "killed") is None and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()
    assert json.loads((tmp_path / "killed" / "run.json").read_text())["status"] == "running"
    options = TrainOptions(batch_size=8, learning_rate=0.1, max_steps=200, save_every=10, evaluate_every=30)
    with pytest.raises(StoreError, match="not finished"):
        Run.open(tmp_path / "killed")
    runs = [
        train(learnable, TrainSpec(), str(static_path), out=tmp_path / name, options=options)
        for name in ("killed", "whole")
    ]
    assert [run.record["resumed"] for run in runs] == [True, False]
    assert [run.steps for run in runs] == [200, 200]
    np.testing.assert_array_equal(*(weights(run.model) for run in runs))
    assert runs[0].curve == runs[1].curve


def test_a_crash_after_the_last_step_is_made_good_without_training(
    learnable, static_path, tmp_path, monkeypatch, finished
):
    def full_disk(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("foils.train.loop.model_card", full_disk)
        with pytest.raises(OSError, match="disk full"):
            train(learnable, TrainSpec(), str(static_path), out=tmp_path / "run", options=FAST)
    interrupt(monkeypatch, 0)
    run = train(learnable, TrainSpec(), str(static_path), out=tmp_path / "run", options=FAST)
    np.testing.assert_array_equal(weights(run.model), weights(finished.model))
    assert sorted(path.name for path in run.out.iterdir()) == ["model", "run.json"]


def test_patience_stops_and_the_best_weights_are_taken(learnable, static_path, tmp_path):
    # With a tiny rate nothing moves, so the first look stays the best.
    options = replace(FAST, learning_rate=1e-9, epochs=50, patience=2)
    run = train(learnable, TrainSpec(), str(static_path), out=tmp_path / "run", options=options)
    first = run.record["counts"]["updates_per_epoch"]
    assert run.steps == 3 * first
    assert run.best_step == first


def test_without_dev_the_last_weights_are_taken(learnable, static_path, tmp_path):
    options = replace(FAST, dev_share=0, epochs=None, max_steps=7, save_every=3)
    run = train(learnable, TrainSpec(), str(static_path), out=tmp_path / "run", options=options)
    assert (run.steps, run.best_step, run.curve, run.metrics) == (7, 7, [], {})
    assert run.record["counts"]["train"]["queries"] == 180
    assert "7 steps)" in repr(run)


def test_evaluates_and_saves_when_told(learnable, static_path, tmp_path, monkeypatch):
    saved = []
    mark = checkpoints.mark
    monkeypatch.setattr(checkpoints, "mark", lambda folder: (saved.append(folder.name), mark(folder)))
    options = replace(FAST, epochs=None, max_steps=10, evaluate_every=4, save_every=5, learning_rate=1e-9)
    run = train(learnable, TrainSpec(), str(static_path), out=tmp_path / "run", options=options)
    assert [point["step"] for point in run.curve] == [0, 4, 8, 10]
    # 4 because it is the best so far, 5 and 10 because of save_every.
    assert saved == ["checkpoint-4", "checkpoint-5", "checkpoint-10"]


def spy_on_batches(monkeypatch):
    seen = []
    feed = Feeder.__call__

    def spying(self, chosen, *, watched=False):
        features, ids = feed(self, chosen, watched=watched)
        seen.append((self, {name: ids[name].numpy() for name in ids if name not in ("saved", "ranks")}))
        return features, ids

    monkeypatch.setattr(Feeder, "__call__", spying)
    return seen


def test_no_known_positive_is_ever_a_negative_and_no_text_comes_twice(data, static_path, tmp_path, monkeypatch):
    """On the untidy collection: several positives per query, copies of documents, negatives that are positives."""
    seen = spy_on_batches(monkeypatch)
    train_rows = data.query_rows("train")
    everything = np.arange(0, len(data.corpus), 3)
    negatives = Pairs.build(np.repeat(train_rows, len(everything)), np.tile(everything, len(train_rows)))
    options = TrainOptions(batch_size=8, epochs=2, negatives_per_row=3, dev_share=0.2)
    run = train(data, TrainSpec(negatives=negatives), str(static_path), out=tmp_path / "run", options=options)
    assert run.record["counts"]["train"]["negatives_that_are_positives"] > 0
    positives = data.positives("train")
    known = set(zip(positives.query.tolist(), positives.doc.tolist(), strict=True))
    texts = [" ".join(text.casefold().split()) for text in data.corpus.texts()]
    queries, negatives_seen = set(), 0
    for _, ids in seen:
        asked = ids["queries"][ids["at"]].tolist()
        queries |= set(asked)
        here = [texts[doc] for doc in ids["docs"]]
        assert len(set(here)) == len(here)
        assert len(set(ids["queries"].tolist())) == len(ids["queries"])
        for row, query in enumerate(asked):
            assert (query, int(ids["docs"][ids["target"][row]])) in known
            assert ids["own"][row].sum() <= 4
            for column, doc in enumerate(ids["docs"].tolist()):
                assert (ids["label"][row, column] == 1) == ((query, doc) in known)
                negatives_seen += bool(ids["own"][row, column]) and (query, doc) not in known
    assert negatives_seen > 100
    held = set(train_rows.tolist()) - queries
    assert len(held) == run.record["counts"]["dev"]["held_out"] > 0


def test_rows_share_an_epoch_once_each(learnable, static_path, tmp_path, monkeypatch):
    seen = spy_on_batches(monkeypatch)
    train(learnable, TrainSpec(), str(static_path), out=tmp_path / "run", options=replace(FAST, epochs=2, dev_share=0))
    asked = np.concatenate([ids["queries"][ids["at"]] for _, ids in seen])
    first, second = np.split(asked, 2)
    assert sorted(first) == sorted(second) == learnable.query_rows("train").tolist()
    assert first.tolist() != second.tolist()


def test_own_negatives_alone_teach_too(learnable, static_path, tmp_path):
    rows = learnable.query_rows("train")
    rng = np.random.default_rng(0)
    negatives = Pairs.build(np.repeat(rows, 8), rng.integers(0, 150, 8 * len(rows)))
    spec = TrainSpec(contrast=Own(), loss=0.5 * InfoNCE() + 0.5 * InfoNCE(temperature=0.1), negatives=negatives)
    run = train(learnable, spec, str(static_path), out=tmp_path / "run", options=FAST)
    assert run.metrics["nDCG@10"] > 0.3


def test_own_without_negatives_moves_nothing(learnable, static_path, tmp_path):
    spec = TrainSpec(contrast=Own())
    run = train(learnable, spec, str(static_path), out=tmp_path / "run", options=replace(FAST, epochs=1))
    np.testing.assert_array_equal(weights(run.model), weights(static_path))
    assert "nothing was learnt" in text_of(trained(Trained(run, None)))


def test_the_result_of_a_run_that_learnt_says_no_such_thing(finished):
    assert "nothing was learnt" not in text_of(trained(Trained(finished, None)))


def test_integrations_that_are_not_there_are_refused_by_name(learnable, static_path, tmp_path, monkeypatch):
    def missing():
        raise RuntimeError("It requires a package.")

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "tensorboard", missing)
    assert TrainOptions.read({"report_to": "nonsense"}) == TrainOptions(report_to=("nonsense",))
    for name in ("nonsense", "tensorboard"):
        with pytest.raises(SpecError, match=rf"report_to=\('{name}',\): .*leave report_to out"):
            train(
                learnable, TrainSpec(), str(static_path), out=tmp_path / name, options=replace(FAST, report_to=(name,))
            )


def test_transformer_with_prompts_in_bf16(learnable, transformer_path, tmp_path):
    options = TrainOptions(batch_size=16, learning_rate=3e-3, epochs=2, precision="bf16", dev_share=0.2)
    run = train(learnable, TrainSpec(), str(transformer_path), out=tmp_path / "run", options=options)
    assert run.record["settings"]["options"]["max_length"] == 128
    model = SentenceTransformer(str(run.model), device="cpu")
    assert model.prompts["query"] == "d1 d2 "
    assert model.max_seq_length == 32
    assert next(model.parameters()).dtype == torch.float32
    assert not np.array_equal(weights(run.model), weights(transformer_path))


def test_half_precision_without_a_gpu_is_refused(learnable, static_path, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SpecError, match="needs a GPU"):
        train(learnable, TrainSpec(), str(static_path), out=tmp_path / "run", options=TrainOptions(precision="fp16"))


@pytest.mark.parametrize("kind", ["query", "document"])
@pytest.mark.parametrize("which", ["static_path", "transformer_path"])
def test_training_sees_what_encoding_sees(kind, which, request):
    """Same prompt, same tokens: the forward pass of training gives the vectors of the encoder."""
    path = request.getfixturevalue(which)
    given = SentenceEncoder(SentenceTransformer(str(path), device="cpu"), query_prompt="q3 q4 ")
    student = open_student(given)
    texts = ["q1 d2 q3", "d7", "q9 q8 " * 30]
    student.model.eval()
    vectors = student.model(student.features(texts, kind, 12 if which == "transformer_path" else None))
    limited = SentenceEncoder(
        given.model, query_prompt="q3 q4 ", max_length=12 if which == "transformer_path" else None
    )
    expected = limited.encode(texts, kind)
    got = torch.nn.functional.normalize(vectors["sentence_embedding"], dim=1).detach().numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert given.model.prompts.get("query") != "q3 q4 ", "the model that was given is not changed"


@pytest.mark.parametrize("given", [None, "", "d5 "])
def test_a_prompt_called_passage_is_seen_and_can_be_replaced(static_path, given):
    model = SentenceTransformer(str(static_path), device="cpu")
    model.prompts["passage"] = "d1 d2 "
    student = open_student(SentenceEncoder(model, document_prompt=given))
    shown = student.features(["d7"], "document", None)["input_ids"].tolist()
    prompt = "d1 d2 " if given is None else given
    assert shown == model.preprocess([f"{prompt}d7"])["input_ids"].tolist()
    saved = student.model.encode_document(["d7"])
    np.testing.assert_allclose(saved, model.encode([f"{prompt}d7"]), atol=1e-6)


@pytest.mark.parametrize("bound", [0, 30, 10_000])
def test_remembered_tokens_are_those_of_the_texts(learnable, static_path, monkeypatch, bound):
    monkeypatch.setattr(reading, "KEPT", bound)
    monkeypatch.setattr(reading, "_FIRST", 4)
    student = open_student(str(static_path))
    reader = reading.Reader(student, learnable.queries, "query", None)
    for rows in ([3, 1, 4], [1, 5, 9, 2], [6, 5, 3], [1]):
        rows = np.array(rows, np.int32)
        got = reader.features(rows)
        expected = student.features(learnable.queries.texts(rows), "query", None)
        assert got.keys() == expected.keys()
        assert all(torch.equal(got[name], expected[name]) for name in got)


def test_what_cannot_be_trained(learnable, static_path, tmp_path):
    distance = SentenceTransformer(str(static_path), device="cpu")
    distance.similarity_fn_name = "euclidean"
    for model, message in ((distance, "distance"), (lambda texts: np.ones((len(texts), 3)), "can be trained")):
        with pytest.raises(ModelError, match=message):
            train(learnable, TrainSpec(), model, out=tmp_path / "run", options=FAST)
    with pytest.raises(ModelError, match="any length"):
        train(learnable, TrainSpec(), str(static_path), out=tmp_path / "run", options=replace(FAST, max_length=64))
    with pytest.raises(DataError, match="no split"):
        train(learnable, TrainSpec(split="trian"), str(static_path), out=tmp_path / "run", options=FAST)
    assert not (tmp_path / "run").exists()


def test_dot_product_models_are_compared_by_dot_product(static_path):
    model = SentenceTransformer(str(static_path), device="cpu")
    model.similarity_fn_name = "dot"
    student = open_student(model)
    objective = Objective(student, InBatch(), InfoNCE(temperature=1.0))
    queries, docs = ["q1 q2", "q3"], ["d1", "d2 d3", "d4"]
    features = [student.features(queries, "query", None), student.features(docs, "document", None)]
    label = torch.tensor([[1, 0, 0], [0, 0, 1]], dtype=torch.int8)
    ids = {"queries": torch.arange(2), "docs": torch.arange(3), "at": torch.arange(2), "target": torch.tensor([0, 2])}
    loss = objective(features, ids | {"label": label, "own": label.bool(), "known": torch.tensor([[0], [2]])})
    scores = torch.from_numpy(model.encode(queries)) @ torch.from_numpy(model.encode(docs)).T
    expected = torch.nn.functional.cross_entropy(scores, torch.tensor([0, 2]))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("terminal", [False, True])
def test_the_process_is_left_as_it_was(learnable, static_path, tmp_path, capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    logging.getLogger("transformers").setLevel(logging.INFO)
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    expected = [random.random(), np.random.rand(), torch.rand(1).item()]
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    capsys.readouterr()
    train(learnable, TrainSpec(), str(static_path), out=tmp_path / "run", options=replace(FAST, epochs=1))
    assert [random.random(), np.random.rand(), torch.rand(1).item()] == expected
    assert logging.getLogger("transformers").level == logging.INFO
    written = capsys.readouterr()
    assert written.out == "", "standard output belongs to the caller"
    assert ("loss=" in written.err) == terminal
