"""Dev queries, their measures, the curve, checkpoints and the options."""

from __future__ import annotations

import shutil

import ir_measures
import numpy as np
import pytest
from ir_measures import RR, nDCG

from foils.core.errors import SpecError
from foils.core.ragged import Lists
from foils.train import TrainOptions
from foils.train.checkpoints import folder_of, is_complete, mark, newest, prune
from foils.train.curve import best_step, curve_of, exhausted, spans_of
from foils.train.dev import HIGH, LOW, divide, look, make_dev, measures, per_query


@pytest.mark.parametrize("depth", [4, 10, 30])
def test_measures_are_those_of_ir_measures(depth):
    rng = np.random.default_rng(depth)
    queries, docs = 40, 60
    sizes = rng.integers(1, 15, queries)
    relevant = [np.sort(rng.choice(docs, size, replace=False)) for size in sizes]
    found = np.array([rng.choice(docs, depth, replace=False) for _ in range(queries)], np.int32)
    found[3, 2:] = -1
    got = measures(found, Lists(np.concatenate(([0], np.cumsum(sizes))), np.concatenate(relevant).astype(np.int32)))
    qrels = {f"q{i}": {f"d{d}": 1 for d in row} for i, row in enumerate(relevant)}
    run = {f"q{i}": {f"d{d}": float(-r) for r, d in enumerate(row) if d >= 0} for i, row in enumerate(found)}
    expected = ir_measures.calc_aggregate([nDCG @ 10, RR @ 10], qrels, run)
    assert got["nDCG@10"] == pytest.approx(expected[nDCG @ 10], abs=1e-9)
    assert got["RR@10"] == pytest.approx(expected[RR @ 10], abs=1e-9)


def test_a_look_has_the_interval_of_its_queries():
    rng = np.random.default_rng(1)
    relevant = Lists(np.arange(301, dtype=np.int64), rng.integers(0, 50, 300).astype(np.int32))
    found = np.argsort(rng.random((300, 50)), axis=1)[:, :10].astype(np.int32)
    got = look(found, relevant)
    values = per_query(found, relevant)["nDCG@10"]
    assert {name: got[name] for name in ("nDCG@10", "RR@10")} == measures(found, relevant)
    reach = 1.96 * values.std(ddof=1) / np.sqrt(300)
    assert (got[LOW], got[HIGH]) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=reach / 5)
    assert look(found, relevant) == got


def test_spans_are_read_where_a_look_has_them():
    log = [{"step": 0, "eval_nDCG@10": 0.2}, {"step": 5, "loss": 1.0}]
    log += [{"step": 5, "eval_nDCG@10": 0.3, f"eval_{LOW}": 0.25, f"eval_{HIGH}": 0.4}]
    assert spans_of(log) == [{"step": 5, "low": 0.25, "high": 0.4}]
    assert curve_of(log) == [{"step": 0, "nDCG@10": 0.2}, {"step": 5, "nDCG@10": 0.3}]


def test_queries_held_out_are_not_trained_on(learnable):
    stay, held, split = divide(learnable, "train", TrainOptions(dev_share=0.3), seed=0)
    assert split == "train"
    assert len(held) > 20
    assert not set(stay.tolist()) & set(held.tolist())
    assert sorted([*stay.tolist(), *held.tolist()]) == learnable.query_rows("train").tolist()


def test_a_dev_split_is_used_where_there_is_one(learnable):
    rows = learnable.query_rows("train")
    view = learnable.subset({"train": ("train", rows), "dev": ("train", rows[:30])})
    stay, held, split = divide(view, "train", TrainOptions(dev_share=0.3), seed=0)
    assert (split, held.tolist(), stay.tolist()) == ("dev", rows[:30].tolist(), rows[30:].tolist())
    assert not len(divide(view, "train", TrainOptions(dev_share=0), seed=0)[1])


def test_the_sample_is_bounded_and_has_all_positives(learnable):
    held = learnable.query_rows("train")[:60]
    dev = make_dev(learnable, "train", held, TrainOptions(dev_queries=20, dev_docs=40))
    assert len(dev.queries) == 20
    assert len(dev.docs) == 40
    assert set(dev.relevant.rows.tolist()) <= set(dev.docs.tolist())
    assert dev.relevant.sizes.tolist() == [1] * 20
    assert "copy" not in learnable.corpus.id_list(dev.docs), "one document for each distinct text"
    everything = make_dev(learnable, "train", held, TrainOptions(dev_docs=10_000))
    assert len(everything.docs) == len(learnable.corpus) - 1
    assert make_dev(learnable, "train", held[:0], TrainOptions()) is None


def points(*values):
    return [{"step": 10 * i, "nDCG@10": value} for i, value in enumerate(values)]


def test_best_step_is_a_trained_one_and_the_earliest_of_equals():
    assert best_step(points(0.9, 0.5, 0.7, 0.7)) == 20
    assert best_step(points(0.9)) is None
    assert best_step([]) is None


def test_patience_counts_looks_since_the_best():
    curve = points(0.1, 0.5, 0.4, 0.45)
    assert [exhausted(curve[:n], 2) for n in (1, 2, 3, 4)] == [False, False, False, True]
    assert not exhausted(curve, None)


def test_curve_from_the_log():
    log = [{"loss": 3.0, "step": 5}, {"eval_nDCG@10": 0.2, "eval_RR@10": 0.1, "eval_runtime": 9.0, "step": 10}]
    assert curve_of(log) == [{"step": 10, "nDCG@10": 0.2, "RR@10": 0.1}]


@pytest.fixture
def run_folder(tmp_path):
    for step in (10, 20, 30):
        folder = folder_of(tmp_path, step)
        (folder / "0_Static").mkdir(parents=True)
        (folder / "0_Static" / "weights").write_bytes(b"x" * step)
        (folder / "trainer_state.json").write_text("{}")
        mark(folder)
    (tmp_path / "checkpoint-of-mine").mkdir()
    return tmp_path


def damage_no_marker(folder):
    (folder / "complete.json").unlink()


def damage_half_a_marker(folder):
    text = (folder / "complete.json").read_text()
    (folder / "complete.json").write_text(text[: len(text) // 2])


def damage_truncated(folder):
    (folder / "0_Static" / "weights").write_bytes(b"x")


def damage_missing(folder):
    (folder / "trainer_state.json").unlink()


@pytest.mark.parametrize("damage", [damage_no_marker, damage_half_a_marker, damage_truncated, damage_missing])
def test_an_incomplete_checkpoint_does_not_count(run_folder, damage):
    assert newest(run_folder) == folder_of(run_folder, 30)
    damage(folder_of(run_folder, 30))
    assert not is_complete(folder_of(run_folder, 30))
    assert newest(run_folder) == folder_of(run_folder, 20)


def test_prune_keeps_what_it_is_told_and_strangers(run_folder):
    prune(run_folder, {10, 30})
    assert sorted(path.name for path in run_folder.iterdir()) == [
        "checkpoint-10",
        "checkpoint-30",
        "checkpoint-of-mine",
    ]
    shutil.rmtree(folder_of(run_folder, 30))
    assert newest(run_folder) == folder_of(run_folder, 10)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epoch": 3}, "Did you mean 'epochs'"),
        ({"zzz": 3}, "There is: epochs"),
        ({"epochs": 0}, "epochs=0 must be above 0"),
        ({"max_steps": 1.5}, "max_steps=1.5 must be a whole number or None"),
        ({"epochs": True}, "epochs=True must be"),
        ({"learning_rate": -1}, "learning_rate=-1.0 must be above 0"),
        ({"dev_share": 1}, "dev_share=1.0 must be at least 0 and below 1"),
        ({"precision": "half"}, "must be one of 'auto', 'float32'"),
        ({"report_to": 3}, "must be a text or a list of texts"),
    ],
)
def test_wrong_options_say_what_is_wrong(given, message):
    with pytest.raises(SpecError, match=message):
        TrainOptions.read(given)


def test_options_are_read_and_resolved():
    options = TrainOptions.read({"epochs": 3, "learning_rate": 1, "report_to": ["tensorboard"]})
    assert options == TrainOptions(epochs=3, learning_rate=1.0, report_to=("tensorboard",))
    static = options.resolved("static", on_cpu=True, precision="float32")
    assert (static.epochs, static.learning_rate, static.max_length) == (3, 1.0, None)
    assert TrainOptions().resolved("transformer", on_cpu=True, precision="float32").max_length == 128
    assert TrainOptions().resolved("transformer", on_cpu=False, precision="bf16").max_length is None
    assert TrainOptions(max_length=64).resolved("transformer", on_cpu=True, precision="bf16").max_length == 64
    assert "report_to" not in static.record()
