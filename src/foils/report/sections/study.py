"""A comparison of recipes: scores with intervals, tests, cost, and what it advises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from foils.report import charts
from foils.report.blocks import Block, Code, Plot, Section, Table, Words
from foils.report.figures import count, duration, interval, real

Arm = Mapping[str, Any]


def advised(study: Mapping[str, Any]) -> Section | None:
    """The sentences of advice."""
    said = [text if isinstance(text, str) else str(text.get("text", text)) for text in study.get("advice") or ()]
    return Section("advice", "What it says", [Words(text) for text in said]) if said else None


def compared(study: Mapping[str, Any]) -> list[Section]:
    """Scores of all arms, what differs from the baseline, effect against cost, and the recipes."""
    arms = [arm for arm in study.get("arms") or () if arm.get("scores")]
    if not arms:
        return []
    sections = [_scores(study, arms)]
    pareto = _pareto(study, arms)
    sections += [] if pareto is None else [pareto]
    recipes = [Code(str(arm["name"]), _text(arm["recipe"])) for arm in arms if arm.get("recipe")]
    return [*sections, Section("recipes", "Recipes", recipes)] if recipes else sections


def _measures(study: Mapping[str, Any], arms: list[Arm]) -> list[str]:
    return list(study.get("measures") or ()) or list(dict.fromkeys(name for arm in arms for name in arm["scores"]))


def _scores(study: Mapping[str, Any], arms: list[Arm]) -> Section:
    measures = _measures(study, arms)
    blocks: list[Block] = []
    baseline = study.get("baseline")
    for number, measure in enumerate(measures):
        values = [_point(arm, measure, study) for arm in arms if measure in arm["scores"]]
        rule = next((value["value"] for value in values if value["name"] == baseline), None)
        spec = charts.intervals(measure, rule=rule)
        note = (
            f"Dashed: {baseline}. Coloured: differs from it (Holm-corrected p below .05)." if rule is not None else ""
        )
        height = 40 * len(values) + 40
        blocks.append(Plot(f"study-{number}", measure, spec, values, note, height=height))
    head = ["Arm", *measures]
    rows = [[str(arm["name"]), *(interval(arm["scores"].get(name) or {}) for name in measures)] for arm in arms]
    blocks.append(Table("Scores", head, rows, tuple(range(1, len(head))), note=_seeds(arms)))
    if any(arm.get("versus") for arm in arms):
        blocks.append(_versus(arms, measures))
    lead = " ".join(f"{name.capitalize()}: {study[name]}." for name in ("data", "model") if study.get(name))
    return Section("scores", "Scores", blocks, lead)


def _point(arm: Arm, measure: str, study: Mapping[str, Any]) -> dict[str, Any]:
    score = arm["scores"][measure]
    return {
        "name": str(arm["name"]),
        **{name: score.get(name) for name in ("value", "low", "high")},
        "tone": _verdict(arm, measure, study.get("baseline")),
        "n": "",
        "label": f"{arm['name']}   {interval(score)}",
    }


def _verdict(arm: Arm, measure: str, baseline: Any) -> str:
    test = ((arm.get("versus") or {}).get(baseline) or {}).get(measure)
    if not test or test.get("holm", test.get("p", 1.0)) is None or test.get("holm", test.get("p", 1.0)) >= 0.05:
        return ""
    return "good" if test["difference"] > 0 else "bad"


def _versus(arms: list[Arm], measures: list[str]) -> Table:
    rows: list[list[str]] = []
    tones: dict[int, str] = {}
    for arm in arms:
        for other, tests in (arm.get("versus") or {}).items():
            for measure in (name for name in measures if name in tests):
                test = tests[measure]
                verdict = {"good": "better", "bad": "worse", "": "not distinguishable"}[_verdict(arm, measure, other)]
                if verdict != "not distinguishable":
                    tones[len(rows)] = "good" if verdict == "better" else "bad"
                shown = interval({**test, "value": test.get("difference")})
                numbers = [_p(test.get("p")), _p(test.get("holm"))]
                rows.append([str(arm["name"]), str(other), measure, shown, *numbers, verdict])
    head = ("Arm", "against", "Measure", "Difference", "p", "p, Holm", "")
    return Table("Differences", head, rows, (3, 4, 5), tones)


def _p(value: float | None) -> str:
    return "" if value is None else "<.001" if value < 0.001 else f"{value:.3f}".lstrip("0")


def _seeds(arms: list[Arm]) -> str:
    most = max((len(arm.get("seeds") or ()) for arm in arms), default=0)
    return f"{most} seed{'s' if most != 1 else ''} an arm." if most else ""


def _pareto(study: Mapping[str, Any], arms: list[Arm]) -> Section | None:
    measures = _measures(study, arms)
    if not measures:
        return None
    measure = next((name for name in measures if name.startswith("nDCG")), measures[0])
    front = set(study.get("pareto") or ())
    values = []
    for arm in arms:
        seconds = _seconds(arm)
        score = arm["scores"].get(measure)
        if seconds is None or not score or score.get("value") is None:
            continue
        ends = {name: score.get(name) for name in ("low", "high")}
        values.append(
            {"name": str(arm["name"]), "x": seconds / 60, "y": score["value"], **ends, "front": arm["name"] in front}
        )
    rows = [
        [
            str(arm["name"]),
            "yes" if arm["name"] in front else "",
            *(duration((arm.get("seconds") or {}).get(name)) for name in ("mine", "train")),
            "" if arm.get("memory_mb") is None else f"{arm['memory_mb']:,.0f} MB",
            count(arm["encoded"]) if isinstance(arm.get("encoded"), int | float) else "",
            _rate(arm.get("rate")),
        ]
        for arm in arms
    ]
    head = ("Arm", "Best for its cost", "Mining", "Training", "Memory", "Texts encoded", "False negatives")
    blocks: list[Block] = []
    if values:
        spec = charts.scatter("minutes of mining and training", measure, ".3~g", ".3~f")
        note = "Joined: no other arm is better for less time."
        blocks.append(Plot("pareto", f"{measure} against time", spec, values, note, height=280))
    blocks.append(Table("Cost", head, rows, (2, 3, 4, 5, 6)))
    return Section("cost", "Effect against cost", blocks)


def _seconds(arm: Arm) -> float | None:
    seconds = [value for value in (arm.get("seconds") or {}).values() if isinstance(value, int | float)]
    return sum(seconds) if seconds else None


def _rate(rate: Any) -> str:
    if not isinstance(rate, Mapping) or rate.get("value") is None:
        return ""
    return f"{interval(rate, percent=True)} {rate.get('kind', '')}".strip()


def _text(recipe: Any) -> str:
    return recipe if isinstance(recipe, str) else yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True).rstrip()


def best_arm(study: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Measure, name and score of the arm with the highest first measure."""
    arms = [arm for arm in study.get("arms") or () if arm.get("scores")]
    measures = _measures(study, arms)
    measure = next((name for name in measures if name.startswith("nDCG")), measures[0] if measures else "")
    scored = [arm for arm in arms if (arm["scores"].get(measure) or {}).get("value") is not None]
    if not scored:
        return None
    best = max(scored, key=lambda arm: float(arm["scores"][measure]["value"]))
    return measure, str(best["name"]), real(best["scores"][measure]["value"])
