"""Studies from their first arm to their last, on a small collection: what is run, what is kept, what is said."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import foils
from foils.core.errors import DataError, FoilsError, StoreError
from foils.evaluate import Settings, evaluate
from foils.evaluate.significance import over_seeds
from foils.study import Study, StudyOptions, compare, running
from foils.study.tables import rows
from foils.study.tasks import RESULT, Ground, Task
from foils.terminal import console
from study.conftest import QUICK, SHARP
from train.conftest import make_static

MAIN = "nDCG@10"


def options(**given):
    return StudyOptions(**{"seeds": 1, "budget": 6, "train": QUICK, "rounds": 200, **given})


def test_the_record_holds_what_others_read(study, words):
    record = json.loads((study.out / "study.json").read_text())
    assert record == Study.open(study.out).record
    assert (record["kind"], record["version"]) == ("foils study", 1)
    assert (record["data"], record["baseline"], record["steps"]) == (words.fingerprint, "in-batch", 20)
    assert [arm["name"] for arm in record["arms"]] == ["start", "in-batch", "bm25", "sharp"]
    assert [arm["seeds"] for arm in record["arms"]] == [[0], [0, 1], [0, 1], [0, 1]]
    assert [arm["steps"] for arm in record["arms"]] == [0, 20, 20, 20]
    for arm in record["arms"]:
        for measure in record["measures"]:
            reached = arm["scores"][measure]
            assert reached["value"] == pytest.approx(np.mean(reached["per_seed"]))
            assert reached["low"] <= reached["value"] <= reached["high"]
        assert (arm["recipe"] is None) == (arm["name"] == "start")
        others = {"start", "in-batch"} - {arm["name"]}
        assert set(arm["versus"]) == others
        assert arm["encoded"] == arm["work"]["queries"] + arm["work"]["documents"] > 0
    assert study["bm25"]["seconds"]["mine"] > 0
    assert study["bm25"]["pool"].startswith("bm25-")
    assert study["sharp"]["pool"] is None
    assert study["sharp"]["recipe"]["phases"][1]["mine"] == "Dense('student', k=20) >> SimANS(k=4, a=50.0)"
    assert study["in-batch"]["negatives"] is None
    assert set(record["pareto"]) <= {arm["name"] for arm in record["arms"]}
    assert record["pareto"][0] == "start"


def test_figures_are_those_of_the_runs(study, words):
    for arm in study.record["arms"]:
        for place, seed in enumerate(arm["seeds"]):
            run = study.out / "runs" / f"{arm['name']}-{seed}.trec"
            found = evaluate(words, run, measures=(MAIN, "R@100"), settings=Settings(rounds=1))
            assert found.mean(MAIN) == pytest.approx(arm["scores"][MAIN]["per_seed"][place])
            assert found.mean("R@100") == pytest.approx(arm["scores"]["R@100"]["per_seed"][place])


def test_differences_are_those_of_the_runs(study, words):
    per_query = {
        name: [
            evaluate(
                words, study.out / f"runs/{name}-{seed}.trec", measures=(MAIN,), settings=Settings(rounds=1)
            ).per_query[MAIN]
            for seed in range(2)
        ]
        for name in ("bm25", "in-batch")
    }
    expected = over_seeds(np.subtract(per_query["bm25"], per_query["in-batch"]), rounds=500)
    told = study["bm25"]["versus"]["in-batch"][MAIN]
    assert told["difference"] == pytest.approx(expected.mean)
    assert (told["low"], told["high"]) == pytest.approx((expected.interval.low, expected.interval.high))


def test_the_true_rate_is_a_slow_count(study, words, start_path, tmp_path):
    mined = foils.mine(words, "BM25(k=100) >> NoAnswer() >> Top(k=1)", out=tmp_path / "neg").kept(words)
    known = {
        (q, d) for q, d in zip(*(getattr(words.positives("train_full"), s) for s in ("query", "doc")), strict=True)
    }
    negatives = [(q, d) for q, d, label in zip(mined.query, mined.doc, mined.label, strict=True) if label == 0]
    rate = study["bm25"]["rate"]
    assert rate["kind"] == "true"
    assert rate["negatives"] == 2 * len(negatives)
    assert rate["value"] == pytest.approx(np.mean([pair in known for pair in negatives]))
    assert rate["low"] <= rate["value"] <= rate["high"]
    assert study["in-batch"]["rate"]["kind"] == "none"


def test_tables_fit_and_hold_what_the_record_holds(study):
    out = console(io.StringIO())
    out.print(study)
    shown = out.file.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    for text in ("(baseline)", "false negatives", "2 seeds of 20 steps", "what this says", study.advice[0][:40]):
        assert text in shown
    with (study.out / "table.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["arm"] for row in read] == [arm["name"] for arm in study.record["arms"]]
    assert float(read[2][MAIN]) == study["bm25"]["scores"][MAIN]["value"]
    assert float(read[2][f"{MAIN} holm"]) == study["bm25"]["versus"]["in-batch"][MAIN]["holm"]
    assert list(read[0]) == list(rows(study.record)[0])
    tex = (study.out / "table.tex").read_text()
    assert tex.count("\\\\") == 5
    assert "in-batch & " in tex
    with pytest.raises(KeyError):
        study["nobody"]


def test_given_again_nothing_is_run_and_nothing_changes(study, words, start_path, here):
    before = (study.out / "study.json").read_bytes()
    again = compare(
        words,
        ["in-batch", "bm25", SHARP],
        start_path,
        out=study.out,
        options=options(seeds=2, budget=20, labels="train_full", rounds=500),
    )
    assert here == []
    assert (study.out / "study.json").read_bytes() == before
    assert again.record == study.record


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": {}}'])
def test_a_damaged_plan_is_refused_by_name(text, words, start_path, tmp_path):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(StoreError, match=r"plan\.json: damaged"):
        compare(words, ["in-batch"], start_path, out=tmp_path, options=options())


def test_an_arm_or_a_seed_more_runs_only_that(words, start_path, here, tmp_path):
    compare(words, ["in-batch"], start_path, out=tmp_path / "s", options=options())
    assert here == ["start-0", "in-batch-0"]
    del here[:]
    more = compare(words, ["random"], start_path, out=tmp_path / "s", options=options())
    assert here == ["random-0"]
    assert [arm["name"] for arm in more.record["arms"]] == ["start", "in-batch", "random"]
    assert more.record["baseline"] == "in-batch"
    del here[:]
    more = compare(words, ["in-batch", "random"], start_path, out=tmp_path / "s", options=options(seeds=2))
    assert here == ["in-batch-1", "random-1"]
    assert more["random"]["seeds"] == [0, 1]
    del here[:]
    refused = "random=in-batch"
    with pytest.raises(StoreError, match="arm 'random' has another recipe"):
        compare(words, [refused], start_path, out=tmp_path / "s", options=options())
    with pytest.raises(StoreError, match=r"other settings: budget is \['steps', 6.0\] there and \['steps', 7.0\] now"):
        compare(words, ["random"], start_path, out=tmp_path / "s", options=options(budget=7))
    with pytest.raises(StoreError, match="not a study"):
        compare(words, ["random"], start_path, out=tmp_path / "s" / "arms", options=options())
    assert here == []


def test_other_weights_under_the_same_name_are_no_part_of_the_study(words, start_path, here, tmp_path):
    model, guide = (str(shutil.copytree(start_path, tmp_path / name)) for name in ("model", "guide"))
    guided = {"name": "guided", "mine": "Dense('guide', k=9) >> Top(k=2)", "encoders": {"guide": guide}}
    compare(words, ["in-batch", guided], model, out=tmp_path / "s", options=options(budget=2))
    plan = tmp_path / "s" / "plan.json"
    before = plan.read_bytes()
    del here[:]

    def refuses(changed, *arms):
        with pytest.raises(StoreError, match=f"model '{changed}' has other files than .* put its files back"):
            compare(words, ["in-batch", *arms], model, out=tmp_path / "s", options=options(budget=2))
        assert (here, plan.read_bytes()) == ([], before)

    shutil.rmtree(guide)
    make_static(guide, seed=1)
    compare(words, ["in-batch"], model, out=tmp_path / "s", options=options(budget=2))  # which does not take it
    refuses(guide, guided)
    refuses(guide, {**guided, "name": "more", "mine": "Dense('guide', k=8) >> Top(k=1)"})
    shutil.rmtree(model)
    make_static(model, seed=1)
    refuses(model, "random")
    (tmp_path / "model" / "README.md").write_text("the same, described")
    shutil.copytree(start_path, model, dirs_exist_ok=True)
    compare(words, ["in-batch"], model, out=tmp_path / "s", options=options(budget=2))
    assert here == []


def test_a_study_that_kept_no_digests_goes_on_with_its_start_model_alone(words, start_path, here, tmp_path):
    model = str(shutil.copytree(start_path, tmp_path / "model"))
    compare(words, ["in-batch"], model, out=tmp_path / "s", options=options(budget=2))
    path = tmp_path / "s" / "plan.json"
    plan = json.loads(path.read_text())
    kept = plan.pop("models")
    path.write_text(json.dumps(plan))
    compare(words, ["in-batch"], model, out=tmp_path / "s", options=options(budget=2))
    assert json.loads(path.read_text())["models"] == kept
    assert here == ["start-0", "in-batch-0"]
    path.write_text(json.dumps(plan))
    shutil.rmtree(model)
    make_static(model, seed=1)
    with pytest.raises(StoreError, match="has other weights than"):
        compare(words, ["in-batch", "random"], model, out=tmp_path / "s", options=options(budget=2))
    assert here == ["start-0", "in-batch-0"]


def test_models_that_are_gone_are_not_kept_in_silence(words, start_path, here, tmp_path):
    out = tmp_path / "s"
    compare(words, ["in-batch", "random"], start_path, out=out, options=options(budget=2))
    plan = (out / "plan.json").read_bytes()
    del here[:]
    keeping = options(budget=2, keep_models=True)
    with pytest.raises(StoreError, match=r"without keep_models: .*/in-batch/0, .*/random/0\. Remove these folders"):
        compare(words, ["in-batch", "random", "bm25"], start_path, out=out, options=keeping)
    assert (here, (out / "plan.json").read_bytes()) == ([], plan)
    compare(words, ["more=random"], start_path, out=out, options=keeping)  # asks nothing of the others
    shutil.rmtree(out / "arms/in-batch/0")
    compare(words, ["in-batch"], start_path, out=out, options=keeping)
    assert here == ["more-0", "in-batch-0"]
    assert all((out / "arms" / name / "0/model/model.safetensors").exists() for name in ("in-batch", "more"))


def test_test_queries_decide_nothing(words, start_path, here, tmp_path):
    """With half of the test queries the same weights come out."""
    half = words.query_rows("test")[::2]
    fewer = words.subset({"train": ("train", words.query_rows("train")), "test": ("test", half)})
    whole = words.subset({s: (s, words.query_rows(s)) for s in ("train", "test")})
    weights = []
    for name, data in (("whole", whole), ("fewer", fewer)):
        made = compare(data, [SHARP], start_path, out=tmp_path / name, options=options(keep_models=True))
        weights.append((tmp_path / name / "arms/sharp/0/model/model.safetensors").read_bytes())
        assert made.record["baseline"] == "sharp"
    assert made.record["queries"] == len(half)
    assert weights[0] == weights[1]


def test_shared_candidates_change_nothing(words, start_path, here, tmp_path):
    arms = ["in-batch", "simans", "deep=simans"]
    shared = compare(words, arms, start_path, out=tmp_path / "shared", options=options())
    assert here.count("pool-0") == 1
    assert shared["simans"]["pool"] == shared["deep"]["pool"]
    assert shared["simans"]["seconds"]["shared"] > 0
    alone = compare(words, ["in-batch", "simans"], start_path, out=tmp_path / "alone", options=options())
    assert alone.record["shared"] == []
    runs = [(tmp_path / name / "runs" / "simans-0.trec").read_text() for name in ("shared", "alone")]
    assert runs[0] == runs[1]


def test_an_arm_that_searched_for_itself_is_not_charged_for_a_pool_made_later(words, start_path, here, tmp_path):
    alone = compare(words, ["in-batch", "simans"], start_path, out=tmp_path / "s", options=options())
    made = compare(
        words, ["in-batch", "simans", "deep=simans"], start_path, out=tmp_path / "s", options=options(seeds=2)
    )
    assert here.count("pool-0") == 1
    place = tmp_path / "s" / "pools" / made["deep"]["pool"] / RESULT
    pool = json.loads(place.read_text())["seconds"]["mine"]
    results = [json.loads((tmp_path / f"s/arms/simans/{seed}" / RESULT).read_text()) for seed in range(2)]
    assert [result["pool"] for result in results] == [None, made["deep"]["pool"]]
    assert results[0]["seconds"]["mine"] == pytest.approx(alone["simans"]["seconds"]["mine"], abs=0.01)
    assert made["simans"]["seconds"]["shared"] == pytest.approx(pool / 2, abs=0.01)
    assert made["deep"]["seconds"]["shared"] == pytest.approx(pool, abs=0.01)
    assert alone["simans"]["pool"] is None
    fewer = compare(words, ["in-batch", "deep=simans"], start_path, out=tmp_path / "s", options=options(seeds=2))
    assert fewer["simans"]["seconds"] == made["simans"]["seconds"]


def test_results_that_do_not_tell_of_a_pool_are_charged_as_before(words, start_path, here, tmp_path):
    made = compare(words, ["in-batch", "simans"], start_path, out=tmp_path / "s", options=options(seeds=2))
    for place in (tmp_path / "s" / "arms" / "simans").glob("*/result.json"):
        result = json.loads(place.read_text())
        del result["pool"], result["seconds"]["shared"]
        place.write_text(json.dumps(result))
    again = compare(words, ["in-batch", "simans"], start_path, out=tmp_path / "s", options=options(seeds=2))
    assert again["simans"]["seconds"]["shared"] > 0
    assert again.record == made.record


def other_main(name, **warm):
    main = {"name": "main", "share": 0.5, "mine": "BM25(k=9) >> Top(k=2)"}
    return {"name": name, "phases": [{"name": "warm", "share": 0.5, **warm}, main]}


def test_a_shared_first_phase_changes_nothing(words, start_path, here, tmp_path):
    warm = {"mine": "Dense('student', k=20) >> Top(k=2)", "rate": 0.5}
    arms = [other_main("one", **warm), {**SHARP, "phases": [{**SHARP["phases"][0], **warm}, SHARP["phases"][1]]}]
    given = {"keep_models": True, "seeds": 2, "budget": 8}
    shared = compare(words, arms, start_path, out=tmp_path / "shared", options=options(**given))
    assert here[1:] == ["one-0 begins", "one-0", "one-1 begins", "one-1", "sharp-0", "sharp-1"]
    assert not (tmp_path / "shared" / "beginnings").exists()
    for arm in arms:
        alone = compare(words, [arm], start_path, out=tmp_path / arm["name"], options=options(**given))
        name = arm["name"]
        for seed in range(2):
            for file in (f"runs/{name}-{seed}.trec", f"arms/{name}/{seed}/model/model.safetensors"):
                assert (tmp_path / "shared" / file).read_bytes() == (tmp_path / name / file).read_bytes()
            told = Path("arms", name, str(seed), RESULT)
            both = [json.loads((tmp_path / out / told).read_text()) for out in ("shared", name)]
            assert both[0]["curve"] == both[1]["curve"]
            assert (both[0]["steps"], both[0]["identity"]) == (both[1]["steps"], both[1]["identity"])
        assert shared[name]["scores"] == alone[name]["scores"]
    first = json.loads((tmp_path / "shared/arms/sharp/0" / RESULT).read_text())
    assert first["work"]["documents"] >= len(words.corpus) * 2  # once with the start model, once with the warm one
    assert "begins" not in " ".join(here[7:])


def test_the_costs_of_a_shared_first_phase_are_each_arms(words, start_path, here, tmp_path, monkeypatch):
    real = running.in_a_process

    def dear(task, cache, tell):
        real(task, cache, tell)
        if task.first:
            file = task.place / RESULT
            told = json.loads(file.read_text())
            told |= {"wall": 1000.0, "memory_mb": 9e6, "work": {**told["work"], "calls": 5000}}
            file.write_text(json.dumps(told))

    monkeypatch.setattr(running, "in_a_process", dear)
    made = compare(words, [other_main("one"), SHARP], start_path, out=tmp_path / "s", options=options())
    for name in ("one", "sharp"):
        assert made[name]["seconds"]["total"] > 1000
        assert made[name]["memory_mb"] == 9e6
        assert made[name]["work"]["calls"] > 5000


def test_a_first_phase_that_cannot_be_shared_is_trained_in_each_arm(words, start_path, here, tmp_path, monkeypatch):
    real = running.in_a_process

    def failing(task, cache, tell):
        if task.first:
            raise FoilsError("its process was ended by SIGKILL.")
        real(task, cache, tell)

    monkeypatch.setattr(running, "in_a_process", failing)
    made = compare(words, [other_main("one"), SHARP], start_path, out=tmp_path / "s", options=options())
    assert (here[1:], made.failed) == (["one-0", "sharp-0"], {})


def test_an_arm_that_fails_takes_no_other_with_it(words, start_path, here, tmp_path, monkeypatch):
    real = running.in_a_process

    def failing(task, cache, tell):
        if task.arm is not None and task.arm.name == "random":
            raise FoilsError("its process was ended by SIGKILL.")
        real(task, cache, tell)

    monkeypatch.setattr(running, "in_a_process", failing)
    made = compare(words, ["in-batch", "random"], start_path, out=tmp_path / "s", options=options())
    assert made.failed == {"random": "its process was ended by SIGKILL."}
    assert [arm["name"] for arm in made.record["arms"]] == ["start", "in-batch"]
    assert made.advice[-1] == "Not finished: random. The same command tries again."
    monkeypatch.setattr(running, "in_a_process", real)
    del here[:]
    made = compare(words, ["in-batch", "random"], start_path, out=tmp_path / "s", options=options())
    assert (here, made.failed) == (["random-0"], {})
    monkeypatch.setattr(running, "in_a_process", failing)
    with pytest.raises(StoreError, match="baseline 'random' could not be finished"):
        compare(words, ["random"], start_path, out=tmp_path / "t", options=options())


STUDY = """
import os, signal, sys
import foils
from foils.study import StudyOptions, compare, running, tasks

def carry_out(task, cache, tell):
    os.environ["FOILS_CACHE"] = str(cache)
    if task.arm is not None and task.arm.name == "bm25":
        real = tasks._measure
        def measure(*given):  # trained, and not measured yet
            os.kill(os.getpid(), signal.SIGKILL)
        tasks._measure = measure
    tasks.carry_out(task, tell)

running.in_a_process = carry_out
data, model, out = sys.argv[1:]
train = {"batch_size": 16, "learning_rate": 0.05, "dev_share": 0.1}
options = StudyOptions(seeds=1, budget=6, train=train, rounds=200)
compare(foils.load(data), ["in-batch", "bm25"], model, out=out, options=options)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_study_loses_one_arm_at_most(words_path, words, start_path, here, tmp_path):
    given = [sys.executable, "-c", STUDY, str(words_path), start_path, str(tmp_path / "s")]
    ended = subprocess.run(given, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    there = tmp_path / "s" / "arms" / "in-batch" / "0" / RESULT
    written = there.stat().st_mtime_ns
    assert not (tmp_path / "s" / "arms" / "bm25" / "0" / RESULT).exists()
    made = compare(words, ["in-batch", "bm25"], start_path, out=tmp_path / "s", options=options())
    assert here == ["bm25-0"]
    assert there.stat().st_mtime_ns == written
    whole = compare(words, ["in-batch", "bm25"], start_path, out=tmp_path / "whole", options=options())
    for arm in ("in-batch", "bm25"):
        assert made[arm]["scores"] == whole[arm]["scores"]
        assert made[arm]["versus"] == whole[arm]["versus"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_process_has_memory_and_an_end_of_its_own(words, start_path, tmp_path, cache):
    ground = Ground(words, start_path, "train", "test", None, (MAIN,), QUICK, False)
    task = Task(ground, tmp_path / "arms/start/0", tmp_path / "runs/start-0.trec", budget=("steps", 9))
    held = np.ones(300 << 20, np.uint8)  # of this process, which is not the other's
    told: list = []
    running.in_a_process(task, cache, lambda *said: told.append(said))
    report = running.read_result(task.place)
    assert report["steps"] == 9
    assert 100 < report["memory_mb"] < _resident()
    assert held.all()
    worker = subprocess.Popen([sys.executable, "-m", "foils.study.worker"], stdin=subprocess.PIPE, env=_environment())
    pickle.dump(replace(task, place=tmp_path / "left"), worker.stdin)
    worker.stdin.close()  # as when whoever began it was killed
    assert worker.wait(60) == 3
    assert running.read_result(tmp_path / "left") is None


def test_what_a_process_said_is_raised_again(words, start_path, tmp_path):
    ground = Ground(words, start_path, "train", "test", None, (MAIN,), QUICK, False)
    task = Task(ground, tmp_path / "0")
    task.place.mkdir()
    log = tmp_path / "0.log.txt"
    log.write_text("much\nTypeError: the last line\n")
    (task.place / "error.json").write_text('{"kind": "DataError", "message": "no split"}')
    assert isinstance(running._failure(task, 1, log), DataError)
    assert str(running._failure(task, 1, log)) == "no split"
    assert "ended by SIGKILL. Perhaps memory ran out" in str(running._failure(task, -9, log))
    assert "TypeError: the last line. Log: " in str(running._failure(task, 2, log))


def _environment():
    return {**os.environ, "PYTHONPATH": str(Path(foils.__file__).parent.parent)}


def _resident():
    return float(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) * 1024 / 1e6
