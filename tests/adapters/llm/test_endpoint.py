"""The client against a real server that fails in every way that servers do."""

from __future__ import annotations

import json
import logging
import time
from email.utils import formatdate

import pytest

import serving
from foils.adapters.llm import LLM, Endpoint, LLMError, Patience, Request
from foils.core.errors import SpecError
from serving import Server, said, status

QUICK = Patience(timeout=0.5, retries=3, first=0.01, longest=1.0)
SCHEMA = {"type": "object", "properties": {"grade": {"type": "integer"}}, "required": ["grade"]}
KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in ("FOILS_LLM_KEY", "FOILS_LLM_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def asking(text="a question", **more):
    return Request((("system", "be brief"), ("user", text)), "test@1", SCHEMA, **more)


def once(act, *, patience=QUICK, then="fine"):
    """What comes of a server that does this first, and then answers."""
    with Server(lambda body, number: act if number == 0 else said(then)) as server:
        return Endpoint("m", server.url, patience).reply(asking()), server


def test_what_is_sent_and_what_is_read():
    with Server(lambda body, number: said("hello", usage=(7, 3))) as server:
        reply = Endpoint("some/model:7b", server.url).reply(asking(seed=5, max_tokens=33))
    assert (reply.text, reply.finish, reply.tokens, reply.model) == ("hello", "stop", (7, 3), "served-model")
    (body,) = server.bodies
    assert body["model"] == "some/model:7b"
    assert body["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "a question"},
    ]
    assert (body["seed"], body["max_tokens"], body["temperature"], body["stream"]) == (5, 33, 0.0, False)
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA},
    }
    assert "authorization" not in server.headers[0]


@pytest.mark.parametrize(
    "act",
    [
        status(500, "oops"),
        status(502, "bad gateway"),
        status(503, "loading model"),
        status(504, "late"),
        status(429, "slow down"),
        status(529, "overloaded"),
        serving.raw(b"<html>gateway</html>", 503),
        serving.raw(b"{not json"),
        serving.raw(b"[1, 2]"),
        serving.raw(b'{"choices": []}'),
        serving.raw(b'{"error": {"message": "upstream", "code": 502}}'),
        serving.cut_off(),
        serving.dropped,
        serving.slow(2.0, said("too late")),
    ],
    ids=lambda act: None,
)
def test_what_passes_is_tried_again(act):
    reply, server = once(act)
    assert reply.text == "fine"
    assert server.asked == 2


def test_a_reply_that_drips_ends_with_the_time():
    """No single wait is long, the whole exchange would be."""
    began = time.monotonic()
    reply, server = once(serving.dripping(5.0))
    assert time.monotonic() - began < 3
    assert (reply.text, server.asked) == ("fine", 2)


def test_less_than_was_promised_is_no_reply_even_if_it_can_be_read():
    whole = json.dumps({"choices": [{"message": {"content": "too early"}}]}).encode()
    assert once(serving.cut_off(whole))[0].text == "fine"


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (status(401, "no such key"), "HTTP 401: no such key. Put its key into the environment as FOILS_LLM_KEY"),
        (status(403, "not for you"), "HTTP 403"),
        (status(404, "model 'm' not found"), "Are the model's name and the address right"),
        (status(429, "You exceeded your current quota, please check your plan"), "HTTP 429: You exceeded"),
        (status(302, "elsewhere", Location="http://127.0.0.1:9/v1"), "HTTP 302"),
        (serving.raw(b'{"error": {"message": "no credits", "code": 402}}'), "HTTP 402: no credits"),
    ],
)
def test_what_stays_is_told_at_once(act, message):
    with Server(lambda body, number: act) as server, pytest.raises(LLMError) as caught:
        Endpoint("m", server.url, QUICK).reply(asking())
    assert message in str(caught.value)
    assert "kept" in str(caught.value)
    assert server.asked == 1


def test_gives_up_after_the_retries():
    with (
        Server(lambda body, number: status(503, "busy")) as server,
        pytest.raises(LLMError, match="HTTP 503: busy after 4 tries"),
    ):
        Endpoint("m", server.url, QUICK).reply(asking())
    assert server.asked == 4


def test_nobody_is_there():
    with Server(lambda body, number: "") as server:
        url = server.url
    with pytest.raises(LLMError, match=r"the connection failed .* after 4 tries. Is the server running there"):
        Endpoint("m", url, QUICK).reply(asking())


def test_waits_grow_twofold():
    with Server(lambda body, number: status(500, "x") if number < 3 else said("ok")) as server:
        Endpoint("m", server.url, Patience(first=0.1, retries=3)).reply(asking())
    gaps = [b - a for a, b in zip(server.times, server.times[1:], strict=False)]
    for gap, base in zip(gaps, (0.1, 0.2, 0.4), strict=True):
        assert base <= gap <= base * 1.25 + 0.1


@pytest.mark.parametrize(
    "header",
    [
        {"Retry_After": "1"},
        {"retry_after_ms": "1000"},
        {"Retry_After": lambda: formatdate(time.time() + 2, usegmt=True)},
    ],
    ids=["seconds", "milliseconds", "date"],
)
def test_waits_as_long_as_the_server_says(header):
    made = {name: value() if callable(value) else value for name, value in header.items()}
    _, server = once(status(429, "slow", **made), patience=Patience(first=0.001, longest=5, retries=2))
    assert 0.9 <= server.times[1] - server.times[0] <= 2.8


def test_a_wait_that_is_too_long_is_an_error():
    with (
        Server(lambda body, number: status(429, "daily limit", Retry_After="7200")) as server,
        pytest.raises(LLMError, match="asks to wait 7,200 seconds"),
    ):
        Endpoint("m", server.url, QUICK).reply(asking())
    assert server.asked == 1


def test_everybody_waits_when_the_server_says_so(tmp_path):
    """One 429 with a time keeps the other threads from asking."""

    def behave(body, number):
        return status(429, "slow", Retry_After="0.4") if number == 0 else serving.slow(0.02, said("ok"))

    with Server(behave) as server:
        llm = LLM(Endpoint("m", server.url, Patience(first=0.001)), cache=tmp_path, concurrency=2)
        llm.replies([asking(str(i)) for i in range(12)])
    late = [moment - server.times[0] for moment in server.times]
    assert sum(0.1 < moment < 0.4 for moment in late) == 0
    assert sum(moment >= 0.4 for moment in late) >= 9


def test_a_rate_limit_is_borne(tmp_path):
    """A server that takes 20 requests a second, asked by 8 threads."""
    allowed = {"next": 0.0}

    def behave(body, number):
        now = time.monotonic()
        if now < allowed["next"]:
            return status(429, "rate limit", Retry_After=str(allowed["next"] - now))
        allowed["next"] = now + 0.05
        return said(body["messages"][1]["content"])

    with Server(behave) as server:
        llm = LLM(Endpoint("m", server.url, Patience(first=0.02, retries=8)), cache=tmp_path)
        replies = llm.replies([asking(str(i)) for i in range(16)])
    assert [reply.text for reply in replies] == [str(i) for i in range(16)]


@pytest.mark.parametrize(
    ("refuses", "message", "asked"),
    [
        ("response_format.json_schema", "response_format json_schema is not supported", 2),
        ("response_format", "'response_format' is not a known field", 3),
        ("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", 2),
        ("temperature", "Unsupported value: 'temperature' does not support 0", 2),
        ("seed", "Extra inputs are not permitted: seed", 2),
    ],
)
def test_settings_that_a_server_refuses_are_left_out_once(refuses, message, asked):
    def behave(body, number):
        name, _, part = refuses.partition(".")
        found = name in body and (not part or body[name]["type"] == part)
        return status(400, message) if found else said('{"grade": 1}')

    with Server(behave) as server:
        endpoint = Endpoint("m", server.url, QUICK)
        assert endpoint.reply(asking()).text == '{"grade": 1}'
        assert server.asked == asked
        endpoint.reply(asking("another"))
        assert server.asked == asked + 1
    if refuses == "max_tokens":
        assert server.bodies[-1]["max_completion_tokens"] == 1024


def test_a_server_that_refuses_everything_says_why():
    with (
        Server(lambda body, number: status(400, "go away")) as server,
        pytest.raises(LLMError, match="HTTP 400: go away"),
    ):
        Endpoint("m", server.url, QUICK).reply(asking())
    assert server.asked == 3


@pytest.mark.parametrize(
    "act",
    [
        status(400, "This model's maximum context length is 4096 tokens. However, you requested 9000 max_tokens"),
        status(413, "Request entity too large"),
        serving.raw(b'{"error": {"message": "x", "code": "context_length_exceeded"}}', 400),
    ],
)
def test_a_request_that_is_too_long_is_refused_alone(act):
    reply, server = once(act)
    assert reply.finish == "refused"
    assert server.asked == 1


def test_other_forms_of_replies():
    with Server(lambda body, number: said(None, refusal="I cannot")) as server:
        assert Endpoint("m", server.url).reply(asking()).finish == "content_filter"
    parts = json.dumps({"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}]}}]}).encode()
    with Server(lambda body, number: serving.raw(parts)) as server:
        reply = Endpoint("m", server.url).reply(asking())
    assert (reply.text, reply.finish) == ("ab", "stop")
    assert reply.tokens == (asking().tokens, 1)  # not counted by the server
    with Server(lambda body, number: said("half \ud800 a pair")) as server:
        assert Endpoint("m", server.url).reply(asking()).text == "half ? a pair"


def test_the_key_is_sent_and_nowhere_else(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("FOILS_LLM_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with Server(lambda body, number: said("ok") if number == 0 else status(401, f"wrong key: {KEY}")) as server:
        endpoint = Endpoint("m", server.url, QUICK)
        llm = LLM(endpoint, cache=tmp_path)
        llm.replies([asking()])
        with pytest.raises(LLMError, match=r"wrong key: \[key\]. Is FOILS_LLM_KEY right") as caught:
            llm.replies([asking("again")])
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in json.dumps(server.bodies)
    assert KEY not in repr(endpoint) + str(caught.value) + caplog.text
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_key_does_not_change_what_is_kept(monkeypatch, tmp_path):
    with Server(lambda body, number: said("ok")) as server:
        LLM(Endpoint("m", server.url), cache=tmp_path).replies([asking()])
        monkeypatch.setenv("FOILS_LLM_KEY", KEY)
        assert LLM(Endpoint("m", server.url), cache=tmp_path).replies([asking()])[0].kept
    with Server(lambda body, number: said("ok")) as elsewhere:
        assert LLM(Endpoint("m", elsewhere.url), cache=tmp_path).replies([asking()])[0].kept


def test_the_key_of_openai_is_not_sent_to_others(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with Server(lambda body, number: said("ok")) as server:
        Endpoint("m", server.url).reply(asking())
        assert "authorization" not in server.headers[-1]
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        Endpoint("m").reply(asking())
        assert server.headers[-1]["authorization"] == f"Bearer {KEY}"
        monkeypatch.setenv("FOILS_LLM_KEY", "another")
        Endpoint("m").reply(asking())
        assert server.headers[-1]["authorization"] == "Bearer another"


def test_the_address(monkeypatch):
    with pytest.raises(SpecError, match=r"no address.*FOILS_LLM_URL"):
        Endpoint("m")
    monkeypatch.setenv("FOILS_LLM_URL", "http://localhost:11434/v1/")
    assert Endpoint("m").url == "http://localhost:11434/v1"
    assert Endpoint("m", "https://host/v1/chat/completions").url == "https://host/v1"
    for wrong in (
        "localhost:11434",
        "ftp://host/v1",
        "http://",
        "https://user:secret@host/v1",
        "http://host:x/v1",
        "http://h/v1?key=secret",
    ):
        with pytest.raises(SpecError, match="no address of a language model") as caught:
            Endpoint("m", wrong)
        assert "secret" not in str(caught.value)
    with pytest.raises(SpecError, match="a model is needed"):
        Endpoint(" ")
    with pytest.raises(SpecError, match="timeout must be above 0"):
        Patience(timeout=0)


def test_a_key_that_is_none_is_not_repeated(monkeypatch):
    monkeypatch.setenv("FOILS_LLM_KEY", "se cret\nkey")
    with pytest.raises(LLMError, match="FOILS_LLM_KEY holds what no key has") as caught:
        Endpoint("m", "http://localhost:1/v1")
    assert "cret" not in str(caught.value).replace("FOILS", "")


def test_a_prompt_that_was_cut_off_is_told_once(caplog):
    with Server(lambda body, number: said("ok", usage=(2048, 5))) as server:
        endpoint = Endpoint("m", server.url)
        endpoint.reply(asking("short"))
        endpoint.reply(asking("word " * 2000))
        assert caplog.text == ""
        for _ in range(2):
            endpoint.reply(asking("word " * 20_000))
    assert caplog.text.count("raise the context length") == 1
    assert "counts 2,048 tokens in a request of about 25,0" in caplog.text
