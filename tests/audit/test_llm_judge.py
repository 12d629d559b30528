"""The language model as judge, against an endpoint on this machine whose knowledge is planted."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

import serving
from foils.adapters.llm import BudgetError, Endpoint, OfflineError, Price
from foils.audit.judges import IRRELEVANT, RELEVANT, UNKNOWN
from foils.audit.judges.asking import TOGETHER
from foils.audit.judges.llm import LLMJudge, LLMOptions
from foils.core.errors import SpecError
from foils.core.pairs import Pairs
from serving import Server, said


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in ("FOILS_LLM_KEY", "FOILS_LLM_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def positives(data):
    return data.qrels("train")


@pytest.fixture
def rows(data):
    """30 documents of each of three queries, no positive among them; those with an odd number are relevant."""
    asked = data.query_rows("train")[:3]
    known = set(data.qrels("train").doc.tolist())
    docs = [row for row in range(240) if row not in known][:30]
    query = np.repeat(asked, len(docs)).astype(np.int32)
    return query, np.tile(docs, 3).astype(np.int32)


def texts(body):
    return re.findall(r'<document id="\d+">\n(.*?)\n</document>', body["messages"][-1]["content"], re.DOTALL)


def odd(text):
    return int(re.search(r"number (\d+)", text).group(1)) % 2 == 1


def grades(body, grade=lambda text: 3 if odd(text) else 1):
    return said(
        json.dumps({"documents": [{"id": i, "reason": "why", "grade": grade(t)} for i, t in enumerate(texts(body), 1)]})
    )


def judge_at(server, data, positives, cache, models=("cheap",), **options):
    return LLMJudge(list(models), data, positives, LLMOptions(url=server.url, **options), cache=cache)


def truth(data, rows):
    return np.array([odd(text) for text in data.corpus.texts(rows[1])])


def test_verdicts_grades_and_reasons(data, positives, rows, tmp_path):
    with Server(lambda body, number: grades(body)) as server:
        judge = judge_at(server, data, positives, tmp_path)
        found = judge.judge(*rows)
        assert server.asked == 3 * 2  # 30 documents of a query: 25 and 5
    np.testing.assert_array_equal(found.verdict == RELEVANT, truth(data, rows))
    assert (found.verdict != UNKNOWN).all()
    assert np.isnan(found.probability).all()
    assert {text[:6] for text in found.reasons} == {"3: why", "1: why"}
    assert max(len(texts(body)) for body in server.bodies) == TOGETHER
    facts = judge.facts()
    many = int(truth(data, rows).sum())
    assert facts["grades"] == {"0": 0, "1": 90 - many, "2": 0, "3": many}
    assert (facts["pairs"], facts["calls"], facts["undecided"]) == (90, 6, 0)
    json.dumps(facts)


def test_what_the_model_sees(data, positives, rows, tmp_path):
    """The query, known positives, and documents in an order that says nothing; no ids, scores or ranks."""
    with Server(lambda body, number: grades(body)) as server:
        judge_at(server, data, positives, tmp_path, concurrency=1).judge(*rows)
    shown = [body["messages"][-1]["content"] for body in server.bodies]
    query = data.queries.texts(rows[0][:1])[0]
    mine = [text for text in shown if query in text]
    assert len(mine) == 2
    known = data.corpus.texts(positives.doc[positives.query == rows[0][0]])
    assert any(text in mine[0] for text in known)
    numbers = [int(re.search(r"number (\d+)", text).group(1)) for body in server.bodies for text in texts(body)]
    assert numbers != sorted(numbers)


def test_the_order_of_pairs_and_the_concurrency_change_nothing(data, positives, rows, tmp_path):
    """A model whose grades depend on the place in the list would show it."""

    def behave(body, number):
        made = [{"id": i, "reason": str(i), "grade": i % 4} for i, _ in enumerate(texts(body), 1)]
        return said(json.dumps({"documents": made}))

    shuffled = np.random.default_rng(0).permutation(len(rows[0]))
    with Server(behave) as server:
        first = judge_at(server, data, positives, tmp_path / "a").judge(*rows)
        second = judge_at(server, data, positives, tmp_path / "b", concurrency=1).judge(
            rows[0][shuffled], rows[1][shuffled]
        )
    np.testing.assert_array_equal(first.verdict[shuffled], second.verdict)
    assert [first.reasons[i] for i in shuffled] == list(second.reasons)


def test_a_judged_positive_is_not_shown_as_the_known_one(data, positives, tmp_path):
    """Controls are known positives; d3 has a copy in the corpus in other case, which is not shown either."""
    row = int(data.corpus.rows_of(["d3"])[0])
    mine = positives.take(positives.doc == row)
    copy = int(data.corpus.rows_of(["copy-of-d3"])[0])
    more = Pairs(np.repeat(mine.query[:1], 2), np.array([row, copy], np.int32), np.ones(2, np.int8))
    with Server(lambda body, number: grades(body, lambda text: 0)) as server:
        judge_at(server, data, more, tmp_path).judge(mine.query[:1], mine.doc[:1])
    (body,) = server.bodies
    asked = body["messages"][-1]["content"]
    assert "(none is known)" in asked
    assert asked.lower().count("number 3\n") == 1


def test_a_second_run_asks_nothing(data, positives, rows, tmp_path):
    with Server(lambda body, number: grades(body) if number else said("I refuse to speak JSON")) as server:
        first = judge_at(server, data, positives, tmp_path, ("cheap", "strong"))
        once = first.judge(*rows)
        asked = server.asked
        again = judge_at(server, data, positives, tmp_path, ("cheap", "strong"), offline=True)
        twice = again.judge(*rows)
        assert server.asked == asked
        with pytest.raises(OfflineError):
            judge_at(server, data, positives, tmp_path, ("other",), offline=True).judge(*rows)
    np.testing.assert_array_equal(once.verdict, twice.verdict)
    assert once.reasons == twice.reasons
    assert again.facts()["calls"] == 0
    assert again.facts()["kept"] == first.facts()["calls"] + first.facts()["kept"]


def test_the_strong_model_sees_only_what_the_cheap_one_flagged(data, positives, rows, tmp_path):
    """The cheap one flags odd numbers, the strong one confirms those that 3 divides."""
    seen: dict[str, list[str]] = {"cheap": [], "strong": []}

    def behave(body, number):
        seen[body["model"]] += texts(body)
        if body["model"] == "cheap":
            return grades(body)
        return grades(body, lambda text: 2 if int(re.search(r"number (\d+)", text).group(1)) % 3 == 0 else 0)

    with Server(behave) as server:
        judge = judge_at(server, data, positives, tmp_path, ("cheap", "strong"))
        found = judge.judge(*rows)
    assert len(seen["cheap"]) == 90
    assert sorted(seen["strong"]) == sorted(text for text in seen["cheap"] if odd(text))
    numbers = np.array([int(re.search(r"number (\d+)", text).group(1)) for text in data.corpus.texts(rows[1])])
    np.testing.assert_array_equal(found.verdict == RELEVANT, (numbers % 2 == 1) & (numbers % 3 == 0))
    assert judge.facts()["flagged"] == int(truth(data, rows).sum())
    assert judge.facts()["confirmed"] == int((found.verdict == RELEVANT).sum())


def test_nothing_flagged_nobody_asked(data, positives, rows, tmp_path):
    with Server(lambda body, number: grades(body, lambda text: 0)) as server:
        found = judge_at(server, data, positives, tmp_path, ("cheap", "strong")).judge(*rows)
        assert {body["model"] for body in server.bodies} == {"cheap"}
    assert (found.verdict == IRRELEVANT).all()


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (said("All of these are relevant."), "no JSON"),
        (said('{"documents": [{"id": 1, "reason": "", "grade": 3}'), "no 'documents'"),
        (said('{"documents": [{"id": 1, "reason": "", "grade": "relevant"}]}'), "not of type integer"),
        (said('{"documents": [{"id": 1, "reason": "", "grade": 5}]}'), "none of -1, 0, 1, 2, 3"),
        (said('{"documents": []}'), "left out"),
        (said('{"documents": [{"id": 99, "reason": "", "grade": 3}]}'), "left out"),
        (said('{"documents": [{"id": 1, "reason": "", "grade": 3}]}', finish="length"), "cut off"),
        (said(None, refusal="no"), "content filter"),
        (said(""), "empty"),
        (serving.status(400, "maximum context length exceeded"), "refused"),
    ],
)
def test_what_cannot_be_read_is_no_decision(data, positives, rows, tmp_path, reply, problem):
    with Server(lambda body, number: reply) as server:
        judge = judge_at(server, data, positives, tmp_path)
        found = judge.judge(rows[0][:1], rows[1][:1])
    assert found.verdict.tolist() == [UNKNOWN]
    assert found.reasons[0].startswith("no decision: ")
    assert problem in found.reasons[0]
    assert judge.facts()["undecided"] == 1
    assert sum(judge.facts()["problems"].values()) == 1


def test_single_documents_of_a_list_that_cannot_be_read(data, positives, rows, tmp_path):
    """One left out, one graded twice, one that the model cannot decide; the others stand."""

    def behave(body, number):
        made = [{"id": i, "reason": "r", "grade": 2} for i in range(1, len(texts(body)) + 1)]
        made[3]["grade"] = -1
        made[0] = {**made[1], "grade": 0}  # the first is left out, the second has two grades
        made.append(made[2])  # the third twice the same
        return said(json.dumps({"documents": made}))

    with Server(behave) as server:
        found = judge_at(server, data, positives, tmp_path).judge(rows[0][:10], rows[1][:10])
    kinds = sorted(text.split(":")[0] + text[-4:] for text in found.reasons)
    assert kinds.count("2: r") == 7 or sum(verdict == RELEVANT for verdict in found.verdict) == 7
    assert int((found.verdict == UNKNOWN).sum()) == 3
    assert sum("left out" in text for text in found.reasons) == 1
    assert sum("graded twice" in text for text in found.reasons) == 1
    assert sum("cannot be decided" in text for text in found.reasons) == 1


def test_one_at_a_time(data, positives, rows, tmp_path):
    def behave(body, number):
        (text,) = texts(body)
        return said(json.dumps({"reason": "r", "grade": 2 if odd(text) else 0}))

    with Server(behave) as server:
        judge = judge_at(server, data, positives, tmp_path, prompt="judge-pair")
        found = judge.judge(rows[0][:20], rows[1][:20])
        assert server.asked == 20
    np.testing.assert_array_equal(found.verdict == RELEVANT, truth(data, rows)[:20])


def test_the_price_beforehand_and_afterwards(data, positives, rows, tmp_path):
    prices = (Price(1.0, 10.0), Price(10.0, 100.0))
    with Server(lambda body, number: grades(body)) as server:
        judge = judge_at(server, data, positives, tmp_path, ("cheap", "strong"), prices=prices)
        price = judge.price(*rows)
        assert server.asked == 0
        judge.judge(*rows)
        assert (price["calls"], price["kept"]) == (6 + 1, 0)
        assert 0 < price["cost"] < price["cost_at_most"]
        spent = judge.facts()
        assert spent["tokens"] == [100 * spent["calls"], 20 * spent["calls"]]
        assert spent["cost"] == pytest.approx(6 * (100 + 200) * 1e-6 + (spent["calls"] - 6) * (1000 + 2000) * 1e-6)
        again = judge_at(server, data, positives, tmp_path, ("cheap", "strong"), prices=prices).price(*rows)
        assert (again["calls"], again["cost"]) == (0, 0.0)  # what is flagged is known by now
    json.dumps([price, spent])


def test_one_budget_for_both_models(data, positives, rows, tmp_path):
    """10,000 tokens a reply: the cheap model's 6 leave room for one of the strong one's."""

    def behave(body, number):
        made = [{"id": i, "reason": "", "grade": 3 * odd(text)} for i, text in enumerate(texts(body), 1)]
        return said(json.dumps({"documents": made}), usage=(5000, 5000))

    with Server(behave) as server:
        with pytest.raises(BudgetError, match=r"budget of 68,000 tokens does not suffice .* 70,000 tokens are spent"):
            judge_at(server, data, positives, tmp_path, ("cheap", "strong"), budget=68_000).judge(*rows)
        assert [body["model"] for body in server.bodies].count("strong") == 1
        judge_at(server, data, positives, tmp_path, ("cheap", "strong"), budget=120_000).judge(*rows)
        assert server.asked < 13


def test_functions_and_models_in_place_of_names(data, positives, rows, tmp_path):
    def rule(messages):
        made = texts({"messages": messages})
        return {"documents": [{"id": i, "reason": "", "grade": 2 * odd(text)} for i, text in enumerate(made, 1)]}

    found = LLMJudge([rule], data, positives, cache=tmp_path).judge(*rows)
    np.testing.assert_array_equal(found.verdict == RELEVANT, truth(data, rows))
    with Server(lambda body, number: grades(body)) as server:
        assert (
            LLMJudge([rule, Endpoint("strong", server.url)], data, positives, cache=tmp_path).name == "llm:rule,strong"
        )


def test_what_cannot_be(data, positives, tmp_path):
    with pytest.raises(SpecError, match="3 models"):
        LLMJudge(["a", "b", "c"], data, positives, LLMOptions(url="http://h/v1"))
    with pytest.raises(SpecError, match="2 prices for 1 models"):
        LLMJudge(["a"], data, positives, LLMOptions(url="http://h/v1", prices=(Price(1, 1), Price(1, 1))))
    with pytest.raises(SpecError, match="at=0"):
        LLMOptions(at=0)
    with pytest.raises(SpecError, match="budget"):
        LLMOptions(budget=-1)
    with pytest.raises(SpecError, match="has no address"):
        LLMJudge(["a"], data, positives)
    with Server(lambda body, number: grades(body)) as server:
        empty = np.zeros(0, np.int32)
        assert len(judge_at(server, data, positives, tmp_path).judge(empty, empty)) == 0
        assert server.asked == 0


def test_the_example_endpoint(data, positives, rows, tmp_path):
    path = Path(__file__).parents[2] / "examples" / "judge_server.py"
    spec = importlib.util.spec_from_file_location("judge_server", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with Server(lambda body, number: serving.raw(json.dumps(module.answer(body)).encode())) as server:
        for prompt in ("judge-list", "judge-pair"):
            judge = judge_at(server, data, positives, tmp_path, prompt=prompt)
            found = judge.judge(rows[0][:6], rows[1][:6])
            assert found.judged.all()
            assert "of the query's words" in found.reasons[0]
