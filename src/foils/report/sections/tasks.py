"""Other tasks that were measured while a model was trained: what it gains or forgets against its start."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from foils.report import charts
from foils.report.blocks import Block, Plot, Table, Words
from foils.report.figures import count, real
from foils.report.subject import Training

FELL = 0.01  # below the start model from which on a fall is said; no interval is kept, so what is less may be luck
_LUCK = "No interval is kept of it: foils transfer says whether that is more than luck."


def others(one: Training, tag: str, marks: Sequence[dict[str, Any]]) -> list[Block]:
    """Differences to the start model by step, and the values as a table."""
    points = one.tasks
    names = list(dict.fromkeys(name for point in points for name in point if name != "step"))
    if not names:
        return []
    start = _start(one)
    values = [
        {"step": point["step"], "kind": name, "value": float(f"{point[name] - start[name]:.6g}")}
        for name in names
        for point in points
        if _known(point, name) and name in start
    ]
    said: list[Block] = [Words(text, "warn") for _, text in regressions(one)]
    if values:
        spec = charts.over(charts.curves("", names, form="+.3~f", points=True, marks=marks), charts.zero_line())
        note = "Measure less that of the start model; dashed: as before training. It decides nothing."
        said.append(Plot(f"tasks{tag}", "Other tasks", spec, values, note))
    rows = [
        [count(point["step"]), *(real(point[name], 4) if name in point else "" for name in names)] for point in points
    ]
    taken = {i: "strong" for i, point in enumerate(points) if one.finished and point["step"] == one.best}
    right = tuple(range(len(names) + 1))
    return [*said, Table("Other tasks by step", ("Step", *names), rows, right, taken, folded=True)]


def regressions(one: Training) -> list[tuple[str, str]]:
    """Tasks at which the model is below its start: the one that was taken, or the newest while training goes on.

    Returns:
        Names of the tasks, and a sentence each.
    """
    known, start, found = one.tasks, _start(one), []
    for name in start:
        looks = [point for point in known if _known(point, name) and point["step"] > 0]
        taken = [point for point in looks if point["step"] == one.best] if one.finished else []
        now = next(reversed(taken or looks), None)
        if now is not None and start[name] - now[name] >= FELL:
            text = (
                f"{name} fell from the start model's {real(start[name])} to {real(now[name])} at step "
                f"{count(now['step'])}. {_LUCK}"
            )
            found.append((name, text[:1].upper() + text[1:]))
    return found


def _start(one: Training) -> dict[str, float]:
    first = next((point for point in one.tasks if point["step"] == 0), {})
    return {name: value for name, value in first.items() if name != "step" and _known(first, name)}


def _known(point: dict[str, float], name: str) -> bool:
    return isinstance(point.get(name), int | float) and math.isfinite(point[name])
