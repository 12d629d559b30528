"""Thresholds that were found, and what they cost."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from foils.core.cutoffs import Cutoffs
from foils.stages.calibrated import Calibrated
from foils.terminal.layout import columns

_UNITS = {
    "relative": "(s - s+) / |s+|",
    "absolute": "s - s+",
    "quantile": "F(s) - F(s+), in quantiles of the list",
    "score": "s, the score itself",
}


def calibrated(found: Cutoffs, stage: Calibrated) -> RenderableType:
    """A line for each group of queries, and what to do with the file."""
    grid = columns("queries", "labels", "threshold", "false before", "after", "true lost", right=(0, 1, 2, 3, 4, 5))
    lowest = 0
    for group in found.groups:
        report = group.report
        grid.add_row(
            f"{report['queries']:,}{_difficulty(lowest, group.hardest)}",
            f"{report['labels']:,}",
            _threshold(group.threshold),
            _rate(report["before"]),
            _rate(report["after"]),
            _rate(report["lost"]),
        )
        lowest = 0 if math.isinf(group.hardest) else int(group.hardest) + 1
    lines: list[RenderableType] = [grid, Text(_promise(found, stage)), Text(_judge(found.report["labels"]["judge"]))]
    starved = [group.report["starved"] for group in found.groups]
    if any(starved):
        whose = "queries" if stage.test == "drawn" else "labelled queries"
        lines.append(Text(f"{sum(starved):,} {whose} keep too few: {_deeper(stage)}", style="yellow"))
    closed = [group for group in found.groups if not group.report["passes"]]
    if closed:
        text = "Where the threshold is 'none', none passed: these queries keep no candidate."
        lines.append(Text(text, style="yellow"))
    if len(found.groups) < stage.groups:
        text = f"{len(found.groups)} of {stage.groups} groups: the others were too small, or do not differ."
        lines.append(Text(text, style="yellow"))
    return Group(*lines, Text(f"in {stage.path}"))


def _promise(found: Cutoffs, stage: Calibrated) -> str:
    of = "of each line " if len(found.groups) > 1 else ""
    whom = "of these very candidates" if stage.test == "drawn" else "for queries like these"
    return (
        f"With {stage.level:.0%} confidence, at most {stage.target:.1%} {of}of what is used is false, {whom}. "
        f"Threshold: {_UNITS[stage.kind]}; [{stage.level:.0%} bootstrap interval over queries]."
    )


def _deeper(stage: Calibrated) -> str:
    """What to do about queries that starve; thresholds that depend on the depth need a deeper pool."""
    if stage.bound_to_depth():
        return "mine a deeper pool and calibrate that."
    return (
        "mine with >> Ensure('deepen') behind the sampler. What that adds is below the threshold, too; for the promise "
        "to be of it as well, calibrate a pool as deep as that goes, 8 times the source's k."
    )


def _judge(judge: dict[str, Any]) -> str:
    """Whose word is taken for the truth."""
    note = "" if judge.get("calibrated", True) else ", not calibrated"
    return f"False is what {judge['name'] or 'somebody'} ({judge['kind']}{note}) calls relevant."


def _difficulty(lowest: int, hardest: float) -> str:
    if lowest == 0 and math.isinf(hardest):
        return ""
    span = f"{lowest}+" if math.isinf(hardest) else f"{lowest}" if hardest == lowest else f"{lowest}-{hardest:.0f}"
    return f"\n{span} above s+"


def _threshold(threshold: float) -> str:
    return "all" if threshold == math.inf else "none" if threshold == -math.inf else f"{threshold:+.3f}"


def _rate(rate: dict[str, Any] | None) -> str:
    if rate is None or rate["value"] is None:
        return "-"
    return f"{_percent(rate['value'])} %\n[{_percent(rate['low'])} {_percent(rate['high'])}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
