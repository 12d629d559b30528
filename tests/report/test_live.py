"""The live page: what it answers, to whom, what alarms it raises, and that a browser keeps its place."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from browsing import opened
from foils.core.errors import SpecError, StoreError
from foils.report import Live, Settings, watch
from foils.report.alarms import alarms
from foils.report.live import Server
from foils.report.subject import find_subject
from foils.train import journal
from foils.train.journal import write_line
from report.conftest import entry
from shell import foils as command


@pytest.fixture
def server(run):
    shown = Live(run, settings=Settings(examples=12))
    shown.version()
    while any(word in shown.page(whole=False) for word in ("being read",)):
        time.sleep(0.05)
    found = Server(shown, port=0)
    yield found
    found.close()


def ask(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_it_answers_two_questions_and_serves_no_files(server, run):
    answer, body = ask(server, "/")
    assert answer.status == 200
    assert b"vegaEmbed" in body
    assert answer.getheader("Cache-Control") == "no-store"
    part = ask(server, "/page")[1]
    assert b"vegaEmbed" not in part
    assert len(part) < 250_000
    zipped, packed = ask(server, "/page", **{"Accept-Encoding": "gzip"})
    assert zipped.getheader("Content-Encoding") == "gzip"
    assert gzip.decompress(packed) == part
    assert ask(server, "/page", "HEAD")[1] == b""
    before = json.loads(ask(server, "/state")[1])["version"]
    assert before == json.loads(ask(server, "/state")[1])["version"]
    write_line(run, entry(105))
    assert before != json.loads(ask(server, "/state")[1])["version"]
    for path in ("/run.json", "/../run.json", "//etc/passwd", "/negatives/manifest.json"):
        assert ask(server, path)[0].status == 404
    assert ask(server, "/", "POST")[0].status == 501


def test_another_sites_name_is_refused(server):
    assert ask(server, "/", Host="evil.example:80")[0].status == 421
    assert ask(server, "/", Host=f"localhost:{server.port}")[0].status == 200


def test_a_port_that_is_taken_and_a_host_that_is_not_here(server, run):
    shown = Live(run, settings=Settings(examples=0, check=False))
    with pytest.raises(SpecError, match=r"--port 0"):
        Server(shown, port=server.port)
    with pytest.raises(SpecError, match="cannot be served on"):
        Server(shown, host="192.0.2.1", port=0)
    with pytest.raises(StoreError, match="is not there"):
        watch(run.with_name("nothing"))
    run.with_name("empty").mkdir()
    with pytest.raises(StoreError, match="holds nothing"):
        watch(run.with_name("empty"))
    assert "holds nothing" in command("watch", str(run.with_name("empty")), "--once", check=1)


def test_it_bears_what_a_run_goes_through(run, tmp_path):
    empty = tmp_path / "new"
    empty.mkdir()
    (empty / ".negatives.mining").mkdir()
    shown = Live(empty, settings=Settings(examples=0, check=False))
    first = shown.version()
    (run / "run.json").rename(empty / "run.json")
    assert shown.version() != first
    journal_ = (run / journal.JOURNAL).read_text()
    for cut in (1, len(journal_) // 2, len(journal_) - 3):
        (empty / journal.JOURNAL).write_text(journal_[:cut])
        assert "Dev measures" in shown.page(whole=False) or cut == 1
    (empty / "generations" / "1").mkdir(parents=True)  # not published yet
    (empty / "checkpoint-7").mkdir()  # killed while it was written
    assert shown.page(whole=False)


def test_what_is_wrong_is_said(run):
    def said(folder=run, now=None):
        return {alarm.key: alarm for alarm in alarms(find_subject(folder), now)}

    calm = said()
    assert set(calm) == {"breach 1", "task some classes"}
    assert "Some classes fell from the start model's 0.500 to 0.489 at step 100" in calm["task some classes"].text
    assert calm["breach 1"].tone == "warn"  # it fell back
    late = said(now=time.time() + 10_000)
    assert "2 h 46 min" in late["silence"].text
    for step in range(105, 300, 5):
        write_line(run, entry(step, gap_trend=-0.01, uniformity=-0.001, above=0.9))
    found = said()
    assert {"uniformity", "above", "closing", "stale"} <= set(found)
    assert "its guard does not look at this" in found["above"].text
    assert "generation 2 was mined 215 steps ago" in found["stale"].text
    write_line(run, {**entry(300), "loss": float("nan")})
    assert said()["finite"].tone == "bad"
    record = json.loads((run / "run.json").read_text())
    record["notes"]["guard"] = "Guard(above=0.2)"
    record["breaches"][0]["fallback"] = None
    write_line(run, {"step": 301, "eval_task/some classes": 0.495, "eval_task/pairs similarity": float("nan")})
    (run / "run.json").write_text(json.dumps(record))
    own = said()
    assert own["above"].tone == "bad"
    assert not [key for key in own if key.startswith("task")]
    assert own["breach 1"].tone == "bad"
    (run / "run.json").write_text(json.dumps({**record, "status": "finished", "steps": 300, "best_step": 300}))
    assert set(said()) == {"breach 1"}


def test_once_says_them_and_ends(run):
    assert "loss rose to 9" in command("watch", str(run), "--once")
    write_line(run, {**entry(105), "loss": float("nan")})
    said = command("watch", str(run), "--once", "--json", check=1)
    assert {alarm["key"] for alarm in json.loads(said)["alarms"]} >= {"finite"}


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_it_is_told_to(run, sent, tmp_path):
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    arguments = [sys.executable, "-m", "foils.cli", "watch", str(run), "--port", "0", "--no-check", "--examples", "0"]
    process = subprocess.Popen([*arguments, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=where)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["url"].startswith("http://127.0.0.1:")
    assert json.loads(process.stdout.readline())["alarm"]["key"] == "breach 1"
    process.send_signal(sent)
    assert process.communicate(timeout=10)[1] == b""
    assert process.returncode == 0


def test_a_browser_keeps_filters_and_place(browser, server, run):
    with opened(browser, server.url) as tab:
        tab.locator("form.filters input[name=text]").fill("volcano")
        tab.locator("#examples").scroll_into_view_if_needed()
        shown = tab.locator("article.query:visible").count()
        tab.evaluate("document.querySelector('#examples').scrollIntoView()")
        top = tab.evaluate("document.querySelector('#examples').getBoundingClientRect().top")
        points = tab.locator("[data-plot=loss] .mark-symbol path").count()
        before = tab.evaluate("document.documentElement.dataset.live")
        for step in (105, 110, 115, 120):
            write_line(run, entry(step))
        write_line(run, {**entry(125), "loss": float("inf")})
        tab.wait_for_function(f"document.documentElement.dataset.live !== '{before}'")
        assert tab.locator("[data-plot=loss] .mark-symbol path").count() == points + 4
        assert "125" in tab.locator("#training .lead").inner_text()
        assert "the loss is inf" in tab.locator(".alarms").inner_text()
        assert tab.locator("form.filters input[name=text]").input_value() == "volcano"
        assert tab.locator("article.query:visible").count() == shown
        assert abs(tab.evaluate("document.querySelector('#examples').getBoundingClientRect().top") - top) < 4


def test_the_page_says_when_the_server_is_gone(browser, run):
    shown = Live(run, settings=Settings(examples=0, check=False))
    found = Server(shown, port=0)
    tab = browser.new_page()
    tab.goto(found.url)
    found.close()
    tab.wait_for_selector(".alarms [data-lost]", timeout=60_000)
    assert replace(shown.look()[0], text="").key == "breach 1"
    tab.close()
