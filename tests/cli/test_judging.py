"""`foils audit` with a language model behind real HTTP, and with pages of several people."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from pathlib import Path

import pytest

import foils as foils_
import serving
from serving import Server, said
from shell import foils


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch, tmp_path):
    for name in ("FOILS_LLM_KEY", "FOILS_LLM_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def mined(little, tmp_path_factory):
    out = tmp_path_factory.mktemp("judging") / "neg"
    foils("mine", little, "BM25(k=40) >> Top(k=12)", "-o", str(out))
    return str(out)


@pytest.fixture(scope="module")
def rule():
    path = Path(__file__).parents[2] / "examples" / "judge_server.py"
    spec = importlib.util.spec_from_file_location("judge_server", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def serve(rule, more=lambda body, number: None):
    def behave(body, number):
        return more(body, number) or serving.raw(json.dumps(rule.answer(body)).encode())

    return Server(behave)


def flat(text):
    return " ".join(text.split())


SMALL = ("--budget", "40", "--dropped", "0", "--controls", "10", "--examples", "1")


def test_dry_run_then_the_audit_then_a_replay_offline(mined, rule, tmp_path, monkeypatch):
    price = ("--llm-price", "0.15,0.6", "--llm-price", "2.5,10")
    with serve(rule) as server:
        planned = flat(foils("audit", mined, *SMALL, "--judge", "llm:cheap,strong", *price, "--dry-run"))
        assert re.search(
            r"llm:cheap,strong would judge 5\d pairs in \d+ calls \(0 kept\), about .* cost 0\.\d+, at most", planned
        )
        assert server.asked == 0
        arguments = (
            "audit",
            mined,
            *SMALL,
            "--judge",
            "llm:cheap,strong",
            "--llm-url",
            server.url,
            *price,
            "-o",
            str(tmp_path),
        )
        shown = flat(foils(*arguments))
        asked = server.asked
        assert asked > 20
        assert re.search(
            r"\d+ calls \(0 kept\), [\d,]+ \+ [\d,]+ tokens, cost 0\.\d+; strong confirms \d+ of \d+ that were flagged",
            shown,
        )
        first = json.loads((tmp_path / "audit.json").read_text())
        told = json.loads(foils(*arguments, "--json"))
        assert server.asked == asked
    assert first["judge"]["models"] == ["cheap", "strong"]
    assert first["judge"]["prompt"].startswith("judge-list@1/")
    assert first["judge"]["calls"] == asked
    assert (told["judge"]["calls"], told["judge"]["cost"]) == (0, 0.0)
    assert told["rate"] == first["rate"]
    offline = json.loads(foils("audit", mined, *SMALL, "--judge", "llm:cheap,strong", "--offline", "--json"))
    assert offline["rate"] == first["rate"]
    report = foils("audit", mined, *SMALL, "--judge", "llm:other", "--offline", check=1)
    assert "nothing may be asked offline" in report


def test_a_model_that_knows_the_truth_says_what_the_qrels_say(little, mined, tmp_path):
    """The same sample, judged over HTTP by grades and by qrels that list everything: the same rates."""
    data = foils_.load(little)
    number = {
        text: int(name[1:])
        for name, text in zip(data.queries.id_list(), data.queries.texts(), strict=True)
        if name[0] == "q"
    }
    qrels = tmp_path / "full.tsv"
    qrels.write_text("".join(f"q{q}\td{d}\t{int((d - 3 * q) % 10 == 0)}\n" for q in range(60) for d in range(240)))

    def behave(body, _):
        text = body["messages"][-1]["content"]
        query = number[re.search(r"<query>\n(.*?)\n</query>", text, re.DOTALL).group(1).strip()]
        made = []
        for i, doc in enumerate(re.findall(r'<document id="\d+">\n(.*?)\n</document>', text, re.DOTALL), 1):
            at = re.search(r"number (\d+)$", doc)  # the copy of d3 is in capitals, and in no qrels
            relevant = at is not None and (int(at.group(1)) - 3 * query) % 10 == 0
            made.append({"id": i, "reason": "known", "grade": 3 if relevant else 0})
        return said(json.dumps({"documents": made}))

    sample = ("--budget", "60", "--dropped", "30", "--json")
    with Server(behave) as server:
        told = json.loads(foils("audit", mined, *sample, "--judge", "llm:knows", "--llm-url", server.url))
    true = json.loads(foils("audit", mined, *sample, "--judge", f"qrels:{qrels}", "--complete"))
    assert 0 < told["rate"]["value"] < 1
    for name in ("rate", "strata", "by", "judged", "holes"):
        assert told[name] == true[name], name


def test_unreadable_replies_are_holes(mined, rule):
    broken = lambda body, number: said("relevant!") if number % 2 else None  # noqa: E731
    with serve(rule, broken) as server:
        arguments = ("--judge", "llm:broken", "--llm-url", server.url, "--llm-prompt", "judge-pair")
        told = json.loads(foils("audit", mined, *SMALL, *arguments, "--json"))
    assert told["judge"]["undecided"] > 0
    assert told["judge"]["problems"] == {"no JSON": told["judge"]["undecided"]}
    assert told["holes"] > 0
    assert told["judged"] < 40


def test_a_prompt_of_ones_own(mined, rule, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(foils("prompts", "judge-list").replace("You assess search results.", "You are strict."))
    with serve(rule) as server:
        arguments = ("--judge", "llm:own", "--llm-url", server.url, "--llm-prompt", str(path))
        told = json.loads(foils("audit", mined, *SMALL, *arguments, "--json"))
        assert server.bodies[0]["messages"][0]["content"].startswith("You are strict.")
    assert told["judge"]["prompt"].startswith("mine@1/")


def test_a_model_that_knows_nothing_is_refused(mined):
    def behave(body, number):
        ids = re.findall(r'<document id="(\d+)">', body["messages"][-1]["content"])
        return said(json.dumps({"documents": [{"id": int(i), "reason": "", "grade": 3} for i in ids]}))

    with Server(behave) as server:
        report = foils("audit", mined, *SMALL, "--judge", "llm:yes", "--llm-url", server.url, check=1)
    assert "asked about known positives and random documents" in report


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--judge", "llm:m"), 2, "has no address. Give one (--llm-url), or set FOILS_LLM_URL"),
        (("--judge", "llm:m", "--llm-url", "nowhere"), 2, "no address of a language model"),
        (("--judge", "llm:", "--llm-url", "http://h/v1"), 2, "a model is needed"),
        (("--judge", "llm:a,b,c", "--llm-url", "http://h/v1"), 2, "3 models"),
        (("--judge", "llm:m", "--llm-price", "cheap"), 2, "two numbers are expected"),
        (("--judge", "llm:m", "--llm-budget", "-1"), 2, "budget -1.0"),
        (("--judge", "llm:m", "--llm-concurrency", "0"), 2, "at least one question"),
        (("--judge", "llm:m", "--llm-url", "http://h/v1", "--llm-prompt", "nope"), 2, "unknown prompt 'nope'"),
    ],
)
def test_what_cannot_be(mined, arguments, code, message):
    assert message in foils("audit", mined, *SMALL, *arguments, check=code)


def test_a_budget_that_does_not_suffice(mined, rule):
    with serve(rule) as server:
        arguments = ("--judge", "llm:poor", "--llm-url", server.url, "--llm-budget", "5000")
        assert "the budget of 5,000 tokens does not suffice" in foils("audit", mined, *SMALL, *arguments, check=1)
        assert 0 < server.asked < 20


def test_a_page_and_the_files_of_two_people(mined, tmp_path):
    page = tmp_path / "labels.html"
    shown = flat(foils("audit", mined, *SMALL, "--page", str(page), "-o", str(tmp_path / "out")))
    assert "in a browser and label" in shown
    data = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL).group(1))
    with (tmp_path / "out/labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    ids = [(item["query_id"], item["doc_id"]) for item in data["items"]]
    assert ids == [(row["query_id"], row["doc_id"]) for row in rows]
    assert set(data["items"][0]) == {"query_id", "doc_id", "query", "document", "positive"}  # no source, score, rank
    for who in ("ada", "bo"):
        with (tmp_path / f"{who}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["query_id", "doc_id", "label", "annotator", "note"])
            writer.writerows([*pair, int(i % 4 == 0 or (who == "bo" and i == 1)), "", ""] for i, pair in enumerate(ids))
    files = ("--labels", str(tmp_path / "ada.csv"), "--labels", str(tmp_path / "bo.csv"))
    told = json.loads(foils("audit", mined, *SMALL, *files, "--json"))
    assert (told["judge"]["annotators"], told["judge"]["labels"]) == (2, 80)
    assert told["judge"]["agreement"]["share"] == pytest.approx(39 / 40)
    again = json.loads(foils("audit", mined, *SMALL, *files, "--labels", str(tmp_path / "ada.csv"), "--json"))
    assert again["judge"]["labels"] == 80  # a file that is given twice says no more than once
