"""False-negative rates of arms as judges estimate them: against the truth, kept, and refused before anything is run."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest

from foils import mine
from foils.core.errors import DataError, ModelError, SpecError
from foils.store import Negatives
from foils.study import StudyOptions, compare, read_study, running
from foils.study.estimates import RATE, keep
from foils.terminal import console
from study.conftest import QUICK
from test_reselect import run

ARMS = ["in-batch", "bm25", "random"]


def options(**given):
    return StudyOptions(**{"seeds": 1, "budget": 6, "train": QUICK, "rounds": 200, **given})


@pytest.fixture(scope="module")
def truth():
    """Of every query and document, whether it is relevant: a third are."""
    return lambda query, doc: (query + doc) % 3 == 0


@pytest.fixture(scope="module")
def sheet(words, truth, tmp_path_factory):
    """Every query with every document, labelled by somebody who knows."""
    rows = words.query_rows("train")
    query, doc = np.repeat(rows, len(words.corpus)), np.tile(np.arange(len(words.corpus)), len(rows))
    ids = zip(words.queries.id_list(query), words.corpus.id_list(doc), truth(query, doc), strict=True)
    path = tmp_path_factory.mktemp("people") / "labels.csv"
    path.write_text("query_id,doc_id,label\n" + "".join(f"{q},{d},{int(y)}\n" for q, d, y in ids))
    return path


@pytest.fixture(scope="module")
def made(words, start_path, sheet, tmp_path_factory):
    out = tmp_path_factory.mktemp("estimated") / "s"
    with pytest.MonkeyPatch.context() as patch:
        from foils.study import tasks

        def carry_out(task, cache, tell):
            with pytest.MonkeyPatch.context() as inner:
                inner.setenv("FOILS_CACHE", str(cache))
                tasks.carry_out(task, tell)

        patch.setattr(running, "in_a_process", carry_out)
        return compare(words, ARMS, start_path, out=out, options=options(judge=str(sheet), judged=40))


def negatives_of(study, arm, words):
    pairs = Negatives.open(study.out / "arms" / arm / "0" / "negatives").pairs(words)
    return pairs.take(pairs.label == 0)


def test_the_estimate_is_of_the_negatives_that_were_trained_on(made, words, truth, sheet):
    for arm in ("bm25", "random"):
        pairs = negatives_of(made, arm, words)
        rate = made[arm]["rate"]
        true = truth(pairs.query, pairs.doc).mean()
        assert (rate["kind"], rate["judged"], rate["seed"], rate["judge"]) == ("estimated", 40, 0, str(sheet))
        assert rate["negatives"] == len(pairs) == made[arm]["negatives"] > 40
        assert 0 <= rate["low"] <= true <= rate["high"] <= 1
        assert rate["low"] < rate["high"]
    assert made["in-batch"]["rate"] == made["start"]["rate"]
    assert made["in-batch"]["rate"]["kind"] == "none"


def test_a_judge_of_everything_finds_the_true_rate(made, words, truth, sheet, start_path, here):
    again = compare(words, ARMS, start_path, out=made.out, options=options(judge=str(sheet), judged=10_000))
    assert here == []  # the negatives are there: nothing is trained again
    for arm in ("bm25", "random"):
        pairs, rate = negatives_of(made, arm, words), again[arm]["rate"]
        assert rate["value"] == pytest.approx(truth(pairs.query, pairs.doc).mean())
        assert rate["low"] == rate["high"] == rate["value"]
        assert f"~{100 * rate['value']:.0f} % " in text_of(again)  # a count has no interval
        assert f"~{100 * rate['value']:.0f} % [" not in text_of(again)
    compare(words, ARMS, start_path, out=made.out, options=options(judge=str(sheet), judged=40))


def test_where_fuller_labels_know_nobody_is_asked(words, start_path, sheet, here, tmp_path):
    found = compare(
        words, ["bm25"], start_path, out=tmp_path / "s", options=options(labels="train_full", judge=str(sheet))
    )
    assert found["bm25"]["rate"]["kind"] == "true"
    assert not (found.out / "arms/bm25" / RATE).exists()


def test_it_is_kept_for_as_long_as_all_is_the_same(made, words, sheet, start_path, here, tmp_path, monkeypatch):
    before = (made.out / "study.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["foils.audit"], "audit", lambda *given, **more: pytest.fail("estimated again"))
        for given in ({"judge": str(sheet), "judged": 40}, {}):  # and nobody need be named to see it
            compare(words, ARMS, start_path, out=made.out, options=options(**given))
            assert (made.out / "study.json").read_bytes() == before
    other = tmp_path / "labels.csv"
    other.write_text(sheet.read_text().replace(",0\n", ",1\n"))
    changed = compare(words, ARMS, start_path, out=made.out, options=options(judge=str(other), judged=40))
    assert changed["bm25"]["rate"]["value"] == 1.0
    other.write_text(sheet.read_text())  # the same name, another file
    changed = compare(words, ARMS, start_path, out=made.out, options=options(judge=str(other), judged=40))
    assert changed["bm25"]["rate"]["value"] == json.loads(before)["arms"][2]["rate"]["value"]
    compare(words, ARMS, start_path, out=made.out, options=options(judge=str(sheet), judged=40))
    assert (made.out / "study.json").read_bytes() == before


def test_a_cheap_judge_is_corrected_and_a_useless_one_is_told(made, words, sheet, start_path, here, tmp_path):
    head, *rows = sheet.read_text().splitlines()
    rough = tmp_path / "rough.csv"
    wrong = [row[:-1] + str(int(row[-1] == "0")) if place % 7 == 0 else row for place, row in enumerate(rows)]
    rough.write_text("\n".join([head, *wrong]))
    given = {"judge": str(sheet), "cheap": str(rough), "judged": 40}
    helped = compare(words, ["in-batch", "bm25"], start_path, out=made.out, options=options(**given))
    rate = helped["bm25"]["rate"]
    assert (rate["method"], rate["cheap"]) == ("prediction-powered", str(rough))
    # No negative scores as high as its positive, and random ones have no such score: that is told, the study is there.
    useless = compare(words, ["bm25"], start_path, out=made.out, options=options(**{**given, "cheap": "score:bm25"}))
    assert {useless[arm]["rate"]["kind"] for arm in ARMS} == {"none"}
    assert "its verdicts say nothing" in useless["bm25"]["rate"]["why"]
    assert "No false-negative rate of random: no score column 'bm25'" in text_of(useless)
    assert set(useless.unjudged) == {"bm25", "random"}
    assert (helped.unjudged, useless.failed) == ({}, {})
    compare(words, ARMS, start_path, out=made.out, options=options(judge=str(sheet), judged=40))


def text_of(study):
    out = console(io.StringIO())
    out.print(study)
    assert max(map(len, out.file.getvalue().splitlines())) <= 80
    return " ".join(out.file.getvalue().split())


def test_tables_and_advice_say_who_estimated(made, sheet):
    shown = text_of(made)
    assert "~estimated by " in shown
    assert "from 40 negatives of seed 0." in shown
    value = made["bm25"]["rate"]["value"]
    assert f"~{100 * value:.0f} % [" in shown
    assert value > 0.1
    assert any(f"relevant by {sheet}, as estimated from 40 of each: bm25" in line for line in made.advice)
    assert ",estimated," in (made.out / "table.csv").read_text()


def test_what_is_kept_are_the_negatives(words, tmp_path):
    mined = mine(words, "BM25(k=30) >> NoAnswer() >> Top(k=3)", out=tmp_path / "whole")
    keep(mined, tmp_path / "kept")
    kept, whole = Negatives.open(tmp_path / "kept").pairs(words), mined.kept(words)
    assert len(kept) < len(mined.pairs(words))
    for name in ("query", "doc", "label", "dropped"):
        assert getattr(kept, name).tolist() == getattr(whole, name).tolist()
    assert kept.ranks["bm25"].tolist() == whole.ranks["bm25"].tolist()
    np.testing.assert_array_equal(kept.scores["bm25"], whole.scores["bm25"])


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"judge": "none.csv"}, DataError, "none.csv"),
        ({"judge": "lables:none"}, SpecError, "Did you mean 'labels'"),
        ({"judge": "./nowhere"}, ModelError, "taken for a cross-encoder"),
        ({"judge": ["score", "./nowhere"]}, ModelError, "taken for a cross-encoder"),
        ({"judge": "score", "cheap": "lables:x"}, SpecError, "Did you mean 'labels'"),
        ({"judge": "qrels:train"}, SpecError, "give that split as --labels"),
        ({"judge": "llm:some"}, SpecError, "FOILS_LLM_URL"),
        ({"judge": "llm:some", "llm": {"url": "http://localhost:1/v1", "prices": ["many"]}}, SpecError, "two numbers"),
        ({"judge": "llm:some", "llm": {"uri": "http://localhost:1/v1"}}, SpecError, "There is: url"),
    ],
)
def test_a_judge_that_cannot_be_is_refused_before_anything_is_run(
    given, error, says, words, start_path, tmp_path, monkeypatch
):
    for name in ("FOILS_LLM_URL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(running, "in_a_process", lambda *given: pytest.fail("something was run"))
    with pytest.raises(error, match=says):
        compare(words, ARMS, start_path, out=tmp_path / "s", options=options(**given))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"judge": ""}, "a name is expected"),
        ({"judge": []}, "a name is expected"),
        ({"judge": [3]}, "a name is expected"),
        ({"cheap": "score"}, "needs a judge that corrects it"),
        ({"judge": "score", "judged": 9}, "judged=9 must be a whole number, at least 10"),
        ({"judge": "score", "llm": "http://x"}, "names and their values"),
    ],
)
def test_options_that_cannot_be(given, says):
    with pytest.raises(SpecError, match=says):
        options(**given)


def test_the_command_line_and_files_name_judges(words_path, start_path, sheet, tmp_path, here):
    base = ["compare", str(words_path), "-m", start_path, "-o", str(tmp_path / "s"), "-r", "bm25", "--seeds", "1"]
    base += ["--budget", "6", "--set", "batch_size=16"]
    assert "no such file" in run(*base, "--judge", "none.csv", code=1)
    assert "needs a judge that corrects it" in run(*base, "--cheap", "score", code=2)
    assert here == []
    assert "~estimated by" in run(*base, "--judge", str(sheet), "--judged", "50")
    rate = json.loads((tmp_path / "s" / "study.json").read_text())["arms"][1]["rate"]
    assert (rate["kind"], rate["judged"]) == ("estimated", 50)
    failing = run(*base, "--judge", str(sheet), "--judged", "50", "--cheap", "score:other", code=1)
    assert "No false-negative rate of bm25: no score column 'other'" in " ".join(failing.split())
    assert "what this says" in failing  # everything else is there
    assert "~estimated by" in run(*base, "--judge", str(sheet), "--judged", "50")
    file = tmp_path / "study.yaml"
    file.write_text(f"judge: [{sheet}, score]\njudged: 40\nllm: {{budget: 3}}\n")
    assert StudyOptions.read(read_study(file)[1]).judge == [str(sheet), "score"]
