"""Whether what a run has logged keeps the bounds of its guard.

All of it is a function of the log that every checkpoint carries, so a run that was killed and continued sees what an
uninterrupted one sees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from foils.train.curve import curve_of
from foils.train.dev import METRIC
from foils.train.guard.values import Guard

RECENT = 3  # looks whose median counts
_ENOUGH = 5  # losses to compare with, at least
_NOISE = 0.05  # of dev nDCG@10
_SPREAD = 0.05  # of the median loss: least robust standard deviation
_LEAST = 0.01  # of a loss, likewise
_PREFIX = "foils/"

History = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Breach:
    """A bound that was not kept.

    Attributes:
        what: the field of `Guard`, or ``finite``.
        step: optimiser steps done when it was seen.
        value: what was measured.
        bound: what it may be.
        sound: a checkpoint of this step or before is good.
    """

    what: str
    step: int
    value: float
    bound: float
    sound: int


def looks(history: History, since: int = 0) -> list[dict[str, Any]]:
    """Entries of the log with figures of a step, ascending."""
    return [entry for entry in history if f"{_PREFIX}loss" in entry and entry["step"] > since]


def good_until(history: History, since: int = 0) -> int:
    """The step until which nothing that a breach now would be judged by had been measured."""
    found = looks(history, since)
    return int(found[-RECENT - 1]["step"]) if len(found) > RECENT else since


def look(guard: Guard, history: History, since: int = 0) -> Breach | None:
    """The first bound that the newest figures do not keep, or None.

    Args:
        guard: the bounds.
        history: what was logged, in order.
        since: step from which on the run trains as it does now.
    """
    found = looks(history, since)
    fresh = _since_generation(found, history)
    sound = good_until(history, since)
    for what, said in (
        ("hub", _hub(guard, history, since)),
        ("dev", _dev(guard, history, since)),
        ("loss", _loss(guard, fresh)),
        ("uniformity", _uniformity(guard, found, history)),
        ("rank", _rank(guard, found, history)),
        ("document", _document(guard, found)),
        ("above", _above(guard, fresh)),
    ):
        if said is not None:
            value, bound, *rest = said
            step = int(history[-1]["step"])
            return Breach(what, step, float(value), float(bound), int(rest[0]) if rest else sound)
    return None


Said = tuple[float, ...] | None  # value and bound; and until when it was sound, if not until the looks that count


def _hub(guard: Guard, history: History, since: int) -> Said:
    taken = [entry for entry in history if f"{_PREFIX}hub" in entry and entry["step"] >= since]
    if guard.hub is None or not taken or taken[-1][f"{_PREFIX}hub"] <= guard.hub:
        return None
    return taken[-1][f"{_PREFIX}hub"], guard.hub, taken[-1]["step"]


def _dev(guard: Guard, history: History, since: int) -> Said:
    curve = curve_of(history)
    if guard.dev is None or len(curve) < 2 or curve[-1]["step"] <= since:
        return None
    best = max(point[METRIC] for point in curve)
    bound = best - max(guard.dev * best, _NOISE)
    if curve[-1][METRIC] >= bound:
        return None
    # Back to the best trained weights, unless the start model beats those by as much.
    trained = [point for point in curve if point["step"] > 0 and point[METRIC] >= bound]
    sound = max(trained, key=lambda point: point[METRIC])["step"] if trained else 0
    return curve[-1][METRIC], bound, sound


def _loss(guard: Guard, found: History) -> Said:
    losses = [entry[f"{_PREFIX}loss"] for entry in found]
    before, now = losses[:-RECENT][-guard.window :], losses[-RECENT:]
    if guard.loss is None or len(before) < _ENOUGH:
        return None
    middle = median(before)
    deviation = 1.4826 * median(abs(loss - middle) for loss in before)
    bound = middle + guard.loss * max(deviation, _SPREAD * abs(middle), _LEAST)
    return _beyond(median(now), bound)


def _uniformity(guard: Guard, found: History, history: History) -> Said:
    values = _values(_wide(found, history), "uniformity")
    if guard.uniformity is None or len(values) < RECENT:
        return None
    if min(_values(_wide(looks(history), history), "uniformity")) > guard.uniformity:
        return None  # it never was within
    return _beyond(median(values[-RECENT:]), guard.uniformity)


def _rank(guard: Guard, found: History, history: History) -> Said:
    first = _values(_wide(looks(history), history), "effective_rank")[:1]
    values = _values(_wide(found, history), "effective_rank")
    if guard.rank is None or len(values) < RECENT or not first:
        return None
    value, bound = median(values[-RECENT:]), guard.rank * first[0]
    return (value, bound) if value < bound else None


def _document(guard: Guard, found: History) -> Said:
    wide = _wide(found, found)
    # Where the loss is nearly gone one row can have all the push that is left, and so one document.
    values = [min(pair) for pair in zip(_values(wide, "top_document"), _values(wide, "top_rows"), strict=True)]
    if guard.document is None or len(values) < RECENT:
        return None
    return _beyond(median(values[-RECENT:]), guard.document)


def _above(guard: Guard, found: History) -> Said:
    logged = (name.removeprefix(_PREFIX) for entry in found[-1:] for name in entry)
    # Of all own negatives together; those of one source may be a handful.
    names = {_PREFIX + name for name in logged if name.startswith("above") and "/" not in name}
    for name in sorted(names) if guard.above is not None else ():
        values = [entry[name] for entry in found if name in entry]
        smooth = [median(values[end - RECENT : end]) for end in range(RECENT, len(values) + 1)]
        if smooth and (said := _beyond(smooth[-1], min(smooth) + guard.above)):
            return said
    return None


def _beyond(value: float, bound: float) -> Said:
    return (value, bound) if value > bound else None


def _values(entries: History, name: str) -> list[float]:
    return [entry[_PREFIX + name] for entry in entries if math.isfinite(entry.get(_PREFIX + name, math.nan))]


def _wide(found: History, history: History) -> list[dict[str, Any]]:
    """Looks at about as many documents as others: the last batch of an epoch may have hardly any."""
    name = f"{_PREFIX}documents"
    most = max((entry[name] for entry in looks(history) if name in entry), default=0)
    return [entry for entry in found if name in entry and 2 * entry[name] >= most]


def _since_generation(found: History, history: History) -> list[dict[str, Any]]:
    taken = [int(entry["step"]) for entry in history if f"{_PREFIX}generation" in entry]
    return [entry for entry in found if not taken or entry["step"] > taken[-1]]
