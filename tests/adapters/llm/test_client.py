"""Many questions: each once, in order, within a budget, kept, whatever goes on meanwhile."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

import serving
from foils.adapters.llm import (
    LLM,
    BudgetError,
    Endpoint,
    Function,
    LLMError,
    OfflineError,
    Patience,
    Price,
    Request,
    Spending,
)
from foils.core.errors import SpecError, StoreError
from serving import Server, said, status

QUICK = Patience(timeout=2.0, retries=2, first=0.01, longest=1.0)


def asking(number, **more):
    return Request((("user", f"question {number}"),), "test@1", **more)


def echo(body, number=0):
    return said(body["messages"][0]["content"].upper())


def texts(replies):
    return [reply.text for reply in replies]


def test_replies_come_in_the_order_of_requests_and_each_is_asked_once(tmp_path):
    draws = random.Random(0)
    order = draws.sample([*range(20)] * 3, 60)
    with Server(lambda body, number: serving.slow(draws.random() / 50, echo(body))) as server:
        llm = LLM(Endpoint("m", server.url), cache=tmp_path, concurrency=8)
        seen: list[tuple[int, int]] = []
        replies = llm.replies([asking(i) for i in order], lambda done, total: seen.append((done, total)))
        assert server.asked == 20
        assert 2 <= server.busiest <= 8
        again = LLM(Endpoint("m", server.url), cache=tmp_path, concurrency=1).replies([asking(i) for i in order])
        assert server.asked == 20
    assert texts(replies) == texts(again) == [f"QUESTION {i}" for i in order]
    assert seen[-1] == (20, 20)
    assert (llm.spending.asked, llm.spending.kept, llm.spending.tokens) == (20, 0, (2000, 400))
    assert all(reply.kept for reply in again)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"max_tokens": 7}, {"temperature": 0.5}, {"schema": {"type": "object"}}]
)
def test_another_request_is_another_reply(tmp_path, change):
    with Server(echo) as server:
        llm = LLM(Endpoint("m", server.url), cache=tmp_path)
        llm.replies([asking(1)])
        llm.replies([asking(1, **change)])
        assert server.asked == 2
        llm.replies([Request((("user", "question 1"),), "test@2")])
        LLM(Endpoint("n", server.url), cache=tmp_path).replies([asking(1)])
        assert server.asked == 4


def test_offline_only_what_is_kept(tmp_path):
    with Server(echo) as server:
        LLM(Endpoint("m", server.url), cache=tmp_path).replies([asking(i) for i in range(3)])
        offline = LLM(Endpoint("m", server.url), cache=tmp_path, offline=True)
        assert texts(offline.replies([asking(2), asking(0)])) == ["QUESTION 2", "QUESTION 0"]
        with pytest.raises(
            OfflineError, match=r"1 of 3 replies of 'm' are not kept in .* nothing may be asked offline"
        ):
            offline.replies([asking(i) for i in (0, 1, 7)])
        assert server.asked == 3


def test_a_failure_keeps_what_was_answered(tmp_path):
    def behave(body, number):
        return status(401, "expired") if "question 5" in body["messages"][0]["content"] else echo(body)

    with Server(behave) as server:
        llm = LLM(Endpoint("m", server.url, QUICK), cache=tmp_path, concurrency=4)
        with pytest.raises(LLMError, match="expired"):
            llm.replies([asking(i) for i in range(40)])
        asked = server.asked
        assert 6 <= asked <= 12  # nothing is asked after the failure but what was under way
        assert texts(
            LLM(Endpoint("m", server.url), cache=tmp_path, offline=True).replies([asking(i) for i in range(5)])
        )
        assert server.asked == asked


def test_what_is_refused_is_not_kept(tmp_path):
    with Server(lambda body, number: status(413, "too large") if number == 0 else echo(body)) as server:
        llm = LLM(Endpoint("m", server.url), cache=tmp_path)
        assert llm.replies([asking(1)])[0].finish == "refused"
        assert llm.replies([asking(1)])[0].finish == "stop"


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_a_budget_ends_at_the_same_request_whatever_the_concurrency(tmp_path, concurrency):
    """A request counts at its longest: 11 + 50 tokens; a reply takes 30. 300 tokens: 9 are asked."""
    draws = random.Random(concurrency)

    def behave(body, number):
        return serving.slow(draws.random() / 100, said("x", usage=(11, 19)))

    with Server(behave) as server:
        llm = LLM(Endpoint("m", server.url), Spending(tokens=300), tmp_path, concurrency=concurrency)
        requests = [asking(i, max_tokens=50) for i in range(10, 40)]
        assert requests[0].tokens == 11
        with pytest.raises(
            BudgetError, match=r"budget of 300 tokens does not suffice for 22 more .* 240 tokens are spent"
        ):
            llm.replies(requests)
        assert server.asked == 8
        more = LLM(Endpoint("m", server.url), Spending(tokens=10_000), tmp_path)
        assert len(more.replies(requests)) == 30
        assert (server.asked, more.spending.kept) == (30, 8)


def test_a_budget_in_money(tmp_path):
    price = Price(1_000.0, 2_000.0)  # .011 for a question, at most .1 for its reply
    with Server(lambda body, number: said("x", usage=(11, 50))) as server:
        llm = LLM(Endpoint("m", server.url), Spending(price, cost=0.25), tmp_path)
        with pytest.raises(
            BudgetError, match=r"budget of 0\.25 does not suffice for 3 more requests; 0\.222 are spent"
        ):
            llm.replies([asking(i, max_tokens=50) for i in range(10, 15)])
        assert server.asked == 2
        assert llm.spending.cost == pytest.approx(0.222)
    with pytest.raises(SpecError, match="needs the price"):
        Spending(cost=1.0)
    with pytest.raises(SpecError, match="below 0"):
        Spending(tokens=-1)
    for wrong in ("1", "a,b", "1,2,3", "-1,2", "nan,1", "inf,1"):
        with pytest.raises(SpecError, match="price"):
            Price.parse(wrong)


def test_an_estimate_asks_for_nothing(tmp_path):
    requests = [asking(i, max_tokens=100, expected=10) for i in range(10, 20)]
    with Server(echo) as server:
        llm = LLM(Endpoint("m", server.url), Spending(Price(1.0, 10.0)), tmp_path)
        found = llm.estimate([*requests, requests[0]])
        assert server.asked == 0
        assert (found.requests, found.kept, found.tokens, found.most) == (10, 0, (110, 100), (110, 1000))
        assert found.cost == (pytest.approx(0.00111), pytest.approx(0.01011))
        llm.replies(requests[:4])
        left = llm.estimate(requests)
    assert (left.requests, left.kept, left.tokens) == (10, 4, (66, 60))
    both = found + left
    assert (both.requests, both.kept, both.cost[0]) == (20, 4, pytest.approx(0.00111 + 0.000666))
    assert LLM(Endpoint("m", "http://localhost:1/v1"), cache=tmp_path).estimate(requests).cost is None


SCRIPT = """
import sys
from foils.adapters.llm import LLM, Endpoint, Request
url, cache = sys.argv[1:]
requests = [Request((("user", f"question {i}"),), "test@1") for i in range(60)]
replies = LLM(Endpoint("m", url), cache=cache, concurrency=4).replies(requests)
assert [r.text for r in replies] == [f"QUESTION {i}" for i in range(60)]
print(sum(r.kept for r in replies))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed here")
def test_killed_processes_lose_nothing_that_they_were_given(tmp_path):
    """Killed at random moments until one gets through: what was answered and read is never asked again."""
    draws = random.Random(3)
    script = tmp_path / "ask.py"
    script.write_text(SCRIPT)
    with Server(lambda body, number: serving.slow(0.02, echo(body))) as server:
        command = [sys.executable, str(script), server.url, str(tmp_path / "cache")]
        kills = 0
        while True:
            before = server.asked
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )
            limit = time.monotonic() + 30
            while kills < 3 and process.poll() is None and server.asked < before + 1 and time.monotonic() < limit:
                time.sleep(0.005)
            if kills < 3:
                time.sleep(draws.uniform(0.0, 0.12))
                if process.poll() is None:
                    process.kill()
                    kills += 1
            said_, _ = process.communicate(timeout=60)
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL
            (file,) = (tmp_path / "cache").glob("*.sqlite") if server.asked > 4 * kills else [None]
            if file is not None:
                with sqlite3.connect(file) as base:
                    assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        # Of every kill at most the four under way are lost.
        assert server.asked <= 60 + 4 * kills
        assert int(said_) > 0
        asked = server.asked
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert int(done.stdout) == 60
        assert server.asked == asked
    assert kills >= 2


@pytest.mark.slow
def test_several_processes_share_what_is_kept(tmp_path):
    script = tmp_path / "ask.py"
    script.write_text(SCRIPT)
    with Server(lambda body, number: serving.slow(0.01, echo(body))) as server:
        command = [sys.executable, str(script), server.url, str(tmp_path / "cache")]
        running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
        assert [process.wait(60) for process in running] == [0, 0]


def test_a_broken_file_says_what_to_do(tmp_path):
    with Server(echo) as server:
        LLM(Endpoint("a/b:c", server.url), cache=tmp_path).replies([asking(1)])
        (file,) = tmp_path.iterdir()
        assert file.name.startswith("a-b-c.")
        file.write_bytes(b"not a data base at all" * 100)
        with pytest.raises(StoreError, match="delete the file"):
            LLM(Endpoint("a/b:c", server.url), cache=tmp_path).replies([asking(1)])


def test_a_kill_before_the_first_reply_leaves_a_file_that_can_be_read(tmp_path):
    with Server(echo) as server:
        LLM(Endpoint("m", server.url), cache=tmp_path).replies([asking(1)])
        (file,) = tmp_path.iterdir()
        file.write_bytes(b"")
        assert texts(LLM(Endpoint("m", server.url), cache=tmp_path).replies([asking(1)])) == ["QUESTION 1"]


def test_any_function(tmp_path):
    lock, calls = threading.Lock(), []

    def writer(messages):
        with lock:
            calls.append(messages)
        return {"text": messages[-1]["content"]}

    llm = LLM(Function(writer), cache=tmp_path)
    assert texts(llm.replies([asking(1), asking(1), asking(2)])) == ['{"text": "question 1"}'] * 2 + [
        '{"text": "question 2"}'
    ]
    assert len(calls) == 2
    llm.replies([asking(1)])
    assert len(calls) == 3  # without a version nothing is kept
    for _ in range(2):
        LLM(Function(writer, version="1"), cache=tmp_path).replies([asking(1)])
    assert len(calls) == 4
    LLM(Function(writer, version="2"), cache=tmp_path).replies([asking(1)])
    assert len(calls) == 5


def test_a_function_that_raises(tmp_path):
    def broken(messages):
        raise KeyError("x")

    with pytest.raises(LLMError, match="broken: KeyError: 'x'"):
        LLM(Function(broken), cache=tmp_path).replies([asking(1)])
    with pytest.raises(LLMError, match="TypeError"):
        LLM(Function(lambda messages: {1, 2}, name="set"), cache=tmp_path).replies([asking(1)])


def test_interrupted_while_it_waits_for_a_server(tmp_path):
    """Ctrl-C ends the waits between tries; a later call asks again."""
    first = {"bad": True}

    def behave(body, number):
        return status(503, "busy") if first["bad"] else echo(body)

    with Server(behave) as server:
        endpoint = Endpoint("m", server.url, Patience(first=30.0))
        llm = LLM(endpoint, cache=tmp_path, concurrency=2)
        script = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
        script.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            llm.replies([asking(i) for i in range(4)])
        for thread in threading.enumerate():
            if thread.name.startswith("foils-llm"):
                thread.join(5)
        assert time.monotonic() - began < 5
        first["bad"] = False
        assert len(llm.replies([asking(i) for i in range(4)])) == 4


INTERRUPTED = """
import sys
from foils.adapters.llm import LLM, Endpoint, Request
LLM(Endpoint("m", sys.argv[1]), cache=sys.argv[2]).replies([Request((("user", str(i)),), "test@1") for i in range(20)])
"""


@pytest.mark.slow
def test_an_interrupted_process_does_not_wait_for_replies(tmp_path):
    """Requests that take a minute are under way when Ctrl-C comes."""
    with Server(lambda body, number: serving.slow(60, echo(body))) as server:
        command = [sys.executable, "-c", INTERRUPTED, server.url, str(tmp_path)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        limit = time.monotonic() + 30
        while server.asked < 8 and time.monotonic() < limit:
            time.sleep(0.02)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=40)
    assert time.monotonic() - began < 20
    assert "KeyboardInterrupt" in err
    assert server.asked == 8


def test_a_proxy_is_not_asked_for_this_machine(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server(echo) as server:
        assert texts(LLM(Endpoint("m", server.url, QUICK), cache=tmp_path).replies([asking(1)])) == ["QUESTION 1"]


def test_a_proxy_is_asked_for_others(tmp_path, monkeypatch):
    """The proxy here is a server that answers by itself."""
    with Server(echo) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with pytest.raises(LLMError, match="HTTP 404"):  # the path is the whole address, which our server does not know
            Endpoint("m", "http://somewhere.invalid/v1", QUICK).reply(asking(1))
        assert proxy.asked == 1


def test_bad_values(tmp_path):
    with pytest.raises(SpecError, match="concurrency 0"):
        LLM(Function(str), concurrency=0)
    assert LLM(Function(str), cache=tmp_path).replies([]) == []
