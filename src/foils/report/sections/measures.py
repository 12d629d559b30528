"""Retrieval measures with intervals, as `foils evaluate --json` wrote them beside a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foils.report import charts
from foils.report.blocks import Block, Plot, Section
from foils.report.figures import GAP, count, interval


def measured(evaluate: Mapping[str, Any]) -> Section | None:
    """A plot of intervals for each measure; what differs from the baseline is coloured."""
    systems = [system for system in evaluate.get("systems") or () if isinstance(system, Mapping)]
    names = list(dict.fromkeys(name for system in systems for name in system.get("measures") or {}))
    blocks: list[Block] = []
    for number, name in enumerate(names):
        values = [_point(system, name) for system in systems if (system["measures"].get(name) or {}).get("mean")]
        base = evaluate.get("baseline")
        rule = next((value["value"] for value in values if value["name"] == base), None)
        height = 40 * len(values) + 40
        note = f"Dashed: {base}. Coloured: differs from it (Holm-corrected p below .05)." if rule is not None else ""
        head = {"name": "System", "value": name, "low": "Low", "high": "High"}
        blocks.append(Plot(f"measured-{number}", name, charts.intervals(name, rule=rule), values, note, head, height))
    if not blocks:
        return None
    first = systems[0]
    lead = (
        f"{first.get('collection', '')}, split {first.get('split', '')}: {count(first.get('queries'))} queries; 95 % "
    )
    return Section("measures", "Measures", blocks, lead + "bootstrap intervals, as foils evaluate wrote them.")


def _point(system: Mapping[str, Any], name: str) -> dict[str, Any]:
    score = system["measures"][name]
    verdict = (score.get("versus") or {}).get("verdict")
    return {
        "name": str(system.get("system")),
        "value": score["mean"],
        "low": score.get("low"),
        "high": score.get("high"),
        "tone": {"better": "good", "worse": "bad"}.get(str(verdict), ""),
        "n": "",
        "label": f"{system.get('system')}{GAP}{interval({**score, 'value': score['mean']})}"
        + (f"{GAP}{verdict}" if verdict else ""),
    }
