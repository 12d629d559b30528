"""What a study takes: arms, options, files; and what it refuses, before anything is run."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from foils.core.errors import DataError, ModelError, SpecError
from foils.recipe import load_recipe
from foils.study import StudyOptions, compare, read_study, running
from foils.study.arms import arms_of
from foils.study.beginnings import beginnings_of
from foils.study.budget import each_phase, steps_of
from foils.study.plan import ground_of
from foils.study.pools import leading, pools_of
from foils.study.tasks import Ground
from foils.train.student import open_student
from study.conftest import QUICK
from test_reselect import run


def one(given, **encoders):
    return arms_of([given], encoders, "static")[0]


def test_arms_from_what_a_user_names(tmp_path):
    (tmp_path / "mine.yaml").write_text("mine: BM25(k=9) >> Top(k=2)\n")
    arms = arms_of(["in-batch", "sharp=simans", str(tmp_path / "mine.yaml"), load_recipe("random")], {}, "static")
    assert [arm.name for arm in arms] == ["in-batch", "sharp", "mine", "random"]
    assert repr(arms[2].recipe.mine) == "BM25(k=9) >> Top(k=2)"
    changed = one({"name": "deep", "recipe": "simans", "mine": "Dense('student', k=800) >> SimANS(k=15)"})
    assert repr(changed.recipe.mine).startswith("Dense('student', k=800)")
    assert changed.recipe.cite == load_recipe("simans").cite
    assert one({"name": "own", "loss": "InfoNCE(temperature=0.1)"}).recipe.mine is None
    phased = one({"recipe": "multi-stage"})
    assert (phased.name, len(phased.recipe.phases)) == ("multi-stage", 3)
    optional = one({"recipe": "bm25", "options": {"negatives_per_row": 1}})
    assert optional.identity()["options"] == {"negatives_per_row": 1}
    assert optional.identity() != one("bm25").identity()
    assert one("bm25").identity() == one("other=bm25").identity()


def test_models_go_to_the_arms_that_take_them():
    given = {"teacher": "minilm", "b/teacher": "static"}
    arms = arms_of(["a=nv-retriever", "b=nv-retriever", "in-batch"], given, "static")
    assert [dict(arm.encoders) for arm in arms] == [{"teacher": "minilm"}, {"teacher": "static"}, {}]


@pytest.mark.parametrize(
    ("given", "encoders", "says"),
    [
        ([], {}, "no recipes"),
        (["simens"], {}, "Did you mean 'simans'"),
        (["start=bm25"], {}, "is the model before training"),
        (["bm25", "bm25"], {}, r"two arms are called 'bm25'.*NAME=bm25"),
        (["a b=bm25"], {}, "letters, digits"),
        (["in-batch"], {"teacher": "minilm"}, "no arm names a model 'teacher'; they name: none"),
        (["nv-retriever"], {"nv-retreiver/teacher": "x"}, "no arm 'nv-retreiver'. Did you mean 'nv-retriever'"),
        (["nv-retriever"], {"nv-retriever/other": "x"}, "names no model 'other'"),
        (["margin-mse"], {}, r"needs a cross-encoder 'teacher': --encoder margin-mse/teacher=MODEL"),
        (["rocketqa"], {}, r"teacher.base=minilm"),
        ([{"mine": "BM25(k=3)"}], {}, "has no name"),
        ([{"recipe": "multi-stage", "loss": "InfoNCE()"}], {}, "has phases; give the arm phases of its own"),
        ([{"recipe": "bm25", "encoders": "minilm"}], {}, "no mapping"),
        ([{"recipe": "bm25", "options": {"epoch": 3}}], {}, "unknown training option 'epoch'"),
        ([{"name": "x", "mien": "BM25(k=3)"}], {}, "unknown key 'mien'"),
    ],
)
def test_arms_that_cannot_be(given, encoders, says, start_path):
    with pytest.raises((SpecError, ModelError), match=says):
        arms_of(given, encoders, start_path)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"seeds": 0}, "seeds=0 must be a whole number, at least 1"),
        ({"seeds": 2.5}, "whole number"),
        ({"max_queries": 0}, "at least 1"),
        ({"rounds": 5}, "at least 100"),
        ({"pairs": "some"}, "it is 'baseline' or 'all'"),
        ({"budget": "soon"}, "steps are expected, such as 300, or a time such as 5m"),
        ({"budget": "0"}, "steps are expected"),
        ({"budget": "0m"}, "steps are expected"),
        ({"budget": -5}, "steps are expected"),
        ({"train": {"max_steps": 5}}, "is the budget: --budget STEPS"),
        ({"train": {"batch": 5}}, "unknown training option 'batch'"),
        ({"split": "test"}, "is what is trained on"),
        ({"measures": "nDCG@10"}, "a list of names is expected"),
        ({"measures": []}, "a list of names is expected"),
        ({"seed": 3}, "unknown key 'seed' of a study. Did you mean 'seeds'"),
        ({"encoders": ["x"]}, "names and their values"),
    ],
)
def test_options_that_cannot_be(given, says):
    with pytest.raises(SpecError, match=says):
        StudyOptions.read(given)


def test_budgets():
    said = {"300": ("steps", 300), 300: ("steps", 300), "5m": ("minutes", 5), "1.5 h": ("minutes", 90)}
    said |= {"90s": ("minutes", 1.5), None: ("epochs", 0)}
    for text, amount in said.items():
        assert StudyOptions(budget=text).amount() == amount


def test_measures_have_one_name_each():
    assert tuple(StudyOptions(measures=["MRR@10", "NDCG@10", "RR@10"]).measures) == ("RR@10", "nDCG@10")
    assert StudyOptions(measures=["MRR@10", "NDCG@10"]).main == "nDCG@10"


def test_a_study_by_another_name_of_a_measure_comes_to_its_end(words, start_path, here, tmp_path):
    options = StudyOptions(seeds=1, budget=2, train=QUICK, rounds=100, measures=["MRR@10"])
    made = compare(words, ["in-batch"], start_path, out=tmp_path / "s", options=options)
    assert (made.record["measures"], made.record["main"]) == (["RR@10"], "RR@10")
    compare(words, ["in-batch"], start_path, out=tmp_path / "s", options=replace(options, measures=["RR@10"]))
    assert here == ["start-0", "in-batch-0"]


def test_phases_share_the_steps():
    assert each_phase(one("in-batch"), 300) == 300
    assert each_phase(one("multi-stage"), 300) == 150  # shares .5, .5 and 1
    assert each_phase(one({"name": "x", "phases": [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5}]}), 7) == 7


def test_steps_of_epochs_and_minutes(words, start_path, tmp_path, monkeypatch):
    ground = Ground(words, start_path, "train", "test", None, ("nDCG@10",), QUICK, False)
    student = open_student(start_path)
    found = steps_of(("epochs", 0), ground, student, None, tmp_path / "p", lambda *told: None)
    assert found == 6 * -(-len(words.holdout("train", 0.1)[0]) // 16)  # one positive a query, 6 epochs
    monkeypatch.setattr("foils.study.budget._PILOTS", (2, 6))
    found = steps_of(("minutes", 0.05), ground, student, one("in-batch"), tmp_path / "p", lambda *told: None)
    assert found >= 1
    assert not (tmp_path / "p").exists()


def test_sources_that_are_shared():
    arms = arms_of(["bm25", "deep=simans", "near=star", "random", "multi-stage", "in-batch"], {}, "static")
    pools = pools_of(arms, 1)
    assert [(pool.source.k, pool.arms) for pool in pools] == [(400, ("deep", "near"))]
    assert [pool.arms for pool in pools_of(arms, 2)] == [("bm25",), ("deep", "near")]
    other = arms_of(["a=nv-retriever", "b=nv-retriever"], {"b/teacher": "minilm"}, "static")
    assert pools_of(other, 1) == []
    assert leading(one({"name": "x", "mine": "BM25(k=5) >> Top(k=2) >> Ensure('deepen')"}).recipe) is None
    assert leading(one({"name": "x", "mine": "BM25(k=5) + Random(k=3) >> Top(k=2, by='bm25')"}).recipe) is None


def test_first_phases_that_are_shared():
    def arm(called, main="BM25(k=9) >> Top(k=2)", **more):
        options = {"options": more.pop("options")} if "options" in more else {}
        phases = [{"name": "warm", "share": 0.5, **more}, {"name": "main", "share": 0.5, "mine": main}]
        return {"name": called, "phases": phases, **options}

    def shared(*given, encoders=None, steps=40):
        found = beginnings_of(arms_of(given, encoders or {}, "static"), QUICK, steps)
        return [one.arms for one in found]

    base = arm("base")
    assert shared(base, arm("same", "Random(k=3)"), "in-batch", "bm25") == [("base", "same")]
    for changed in ({"share": 0.25}, {"name": "other"}, {"rate": 0.5}, {"loss": "InfoNCE(temperature=0.1)"}):
        assert shared(base, arm("changed", **changed)) == []
    assert shared(base, arm("changed", options={"batch_size": 8})) == []
    assert shared(base, arm("changed", mine="Random(k=2)")) == []
    mines = [arm(name, mine="Dense('guide', k=9) >> Top(k=2)") for name in ("a", "b")]
    assert shared(*mines, encoders={"guide": "static"}) == [("a", "b")]
    assert shared(*mines, encoders={"a/guide": "static", "b/guide": "minilm"}) == []


def test_a_study_is_a_file(tmp_path, words_path, start_path, here):
    file = tmp_path / "study.yaml"
    file.write_text(
        f"data: {words_path}\nmodel: {start_path}\nout: {tmp_path / 'out'}\nseeds: 1\nbudget: 6\n"
        f"train: {json.dumps(QUICK)}\nlabels: train_full\nmeasures: [nDCG@10]\n"
        "arms:\n  - in-batch\n  - name: hard\n    mine: BM25(k=10) >> Top(k=2)\n"
    )
    what, options = read_study(file)
    assert [sorted(what), sorted(options)] == [
        ["arms", "data", "model", "out"],
        ["budget", "labels", "measures", "seeds", "train"],
    ]
    report = json.loads(run("compare", str(file), "--json").splitlines()[0])
    assert [arm["name"] for arm in report["arms"]] == ["start", "in-batch", "hard"]
    assert report["measures"] == ["nDCG@10"]
    assert here == ["start-0", "in-batch-0", "hard-0"]
    shown = run("compare", str(file), "--pairs", "all")
    assert here == ["start-0", "in-batch-0", "hard-0"]
    assert "Holm-corrected over all pairs of arms" in " ".join(shown.split())
    said = run("compare", str(file), "--budget", "7", code=1)
    assert "other settings: budget" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data: [", "no study can be read here"),
        ("- x", "a mapping with data, model and arms"),
        ("arms: in-batch", "is no list"),
        ("data: 3", "is no text"),
        ("sedes: 3", "unknown key 'sedes' of a study. Did you mean 'seeds'"),
        ("data: x\nmodel: static\narms: [in-batch]", "Missing --out, or out: … in the study's file"),
        ("data: x\nmodel: static\nout: y", "Missing --recipes, or arms"),
    ],
)
def test_files_that_cannot_be(text, says, tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(text)
    assert says in run("compare", str(file), code=2)
    assert "no study can be read" in run("compare", str(tmp_path / "none.yaml"), code=2)


def test_the_command_line_refuses_before_it_runs(words_path, start_path, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "in_a_process", lambda *given: pytest.fail("something was run"))
    base = ["compare", str(words_path), "-m", start_path, "-o", str(tmp_path / "s")]
    assert "Missing --recipes" in run(*base, code=2)
    assert "unknown recipe 'simens'" in run(*base, "-r", "in-batch,simens", code=2)
    assert "no split 'dev'" in run(*base, "-r", "in-batch", "--split", "dev", code=1)
    assert "no split 'fuller'" in run(*base, "-r", "in-batch", "--labels", "fuller", code=1)
    assert "--baseline bm52: it is none of the arms" in run(*base, "-r", "in-batch,bm25", "--baseline", "bm52", code=2)
    assert "unknown measure" in run(*base, "-r", "in-batch", "--measure", "nDGC@10", code=2).lower()
    assert "no model folder" in run(*base[:2], "-m", "./nowhere", "-r", "in-batch", *base[4:], code=1)
    assert not (tmp_path / "s").exists()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "notes.txt").write_text("mine")
    assert "exists and is not a study" in run(*base, "-r", "in-batch", code=1)
    report = json.loads(run(*base, "-r", "in-batch", "--json", code=1))
    assert (report["kind"], report["exit_code"]) == ("StoreError", 1)


@pytest.mark.parametrize(("count", "says"), [(3, "3 of the 3 queries"), (1, "1 of the 1 queries")])
def test_what_is_trained_on_is_not_measured_on(count, says, words, start_path, tmp_path, monkeypatch):
    """Two splits of the same queries, as cranfield's `test_sparse` and `test`: what would be measured is memory."""
    monkeypatch.setattr(running, "in_a_process", lambda *given: pytest.fail("something was run"))
    train = words.query_rows("train")
    both = words.subset({"train": ("train", train), "test": ("train", train[:count])})
    with pytest.raises(DataError, match=f"{says} of split 'test' are in 'train', too.*Pass another --split or --test"):
        compare(both, ["in-batch"], start_path, out=tmp_path / "s", options=StudyOptions())
    assert not (tmp_path / "s").exists()


def test_queries_that_are_cut_away_may_be_measured_on(words, start_path):
    train = words.query_rows("train")
    given = StudyOptions(max_queries=len(train) // 2)
    kept = ground_of(words, start_path, given)[1].data.query_rows("train")
    rest = np.setdiff1d(train, kept)
    apart = words.subset({"train": ("train", train), "test": ("train", rest)})
    settings, ground = ground_of(apart, start_path, given)
    assert settings["training_queries"] == len(kept)
    assert ground.data.query_rows("test").tolist() == rest.tolist()
    mixed = words.subset({"train": ("train", train), "test": ("train", [*rest, kept[0]])})
    with pytest.raises(DataError, match=f"1 of the {len(rest) + 1} queries"):
        ground_of(mixed, start_path, given)


def test_python_refuses_the_same(words, start_path, tmp_path):
    with pytest.raises(DataError, match="no split 'dev'"):
        compare(words, ["in-batch"], start_path, out=tmp_path / "s", options=StudyOptions(test="dev"))
