"""A comparison of recipes: scores with intervals, tests, cost, and what it advises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from foils.report import charts
from foils.report.blocks import Block, Code, Plot, Section, Table, Words
from foils.report.figures import GAP, count, duration, interval, real
from foils.study.arms import START

Arm = Mapping[str, Any]
_SPENT = ("shared", "mine", "teach", "train")


def advised(study: Mapping[str, Any]) -> Section | None:
    """The sentences of advice."""
    said = [text if isinstance(text, str) else str(text.get("text", text)) for text in study.get("advice") or ()]
    return Section("advice", "What it says", [Words(text) for text in said]) if said else None


def compared(study: Mapping[str, Any]) -> list[Section]:
    """Scores of all arms, what differs from the baseline, effect against cost, and the recipes."""
    arms = [arm for arm in study.get("arms") or () if arm.get("scores")]
    if not arms:
        return []
    sections = [*_failed(study), _scores(study, arms)]
    pareto = _pareto(study, arms)
    sections += [] if pareto is None else [pareto]
    recipes = [Code(str(arm["name"]), _text(arm["recipe"]), folded=True) for arm in arms if arm.get("recipe")]
    return [*sections, Section("recipes", "Recipes", recipes)] if recipes else sections


def _failed(study: Mapping[str, Any]) -> list[Section]:
    said = [Words(f"{name}: {why}", "bad") for name, why in (study.get("failed") or {}).items()]
    return [Section("failed", "Arms that failed", said)] if said else []


def _measures(study: Mapping[str, Any], arms: list[Arm]) -> list[str]:
    return list(study.get("measures") or ()) or list(dict.fromkeys(name for arm in arms for name in arm["scores"]))


def _main(study: Mapping[str, Any], measures: list[str]) -> str:
    return str(study.get("main") or next((name for name in measures if name.startswith("nDCG")), measures[0]))


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
    blocks.append(Table("Scores", head, rows, tuple(range(1, len(head)))))
    if any(arm.get("versus") for arm in arms):
        blocks.append(_versus(arms, measures))
    return Section("scores", "Scores", blocks, _lead(study, arms))


def _lead(study: Mapping[str, Any], arms: list[Arm]) -> str:
    """What was trained on what, and measured on what."""
    most = max((len(arm.get("seeds") or ()) for arm in arms), default=0)
    trained = [f"{most} seed{'s' if most != 1 else ''} an arm"] if most else []
    if study.get("steps"):
        trained.append(f"{count(study['steps'])} steps each")
    if study.get("training_queries"):
        trained.append(f"{count(study['training_queries'])} training queries")
    if study.get("queries"):
        trained.append(f"measured on {count(study['queries'])} queries of split {study.get('test', 'test')}")
    return f"{study.get('collection', '')}, model {study.get('model', '')}: {', '.join(trained)}."


def _point(arm: Arm, measure: str, study: Mapping[str, Any]) -> dict[str, Any]:
    score = arm["scores"][measure]
    return {
        "name": str(arm["name"]),
        **{name: score.get(name) for name in ("value", "low", "high")},
        "tone": _verdict(arm, measure, study.get("baseline")),
        "n": "",
        "label": f"{arm['name']}{GAP}{interval(score)}",
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
                shown = _difference(test)
                numbers = [_p(test.get("p")), _p(test.get("holm"))]
                rows.append([str(arm["name"]), str(other), measure, shown, *numbers, verdict])
    head = ("Arm", "against", "Measure", "Difference", "p", "p, Holm", "")
    return Table("Differences", head, rows, (3, 4, 5), tones)


def _difference(test: Mapping[str, Any]) -> str:
    middle, low, high = (test.get(name) for name in ("difference", "low", "high"))
    ends = "" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]"
    return "" if middle is None else f"{middle:+.3f}{ends}"


def _p(value: float | None) -> str:
    return "" if value is None else "<.001" if value < 0.001 else f"{value:.3f}".lstrip("0")


def _pareto(study: Mapping[str, Any], arms: list[Arm]) -> Section | None:
    measures = _measures(study, arms)
    if not measures:
        return None
    measure = _main(study, measures)
    front = set(study.get("pareto") or ())
    values: list[dict[str, Any]] = []
    # The model before training costs nothing and lies so far below that the arms could not be told apart beside it.
    begun = next((arm["scores"].get(measure) for arm in arms if arm["name"] == START), None)
    for arm in arms:
        seconds = _seconds(arm)
        score = None if arm["name"] == START else arm["scores"].get(measure)
        if seconds is None or not score or score.get("value") is None:
            continue
        ends = {name: score.get(name) for name in ("low", "high")}
        values.append(
            {"name": str(arm["name"]), "x": seconds / 60, "y": score["value"], **ends, "front": arm["name"] in front}
        )
    for place, value in enumerate(sorted(values, key=lambda value: value["x"])):
        value |= {"place": place, "late": value["x"] > 0.6 * max(other["x"] for other in values)}
    rows = [
        [
            str(arm["name"]),
            "yes" if arm["name"] in front else "",
            *(duration((arm.get("seconds") or {}).get(name)) for name in _SPENT),
            duration(_seconds(arm)),
            "" if arm.get("memory_mb") is None else f"{arm['memory_mb']:,.0f} MB",
            count(arm["encoded"]) if isinstance(arm.get("encoded"), int | float) else "",
            _rate(arm.get("rate")),
        ]
        for arm in arms
    ]
    spent = ("Shared pools", "Mining", "Teaching", "Training", "Together")
    head = ("Arm", "Best for its cost", *spent, "Memory", "Texts encoded", "False negatives")
    blocks: list[Block] = []
    if values:
        spec = charts.scatter("minutes, all together", measure, ".3~g", ".3~f")
        note = "Joined: no other arm is better for less time."
        note += f" Before training: {interval(begun)}." if begun else ""
        blocks.append(Plot("pareto", f"{measure} against time", spec, values, note, height=280))
    blocks.append(Table("Cost", head, rows, tuple(range(2, len(head)))))
    return Section("cost", "Effect against cost", blocks)


def _seconds(arm: Arm) -> float | None:
    spent = {name: value for name, value in (arm.get("seconds") or {}).items() if isinstance(value, int | float)}
    return spent.get("total", sum(spent.values())) if spent else None


def _rate(rate: Any) -> str:
    if not isinstance(rate, Mapping) or rate.get("value") is None:
        return ""
    return f"{interval(rate, percent=True)} {rate.get('kind', '')}".strip()


def _text(recipe: Any) -> str:
    if isinstance(recipe, str):
        return recipe
    plain = {key: value for key, value in recipe.items() if value not in (None, "", [])}
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)).rstrip()


def best_arm(study: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Measure, name and score of the arm with the highest first measure."""
    arms = [arm for arm in study.get("arms") or () if arm.get("scores")]
    measures = _measures(study, arms)
    measure = _main(study, measures) if measures else ""
    scored = [arm for arm in arms if (arm["scores"].get(measure) or {}).get("value") is not None]
    if not scored:
        return None
    best = max(scored, key=lambda arm: float(arm["scores"][measure]["value"]))
    return measure, str(best["name"]), real(best["scores"][measure]["value"])
