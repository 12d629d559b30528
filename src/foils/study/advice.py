"""What a study means for its collection, in plain words with the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foils.evaluate.scores import ALPHA
from foils.evaluate.tables import number
from foils.study.arms import START

_HIGH = 0.1  # share of false negatives worth a sentence


def sentences(record: Mapping[str, Any]) -> list[str]:
    """The recommendation first, then what it rests on.

    An arm is *better* or *worse* than the baseline where the Holm-corrected p of the deciding measure is below .05, and
    else *not distinguishable* from it. Recommended is, of the better arms, the one with the highest mean; cheaper ones
    whose interval of the difference to the baseline overlaps its own are named with their price.

    Args:
        record: a study's record, without ``advice``.
    """
    arms = {arm["name"]: arm for arm in record["arms"]}
    baseline, main = record["baseline"], record["main"]
    against = {
        name: _of(arm, baseline, arms[baseline], main) for name, arm in arms.items() if name not in (baseline, START)
    }
    told = {name: found for name, found in against.items() if found is not None}
    better = [name for name, found in told.items() if found["holm"] < ALPHA and found["difference"] > 0]
    worse = [name for name, found in told.items() if found["holm"] < ALPHA and found["difference"] < 0]
    unclear = [name for name in told if name not in better and name not in worse]
    lines = [_first(arms, told, better, record)]
    lines += [_adds(arms, told, name, record) for name in _by_effect(better, told)[1:]]
    if unclear:
        lines.append(_indistinguishable(unclear, told, record))
    if worse:
        each = ", ".join(f"{name} {_span(told[name])}" for name in _by_effect(worse, told)[::-1])
        lines.append(f"Worse than {baseline}: {each} {main}.")
    return [*lines, *_of_training(arms, record), *_of_rates(record["arms"]), *_of_luck(record)]


def _of(arm: Mapping[str, Any], other: str, against: Mapping[str, Any], main: str) -> dict[str, Any] | None:
    """The difference of an arm to another, from whichever side it was taken."""
    if other in arm["versus"]:
        return dict(arm["versus"][other][main])
    turned = against["versus"].get(arm["name"])
    if turned is None:
        return None
    found = turned[main]
    return {**found, "difference": -found["difference"], "low": -found["high"], "high": -found["low"]}


def _first(arms: Mapping[str, Any], told: Mapping[str, Any], better: Sequence[str], record: Mapping[str, Any]) -> str:
    baseline, main = record["baseline"], record["main"]
    if not told:
        return f"Nothing was compared with {baseline}: name more recipes."
    if not better:
        return f"No recipe here is better than {baseline} by {main}: stay with {baseline}."
    best = _by_effect(better, told)[0]
    cheaper = [
        name
        for name in better
        if name != best and told[name]["high"] >= told[best]["low"] and _cost(arms[name]) < _cost(arms[best])
    ]
    text = f"Take {best}: it adds {_span(told[best])} {main} to {baseline}{_price(arms, best, baseline)}."
    if cheaper:
        listed = ", ".join(f"{name} ({duration(_cost(arms[name]))})" for name in cheaper)
        text += f" Cheaper, and with intervals that overlap its own: {listed}."
    return text


def _adds(arms: Mapping[str, Any], told: Mapping[str, Any], name: str, record: Mapping[str, Any]) -> str:
    return f"{name} adds {_span(told[name])} {record['main']}{_price(arms, name, record['baseline'])}."


def _indistinguishable(unclear: Sequence[str], told: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    baseline, main = record["baseline"], record["main"]
    sizes = [told[name]["detectable"] for name in unclear if told[name]["detectable"]]
    size = number(max(sizes, default=0.0))
    seen = f" 4 times in 5, one uncorrected test would have seen a true difference above about {size}." if sizes else ""
    if len(unclear) == 1:
        name = unclear[0]
        return f"{name} and {baseline} are not distinguishable here ({_span(told[name])} {main}).{seen}"
    each = ", ".join(f"{name} {_span(told[name])}" for name in unclear)
    return f"Not distinguishable from {baseline} here: {each} {main}.{seen}"


def _of_training(arms: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    baseline, main = record["baseline"], record["main"]
    if baseline == START or START not in arms:
        return []
    found = _of(arms[baseline], START, arms[START], main)
    if found is None:
        return []
    if found["holm"] >= ALPHA:
        return [f"Training itself: {baseline} is not distinguishable from the model before training ({_span(found)})."]
    if found["difference"] > 0:
        return [f"Training itself: {baseline} is {_span(found)} {main} above the model before training."]
    return [
        f"Training itself hurts: {baseline} is {_span(found)} {main} against the model before training. Look at the "
        "learning rate, the budget and the data before choosing negatives."
    ]


def _of_rates(arms: Sequence[Mapping[str, Any]]) -> list[str]:
    high = [arm for arm in arms if arm["rate"]["value"] is not None and arm["rate"]["value"] >= _HIGH]
    lines = []
    for who in dict.fromkeys(_by(arm["rate"]) for arm in high):
        listed = ", ".join(f"{arm['name']} {percent(arm['rate'])}" for arm in high if _by(arm["rate"]) == who)
        lines.append(f"Of these arms' negatives many are relevant by {who}: {listed}.")
    return lines


def _by(rate: Mapping[str, Any]) -> str:
    if rate["kind"] == "true":
        return "the fuller labels"
    return f"{rate['judge']}, as estimated from {rate['judged']:,} of each"


def _of_luck(record: Mapping[str, Any]) -> list[str]:
    lines = []
    most = max((len(arm["seeds"]) for arm in record["arms"] if arm["name"] != START), default=0)
    if most == 1:
        lines.append("One seed: the intervals are over queries alone, and another training may differ by more.")
    elif most == 2:
        lines.append("Two seeds say little of others, so the intervals are wide; three or more make them narrower.")
    if record["failed"]:
        listed = ", ".join(record["failed"])
        lines.append(f"Not finished: {listed}. The same command tries again.")
    return lines


def _by_effect(names: Sequence[str], told: Mapping[str, Any]) -> list[str]:
    return sorted(names, key=lambda name: -told[name]["difference"])


def _cost(arm: Mapping[str, Any]) -> float:
    return float(arm["seconds"]["total"])


def _price(arms: Mapping[str, Any], name: str, baseline: str) -> str:
    more = _cost(arms[name]) - _cost(arms[baseline])
    return f" for {duration(more)} more" if more >= 1 else f" in {duration(-more)} less" if more <= -1 else ""


def _span(found: Mapping[str, Any]) -> str:
    ends = f"[{number(found['low'], sign=True)}, {number(found['high'], sign=True)}]"
    return f"{number(found['difference'], sign=True)} {ends}"


def percent(rate: Mapping[str, Any]) -> str:
    """``44 % [42, 46]``; ``44 %`` where all were judged."""
    digits = 0 if rate["value"] >= 0.1 else 1
    value, low, high = (f"{100 * rate[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} %" if rate["low"] == rate["high"] else f"{value} % [{low}, {high}]"


def duration(seconds: float) -> str:
    """A time as a person says it: ``24 s``, ``9 min``, ``1.5 h``.

    >>> duration(24.2), duration(540), duration(5400)
    ('24 s', '9 min', '1.5 h')
    """
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 89.5 else f"{minutes / 60:.1f} h"
