from __future__ import annotations

import json

import pytest

import serving
from foils.adapters.llm import LLM, Endpoint, Reply, Request, ask
from foils.adapters.llm.structured import answer, extract, fault
from serving import Server, said

SCHEMA = {
    "type": "object",
    "properties": {
        "grade": {"type": "integer", "enum": [-1, 0, 1, 2, 3]},
        "share": {"type": "number", "minimum": 0, "maximum": 1},
        "words": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
    },
    "required": ["grade"],
}


def asking(text="q"):
    return Request((("user", text),), "test@1", SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        '{"grade": 2}',
        '```json\n{"grade": 2}\n```',
        'Sure! As [1] shows, {"grade": 2}. See [2].',
        '<think>{"grade": 0}? no, {"grade": 3}</think>{"grade": 2}',
        'First I thought {"grade": 1}, but it is {"grade": 2}',
        '{"grade": "high"} or rather {"grade": 2, "remark": {"a": [1]}}',
    ],
)
def test_json_among_words(text):
    made = answer(asking(), Reply(text))
    assert made.problem is None
    assert made.value["grade"] == 2


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply(""), "empty"),
        (Reply("It is relevant."), "no JSON"),
        (Reply('{"grade": 2'), "no JSON"),
        (Reply('{"documents": [{"grade": 9}'), "reply.grade is 9, none of -1, 0, 1, 2, 3"),
        (Reply('{"grade": 4}'), "reply.grade is 4, none of -1, 0, 1, 2, 3"),
        (Reply('{"grade": true}'), "reply.grade is true, not of type integer"),
        (Reply('{"grade": 1.0}'), "reply.grade is 1.0, not of type integer"),
        (Reply('{"grade": NaN}'), "no JSON"),
        (Reply('{"verdict": 2}'), "reply has no 'grade'"),
        (Reply("[1]"), "reply is [1], not of type object"),
        (Reply('{"grade": 1, "share": 1.5}'), "reply.share is 1.5, out of range"),
        (Reply('{"grade": 1, "words": ["a", 2]}'), "reply.words[1] is 2, not of type string"),
        (Reply('{"grade": 1, "words": ["a", "b", "c"]}'), "reply.words has 3 items"),
        (Reply('{"grade": 2}', "length"), "cut off at 1,024 tokens"),
        (Reply('{"grade": 2}', "content_filter"), "held back by a content filter"),
        (Reply("too long", "refused"), "refused: too long"),
    ],
)
def test_what_is_no_answer_says_why(reply, problem):
    made = answer(asking(), reply)
    assert made.problem == problem
    assert (made.value is None) == (problem is not None)


def test_deep_nesting_is_no_answer():
    assert extract("[" * 3000) == []
    assert fault({"grade": 1}, SCHEMA) is None


def test_unreadable_replies_are_asked_for_once_more_and_then_kept(tmp_path):
    """A server that never gets question 3 right, and question 1 only with another seed."""

    def behave(body, number):
        text = body["messages"][0]["content"]
        if text == "3" or (text == "1" and body["seed"] == 0):
            return said("I would say it is relevant")
        return said(json.dumps({"grade": int(text) % 3}))

    with Server(behave) as server:
        llm = LLM(Endpoint("m", server.url), cache=tmp_path)
        requests = [asking(str(i)) for i in range(5)]
        made = ask(llm, requests)
        assert server.asked == 7
        assert [one.value and one.value["grade"] for one in made] == [0, 1, 2, None, 1]
        assert made[3].problem == "no JSON"
        again = ask(LLM(Endpoint("m", server.url), cache=tmp_path, offline=True), requests)
        assert server.asked == 7
    assert [(one.value, one.problem) for one in again] == [(one.value, one.problem) for one in made]


def test_what_follows_the_schema_and_is_wrong_is_asked_for_again(tmp_path):
    """A grade that the question forbids counts as unreadable; of several values the last without a fault is taken."""

    def behave(body, number):
        forbidden = body["messages"][0]["content"]
        if forbidden == "2":
            return said('{"grade": 2}')
        if forbidden == "1":
            return said('{"grade": 3}, no, {"grade": 1}')
        return said('{"grade": 0}' if body["seed"] == 0 else '{"grade": 3}')

    def unless(forbidden):
        return lambda value: "forbidden" if value["grade"] == forbidden else None

    with Server(behave) as server:
        llm = LLM(Endpoint("m", server.url), cache=tmp_path)
        made = ask(llm, [asking(str(i)) for i in range(3)], checks=[unless(i) for i in range(3)])
        assert server.asked == 5
    found = [(one.value and one.value["grade"], one.problem) for one in made]
    assert found == [(3, None), (3, None), (None, "forbidden")]


def test_what_is_too_long_is_not_asked_again(tmp_path):
    with Server(lambda body, number: serving.status(413, "large")) as server:
        (made,) = ask(LLM(Endpoint("m", server.url), cache=tmp_path), [asking()])
        assert server.asked == 1
    assert made.problem == "refused: large"


def test_a_reply_that_was_cut_off_gets_more_room(tmp_path):
    def behave(body, number):
        return said('{"grade": 2}') if body["max_tokens"] > 1024 else said('{"gra', finish="length")

    with Server(behave) as server:
        (made,) = ask(LLM(Endpoint("m", server.url), cache=tmp_path), [asking()])
        assert [body["max_tokens"] for body in server.bodies] == [1024, 4096]
    assert made.value == {"grade": 2}
