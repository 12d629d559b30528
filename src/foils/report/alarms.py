"""What is wrong with a run, or may soon be: bounds of the guard, staleness, silence."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from foils.core.errors import FoilsError
from foils.core.spec import parse
from foils.report.figures import count, duration, real
from foils.report.sections.tasks import regressions
from foils.report.subject import Subject, Training
from foils.train.guard.look import look, looks
from foils.train.guard.record import BREACHES, described, went
from foils.train.guard.values import Guard
from foils.train.probing import sentences

_SILENT = 600.0  # seconds without a line in the journal, at least
_TIMES = 10  # as long as between two lines usually
_BEHIND = 2.0  # intervals between generations that the one in use may be behind
_CLOSING = 8  # looks in a row at which the gap shrinks
_CONVERGED = 0.98  # overlap of two generations from which on a refresh changes hardly anything


@dataclass(frozen=True)
class Alarm:
    """One thing to look at.

    Attributes:
        tone: "bad" for what is wrong, "warn" for what may be, "good" for news.
        text: a sentence.
        key: the same for the same matter, whatever its numbers.
    """

    tone: str
    text: str
    key: str


def alarms(subject: Subject, now: float | None = None) -> list[Alarm]:
    """Of a run: everything wrong with it now, worst first.

    Bounds are those of the run's own guard, and for those that it does not look at, of ``Guard()``; beyond them a run
    does not stop unless its own guard says so, but it should be looked at.

    Args:
        subject: the run.
        now: seconds since the epoch; the clock by default.
    """
    found: list[Alarm] = []
    for one in subject.trainings:
        prefix = f"{one.name}: " if one.name else ""
        said = [
            *_breaches(one),
            *_gap(one),
            *(() if one.finished else _running(one, time.time() if now is None else now)),
        ]
        found += [Alarm(alarm.tone, prefix + alarm.text, prefix + alarm.key) for alarm in said]
    order = {"bad": 0, "warn": 1, "good": 2}
    return sorted(found, key=lambda alarm: order[alarm.tone])


def _breaches(one: Training) -> Iterator[Alarm]:
    for number, entry in enumerate(one.record.get(BREACHES, ()), 1):
        text = f"Step {count(entry['step'])}: {described(entry)}: {went(entry)}."
        tone = "bad" if entry.get("fallback") is None and not one.finished else "warn"
        yield Alarm(tone, text, f"breach {number}")


def _gap(one: Training) -> Iterator[Alarm]:
    for number, (text, wrong) in enumerate(sentences(one.record)):
        if wrong:
            yield Alarm("warn", text, f"probe {number}")


def _running(one: Training, now: float) -> Iterator[Alarm]:
    yield from _finite(one)
    yield from _bounds(one)
    yield from _stale(one)
    yield from _closing(one)
    for name, text in regressions(one):
        yield Alarm("warn", text, f"task {name}")
    yield from _silence(one, now)


def _finite(one: Training) -> Iterator[Alarm]:
    for entry in one.looks[-3:]:
        loss = entry.get("loss")
        if isinstance(loss, str) or (isinstance(loss, float) and not math.isfinite(loss)):
            yield Alarm("bad", f"Step {count(entry['step'])}: the loss is {loss}.", "finite")
            return


def _bounds(one: Training) -> Iterator[Alarm]:
    own = own_guard(one)
    since = max((int(entry["back"]) for entry in one.record.get(BREACHES, ()) if entry.get("fallback")), default=0)
    history = [entry for entry in one.history if all(not isinstance(value, str) for value in entry.values())]
    if not history or not looks(history, since):
        return
    for name in ("dev", "loss", "uniformity", "rank", "document", "hub", "above"):
        only = dict.fromkeys(("dev", "loss", "uniformity", "rank", "document", "hub", "above"))
        bound = getattr(own, name) if own is not None else None
        only[name] = bound if bound is not None else getattr(Guard(), name)
        breach = look(Guard(**only), history, since)  # type: ignore[arg-type]
        if breach is not None:
            entry = {"what": breach.what, "value": breach.value, "bound": breach.bound}
            watched = "" if bound is not None else " The run goes on: its guard does not look at this."
            yield Alarm("bad" if bound is not None else "warn", f"{_sentence(described(entry))}.{watched}", name)


def own_guard(one: Training) -> Guard | None:
    """The guard that a training was given, as its record notes it."""
    text = one.record.get("notes", {}).get("guard")
    try:
        return parse(str(text), "guard") if text else None  # type: ignore[return-value]
    except FoilsError:
        return None


def _stale(one: Training) -> Iterator[Alarm]:
    used = [entry for entry in one.generations if "used_from" in entry]
    if not used:
        return
    steps = [int(entry["step"]) for entry in used]
    usual = median(b - a for a, b in zip([0, *steps], steps, strict=False)) if len(steps) > 1 else steps[0]
    behind = one.reached - steps[-1]
    if usual > 0 and behind > (1 + _BEHIND) * usual:
        text = f"The negatives are stale: generation {used[-1]['number']} was mined {count(behind)} steps ago"
        yield Alarm(
            "warn", f"{text}; generations came every {count(usual)}. Does the process that mines still run?", "stale"
        )
    common = used[-1].get("overlap@10")
    if common is not None and common >= _CONVERGED and len(used) > 1:
        text = (
            f"Generation {used[-1]['number']} has {common:.0%} of its 10 best candidates in common with the one before"
        )
        yield Alarm("good", f"{text}: refreshing changes hardly anything any more.", "converged")


def _closing(one: Training) -> Iterator[Alarm]:
    trend = [entry["gap_trend"] for entry in one.looks if isinstance(entry.get("gap_trend"), float)][-_CLOSING:]
    if len(trend) == _CLOSING and max(trend) < 0:
        text = f"The negatives are closing in on the positives: the gap has shrunk for {_CLOSING} looks, to "
        yield Alarm("warn", f"{text}{real(one.looks[-1].get('gap'))}. They may be false negatives.", "closing")


def _silence(one: Training, now: float) -> Iterator[Alarm]:
    last = _written(one.path)
    times = [entry["time"] for entry in one.history if isinstance(entry.get("time"), float)]
    usual = median(b - a for a, b in pairwise(times)) if len(times) > 2 else 0.0
    if last is not None and now - last > max(_SILENT, _TIMES * usual):
        text = f"Nothing was written for {duration(now - last)}. If the process is gone, the same command goes on."
        yield Alarm("warn", text, "silence")


def _written(run: Path) -> float | None:
    """When anything last changed in a run: its log, or what is being mined for it."""
    times = []
    for pattern in ("*", "generations/*", "generations/.*/*"):
        for path in run.glob(pattern):
            with suppress(OSError):  # it has just been removed
                times.append(path.stat().st_mtime)
    return max(times, default=None)


def _sentence(text: Any) -> str:
    return str(text)[:1].upper() + str(text)[1:]
