"""JSON out of what language models write, checked against a schema."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from foils.adapters.llm.client import LLM, Progress
from foils.adapters.llm.messages import Reply, Request

_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
LONGER = 4  # times the tokens of a reply that was cut off
_WRONG = 200  # brackets that open no JSON, after which a text is given up
_OPENS = re.compile(r"[{\[]")


def _no_number(name: str) -> None:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_no_number)
Check = Callable[[Any], str | None]
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


@dataclass(frozen=True)
class Answer:
    """A reply as a value, or why it is none.

    Args:
        value: what the schema describes; None if there is a problem.
        problem: what is wrong with the reply, None if nothing.
        reply: as it came.
    """

    value: Any
    problem: str | None
    reply: Reply


def ask(
    llm: LLM,
    requests: Sequence[Request],
    progress: Progress | None = None,
    tries: int = 2,
    checks: Sequence[Check] | None = None,
) -> list[Answer]:
    """An answer to each request, in their order; unreadable replies are asked for again with another seed.

    What is still unreadable then stays so, and is kept: the same run again asks for nothing.

    Args:
        llm: the client.
        requests: with a schema each.
        progress: see `foils.adapters.llm.LLM.replies`.
        tries: for each request, at least 1.
        checks: of each request, what else is wrong with a value that follows the schema; None if nothing. A value with
            a fault is asked for again like one that cannot be read.

    Raises:
        OfflineError, BudgetError, LLMError: as `foils.adapters.llm.LLM.replies`.
    """
    more: Sequence[Check | None] = checks or [None] * len(requests)
    answers = [answer(*row) for row in zip(requests, llm.replies(requests, progress), more, strict=True)]
    for number in range(1, tries):
        bad = [i for i, made in enumerate(answers) if made.problem is not None and made.reply.finish != "refused"]
        if not bad:
            break
        again = [_another(requests[i], number, answers[i]) for i in bad]
        for i, request, reply in zip(bad, again, llm.replies(again), strict=True):
            answers[i] = answer(request, reply, more[i])
    return answers


def _another(request: Request, number: int, made: Answer) -> Request:
    """The same question with another seed, and with more room if the reply was cut off."""
    room = LONGER**number if made.reply.finish == "length" else 1
    return replace(request, seed=request.seed + number, max_tokens=room * request.max_tokens)


def answer(request: Request, reply: Reply, check: Check | None = None) -> Answer:
    """The value in a reply: the last that has no fault."""
    if reply.finish == "refused":
        return Answer(None, f"refused: {reply.text}", reply)
    if reply.finish == "content_filter":
        return Answer(None, "held back by a content filter", reply)
    if reply.finish == "length":
        return Answer(None, f"cut off at {request.max_tokens:,} tokens", reply)
    values = extract(reply.text)
    if not values:
        return Answer(None, "no JSON" if reply.text.strip() else "empty", reply)
    faults = [None if request.schema is None else fault(value, request.schema) for value in values]
    if check is not None:
        faults = [check(value) if wrong is None else wrong for value, wrong in zip(values, faults, strict=True)]
    for value, problem in zip(reversed(values), reversed(faults), strict=True):
        if problem is None:
            return Answer(value, None, reply)
    return Answer(None, faults[-1], reply)


def extract(text: str) -> list[Any]:
    """The JSON objects and arrays in a text, in their order, which may have thoughts, fences and words around them.

    >>> extract('As [1] says: ```json {"grade": 2} ```')
    [[1], {'grade': 2}]
    """
    text = _THOUGHT.sub("", text)
    found: list[Any] = []
    place = wrong = 0
    while wrong < _WRONG and (start := _OPENS.search(text, place)) is not None:
        try:
            value, place = _DECODER.raw_decode(text, start.start())
            found.append(value)
        except (ValueError, RecursionError):
            place, wrong = start.end(), wrong + 1
    return found


def fault(value: Any, schema: Mapping[str, Any], where: str = "reply") -> str | None:
    """What in a value does not follow its schema; None if it does.

    Understands ``type``, ``enum``, ``properties``, ``required``, ``items``, ``minItems``, ``maxItems``, ``minimum`` and
    ``maximum``. Keys that the schema does not name are no fault: models add remarks.
    """
    kind = schema.get("type")
    if kind is not None and (
        not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind in ("integer", "number"))
    ):
        return f"{where} is {_shown(value)}, not of type {kind}"
    if "enum" in schema and not any(value == one and type(value) is type(one) for one in schema["enum"]):
        return f"{where} is {_shown(value)}, none of {', '.join(map(str, schema['enum']))}"
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                return f"{where} has no {name!r}"
        parts = [(value[name], part, f"{where}.{name}") for name, part in known.items() if name in value]
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return f"{where} has {len(value)} items"
        parts = [(one, schema.get("items", {}), f"{where}[{i}]") for i, one in enumerate(value)]
    else:
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        fits = kind not in ("integer", "number") or low <= value <= high
        return None if fits else f"{where} is {value}, out of range"
    return next((wrong for part in parts if (wrong := fault(*part)) is not None), None)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else text[:39] + "…"
