"""A study as tables: in a terminal of 80 columns, as CSV and as LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from foils.evaluate.scores import verdict
from foils.evaluate.tables import number
from foils.study.advice import duration, percent
from foils.study.arms import START

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_ABREAST = 3
_STYLES = {"better": "green", "worse": "red", "unclear": "dim"}
_TEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$"}


def shown(record: Mapping[str, Any]) -> RenderableType:
    """Effects, costs, notes and the recommendation, as a person sees them."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    measures: Sequence[str] = record["measures"]
    groups = [measures[start : start + _ABREAST] for start in range(0, len(measures), _ABREAST)]
    notes = [Text(line, style="dim") for line in _notes(record)]
    advice = Table.grid(padding=(0, 1))
    for line in record["advice"]:
        advice.add_row("-", Text(line))
    head = Text("what this says", style="bold")
    effects = [_effects(record, group) for group in groups]
    return Group(*effects, Text(""), _costs(record), *notes, Text(""), head, advice)


def _effects(record: Mapping[str, Any], measures: Sequence[str]) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 1), show_lines=False)
    grid.add_column("arm", overflow="fold", max_width=17)
    for measure in measures:
        grid.add_column(measure, no_wrap=True)
    for arm in record["arms"]:
        label = f"{arm['name']}\n(baseline)" if arm["name"] == record["baseline"] else arm["name"]
        grid.add_row(label, *(_cell(arm, measure, record["baseline"]) for measure in measures))
    return grid


def _cell(arm: Mapping[str, Any], measure: str, baseline: str) -> Text:
    from rich.text import Text

    reached = arm["scores"][measure]
    text = Text(f"{number(reached['value']):>5} {_ends(reached)}")
    against = arm["versus"].get(baseline, {}).get(measure)
    if against is not None:
        text.append(f"\n{number(against['difference'], sign=True):>5} {_ends(against, sign=True)}")
        text.append(f"\n{_p(against['holm']):>5} {_verdict(against)}", style=_STYLES[_verdict(against)])
    return text


def _verdict(against: Mapping[str, Any]) -> str:
    return verdict(against["difference"], against["holm"])


def _costs(record: Mapping[str, Any]) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 1))
    for place, head in enumerate(("arm", "mine", "train", "MB", "encoded", "pairs", "false negatives", "front")):
        grid.add_column(head, justify="left" if place in (0, 6, 7) else "right", overflow="fold", no_wrap=place > 0)
    for arm in record["arms"]:
        seconds, trained = arm["seconds"], arm["name"] != START
        mining = seconds["mine"] + seconds["teach"] + seconds["shared"]
        grid.add_row(
            arm["name"],
            duration(mining) + ("*" if arm["pool"] else "") if mining and trained else "",
            duration(seconds["train"]) if trained else "",
            "" if arm["memory_mb"] is None else f"{arm['memory_mb']:,.0f}",
            f"{arm['encoded']:,}",
            f"{arm['work']['pairs']:,}" if arm["work"]["pairs"] else "",
            _rate(arm["rate"]),
            "yes" if arm["name"] in record["pareto"] else "",
        )
    return grid


def _rate(rate: Mapping[str, Any]) -> str:
    if rate["value"] is None:
        return ""
    return f"~{percent(rate)}" if rate["kind"] == "estimated" else percent(rate)


def _of_rates(arms: Sequence[Mapping[str, Any]]) -> list[str]:
    """Who estimated which rates, and why some are not known."""
    lines: dict[str, None] = {}
    for rate in (arm["rate"] for arm in arms):
        if rate["kind"] == "estimated":
            who = rate["judge"] + (f" with {rate['cheap']}" if rate["cheap"] else "")
            lines[f"~estimated by {who}, from {rate['judged']:,} negatives of seed {rate['seed']}."] = None
    whys: dict[str, list[str]] = {}
    for arm in arms:
        if "why" in arm["rate"]:
            whys.setdefault(arm["rate"]["why"], []).append(arm["name"])
    return [*lines, *(f"No false-negative rate of {', '.join(names)}: {why}" for why, names in whys.items())]


def _notes(record: Mapping[str, Any]) -> list[str]:
    seeds = max((len(arm["seeds"]) for arm in record["arms"]), default=1)
    of = "queries and seeds" if seeds > 1 else "queries"
    family = "all pairs of arms" if record["pairs"] == "all" else "arms"
    lines = [
        f"{record['collection']}, split {record['test']!r}: {record['queries']:,} queries; {seeds} "
        f"seed{'s' if seeds > 1 else ''} of {record['steps']:,} steps on {record['training_queries']:,} queries; "
        f"[95 % interval over {of}].",
        f"Differences are to {record['baseline']}; p: Holm-corrected over {family}, measure by measure. "
        "Intervals are each for itself.",
        "Times, texts encoded and pairs scored are means of the seeds, MB the peak; front: no other arm is better "
        "for less time.",
    ]
    if record["shared"]:
        listed = ", ".join(f"{pool['source']} ({duration(pool['seconds'])})" for pool in record["shared"])
        lines.append(f"*with candidates that arms share, searched once: {listed}.")
    lines += _of_rates(record["arms"])
    lines += [f"{name} failed: {why}" for name, why in record["failed"].items()]
    return lines


def rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One flat row for each arm: scores, differences to the baseline, costs."""
    made = []
    for arm in record["arms"]:
        row: dict[str, Any] = {"arm": arm["name"], "seeds": len(arm["seeds"])}
        for measure in record["measures"]:
            reached = arm["scores"][measure]
            row |= {measure: reached["value"], f"{measure} low": reached["low"], f"{measure} high": reached["high"]}
            against = arm["versus"].get(record["baseline"], {}).get(measure, {})
            for key in ("difference", "low", "high", "p", "holm"):
                name = key if key in ("difference", "p", "holm") else f"difference {key}"
                row[f"{measure} {name}"] = against.get(key)
        row |= {f"{key} seconds": value for key, value in arm["seconds"].items()}
        row |= {"memory MB": arm["memory_mb"], "steps": arm["steps"], **arm["work"], "negatives": arm["negatives"]}
        row |= {f"false negatives{suffix}": arm["rate"][key] for key, suffix in _RATE.items()}
        made.append({**row, "pareto": arm["name"] in record["pareto"]})
    return made


_RATE = {"value": "", "low": " low", "high": " high", "kind": " kind"}


def as_csv(record: Mapping[str, Any]) -> str:
    """`rows` as CSV (RFC 4180); what there is not is empty."""
    made = rows(record)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(made[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(made)
    return text.getvalue()


def as_tex(record: Mapping[str, Any]) -> str:
    """A table in LaTeX with booktabs: means, and differences to the baseline with their intervals.

    Corrected p-values below .05, .01 and .001 have one, two and three stars.
    """
    measures = record["measures"]
    head = " & ".join(["", *map(_tex, measures), f"$\\Delta$ {_tex(record['main'])}", "min"])
    lines = [
        "% needs \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{l{'r' * len(measures)}lr}}",
        "\\toprule",
        f"{head} \\\\",
        "\\midrule",
    ]
    for arm in record["arms"]:
        means = [number(arm["scores"][measure]["value"]) for measure in measures]
        against = arm["versus"].get(record["baseline"], {}).get(record["main"])
        cost = f"{arm['seconds']['total'] / 60:.1f}"
        lines.append(" & ".join([_tex(arm["name"]), *means, _delta(against), cost]) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _delta(against: Mapping[str, Any] | None) -> str:
    if against is None:
        return "--"
    stars = "*" * sum(against["holm"] < level for level in (0.05, 0.01, 0.001))
    text = f"{number(against['difference'], sign=True)} {_ends(against, sign=True)}"
    return f"${text}$" + (f"$^{{{stars}}}$" if stars else "")


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)


def _ends(found: Mapping[str, Any], *, sign: bool = False) -> str:
    return f"[{number(found['low'], sign=sign)} {number(found['high'], sign=sign)}]"


def _p(value: float) -> str:
    return "p<.001" if value < 0.001 else f"p {number(value)}"
