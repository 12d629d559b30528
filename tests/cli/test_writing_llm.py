"""`foils write` with the rule-based writer of the examples behind real HTTP, as somebody new would try it."""

from __future__ import annotations

import json
import re
import sys
import threading
from pathlib import Path

import pytest

from little import make_beir
from shell import foils


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in ("FOILS_LLM_KEY", "FOILS_LLM_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def little(tmp_path_factory):
    return str(make_beir(tmp_path_factory.mktemp("writing") / "little"))


@pytest.fixture
def server():
    folder = str(Path(__file__).parents[2] / "examples")
    sys.path.insert(0, folder)
    try:
        import writer_server
    finally:
        sys.path.remove(folder)
    made = writer_server.Server(0)
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_planned_written_replayed_mined_and_judged(little, server, tmp_path, monkeypatch):
    """The whole way: what it would cost, the shard, the same offline, its negatives, and what a judge says of them."""
    shard, again = str(tmp_path / "a"), str(tmp_path / "b")
    how = ("SyNeg(k=2)", "--model", "small", "--limit", "12", "--llm-price", "1,4")
    planned = foils("write", little, *how, "--dry-run")
    assert re.search(r"24 calls, about [\d,]+ \+ [\d,]+ tokens, cost 0\.\d+, at most", " ".join(planned.split()))
    assert server.asked == 0
    told = json.loads(foils("write", little, *how, "--llm-url", server.url, "-o", shard, "--json"))
    assert told["report"]["drafts"] == server.asked == told["spent"]["calls"] == 24
    assert told["spent"]["cost"] > 0
    assert told["prompts"][0].startswith("syneg@1/")
    shown = foils("write", little, *how, "--offline", "-o", again)
    assert "0 calls (24 kept), 0 + 0 tokens" in shown
    assert (tmp_path / "a" / "drafts.parquet").read_bytes() == (tmp_path / "b" / "drafts.parquet").read_bytes()
    monkeypatch.setenv("FOILS_LLM_URL", server.url)
    foils("mine", shard, "BM25(k=10) >> Top(k=2) + Written(k=1)", "-o", str(tmp_path / "neg"))
    audit = ("--judge", "llm:small", "--budget", "30", "--dropped", "0", "--controls", "10", "--json")
    judged = json.loads(foils("audit", str(tmp_path / "neg"), *audit))
    assert judged["judged"] == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("SyNeg()",), "asks a language model, and none was named. Pass --model NAME and --llm-url URL"),
        (("SyNegg()", "--model", "m"), "Did you mean 'SyNeg'? See: foils stages --kind author"),
        (("SyNeg()", "--model", "m"), "the language model has no address"),
        (("SyNeg()", "--model", "a,b,c"), "one writes, a second one may judge"),
        (("SyNeg()", "--model", "m", "--llm-price", "much"), "two numbers are expected"),
        (("SyNeg()", "--model", "m", "--offline"), "are not kept"),
        (("SyNeg(prompt='judge-list')", "--model", "m", "--offline"), "is for 'judge-list', not for 'syneg'"),
        (("Queries(round_trip=1, encoder='guide')", "--model", "m", "--offline"), "Pass --encoder guide=MODEL"),
        (("SyNeg()", "--model", "m", "--split", "test", "--offline"), "held out"),
    ],
)
def test_wrong_inputs_are_one_message(little, tmp_path, arguments, message):
    shown = foils("write", little, *arguments, "-o", str(tmp_path / "a"), check=1 if "kept" in message else 2)
    assert message in " ".join(shown.split())
    assert "Traceback" not in shown
