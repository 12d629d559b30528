"""An audit as a person sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from foils.terminal.layout import columns, facts

_SIDES = ("before", "after", "dropped")
_LONG = 200  # characters of a text in an example
_SHOWN = {"source": "found by", "rank": "rank", "difficulty": "rank of the positive"}


def audited(
    record: Mapping[str, Any], out: Path | None, fail_above: float | None = None, page: Path | None = None
) -> RenderableType:
    """The rate with its interval and window, where it is high, what each filter did, and examples.

    Args:
        record: what `foils.audit.Audit.to_dict` gives.
        out: where the files are.
        fail_above: the rate that fails.
        page: where the page to label in is.
    """
    parts: list[RenderableType] = [Text(escape(f"{record['negatives']}: {record['pipeline']}"), overflow="fold")]
    parts += [Text(""), facts(_head(record))]
    if record["rate"] is None:
        parts += [Text(""), *_planned(record, out, page)]
        return Group(*parts)
    parts += [Text(""), *_tables(record), *_filters(record["by"]["filter"])]
    parts += [Text(""), *_proxies(record["proxies"])]
    parts += _examples(record["examples"])
    parts += [Text(note, style="yellow") for note in record["notes"]]
    if out is not None:
        parts.append(Text(f"report in {out / 'audit.json'}, sample in {out / 'sample.parquet'}"))
    if fail_above is not None:
        parts.append(_verdict(record["rate"], fail_above))
    return Group(*parts)


def _head(record: Mapping[str, Any]) -> list[tuple[str, Any]]:
    rate, rows = record["rate"], []
    if rate is not None:
        value = _percent(rate["value"])
        ends = [_percent(rate[end]) for end in ("low", "high")]
        if ends != [value, value]:
            value += f"  [{ends[0]}, {ends[1]}]"
        how = {"census": "counted"}.get(rate["method"], f"{rate['method']}, {rate['level']:.0%} interval")
        rows.append(("false negatives", f"{value}  {how}"))
    rows.append(("of", f"{record['population']:,} negatives, ranks {_window(record['window'])}"))
    if rate is not None:
        rows.append(("judged", f"{record['judged']:,}{_holes(record)}"))
        rows.append(("per query", _of_queries(record["per_query"])))
    rows += [(name, text) for name, who in (("judge", "judge"), ("cheap judge", "cheap")) for text in _who(record[who])]
    others = {name: value for name, value in record["estimates"].items() if value is not None}
    if others:
        rows.append(("other estimates", ", ".join(f"{name} {_percent(value)}" for name, value in others.items())))
    return rows


def _of_queries(found: Mapping[str, Any]) -> str:
    """The share of queries with a false negative, where it can be told."""
    if found["rate"] is None:
        return str(found["why"])
    rate, low, high = (_percent(found[name]) for name in ("rate", "low", "high"))
    if found["judged"] == found["queries"]:
        return f"{rate}  of {found['queries']:,} queries have one, counted"
    first, last = (_percent(end) for end in found["bounds"])
    return (
        f"{rate}  [{low}, {high}] have one, of the {found['judged']:,} queries whose negatives are all judged, of "
        f"{found['queries']:,}; from {first} to {last} of all if the holes are all alike"
    )


def _window(window: Sequence[int] | None) -> str:
    return "unknown" if window is None else f"{window[0]:,} to {window[1]:,}"


def _holes(record: Mapping[str, Any]) -> str:
    if not record["holes"]:
        return ""
    low, high = record["rate"]["bounds"]
    return f"; {_percent(record['holes'])} are holes, so from {_percent(low)} to {_percent(high)} if they are all alike"


def _who(said: Mapping[str, Any] | None) -> list[str]:
    if said is None:
        return []
    words = [f"{said['name']} ({said['kind']})"]
    if said.get("precision") is not None or said.get("recall") is not None:
        names = ("precision", "recall", "kappa", "ece")
        words.append(", ".join(f"{name} {said[name]:.2f}" for name in names if said.get(name) is not None))
    if said.get("calibrated") is False:
        words.append("not calibrated")
    if "chance" in said.get("controls", ()):
        seen = said["controls"]
        words.append(
            f"puts {seen['above']:.0%} of candidates above the positives, where chance puts {seen['chance']:.0%}"
        )
    elif "controls" in said:
        seen = said["controls"]
        words.append(
            f"calls {seen['known_positives']:.0%} of known positives relevant and {seen['random_documents']:.0%} of "
            "random documents"
        )
    if "models" in said:
        words.append(_answered(said))
    if said["kind"] in ("cross-encoder", "llm", "consensus", "score") and said.get("kappa") is None:
        words.append("its own errors are in the rate: check it against people (--labels)")
    weights = [(one["name"], one.get("same_as"), one.get("weight")) for one in said.get("judges", ())]
    if weights and all(weight is not None for *_, weight in weights):
        told = (f"{name} {weight:+.1f}" for name, same, weight in weights if same is None)
        words.append(f"log-odds that a vote is worth: {', '.join(told)}")
    agreed = said.get("agreement", {})
    if agreed.get("items"):
        chance = "" if agreed["kappa"] is None else f", kappa {agreed['kappa']:.2f}"
        words.append(f"{said['annotators']} people agree on {agreed['share']:.0%} of {agreed['items']:,} pairs{chance}")
    return ["; ".join(words)]


def _asked(price: Mapping[str, Any]) -> str:
    """What a language model would take."""
    if "calls" not in price:
        return ""
    read, written = price["tokens"]
    cost = f", cost {price['cost']:.4g}, at most {price['cost_at_most']:.4g}" if "cost" in price else ""
    return f" in {price['calls']:,} calls ({price['kept']:,} kept), about {read:,} + {written:,} tokens{cost}"


def _answered(said: Mapping[str, Any]) -> str:
    """What a language model took, and what could not be read."""
    read, written = said["tokens"]
    cost = f", cost {said['cost']:.4g}" if "cost" in said else ""
    words = f"{said['calls']:,} calls ({said['kept']:,} kept), {read:,} + {written:,} tokens{cost}"
    if "flagged" in said:
        words += f"; {said['models'][1]} confirms {said['confirmed']:,} of {said['flagged']:,} that were flagged"
    return words + (f"; {said['undecided']:,} not decided" if said["undecided"] else "")


def _tables(record: Mapping[str, Any]) -> list[RenderableType]:
    grid = columns("", "", "items", "judged", "rate", "low", "high", right=range(2, 7))
    for key, title in _SHOWN.items():
        for place, row in enumerate(record["by"][key]):
            grid.add_row(title if place == 0 else "", row["name"], *_numbers(row))
    shown = [row for key in _SHOWN for row in record["by"][key]]
    return [grid, *_left_out([(row["name"], row) for row in shown])]


def _left_out(parts: Sequence[tuple[str, Mapping[str, Any] | None]]) -> list[RenderableType]:
    """Of which share of each part, whose rate is marked with a star, nothing was judged."""
    listed = [f"{name} ({_percent(part['uncovered'])})" for name, part in parts if part is not None and _starred(part)]
    if not listed:
        return []
    note = "*in the strata of this share of the row nothing of it was judged: "
    return [Text(escape(note + ", ".join(listed)), style="dim")]


def _starred(part: Mapping[str, Any]) -> bool:
    return part["rate"] is not None and part.get("uncovered", 0) > 0


def _numbers(row: Mapping[str, Any]) -> list[str]:
    rate, low, high = (_percent(row[name]) for name in ("rate", "low", "high"))
    shares = (f"*{rate}" if _starred(row) else rate, low, high)
    return [f"{row['items']:,}", f"{row['judged']:,}", *shares]


def _filters(listed: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    if not listed:
        return []
    grid = columns("step", "took", "before, %", "after, %", "taken, %", right=range(1, 5))
    for row in listed:
        taken = row["dropped"]
        count = "" if taken is None else f"{taken['items']:,}"
        grid.add_row(escape(row["name"]), count, *(_interval(row[name]) for name in _SIDES))
    note = "False negatives among what came to each step, what it let pass, and what it took."
    sides = [(f"{row['name'].split('(')[0]} {side}", row[side]) for row in listed for side in _SIDES]
    return [Text(""), grid, Text(note, style="dim"), *_left_out(sides)]


def _interval(part: Mapping[str, Any] | None) -> str:
    if part is None or part["rate"] is None:
        return "not judged"
    rate, low, high = (f"{100 * part[name]:.1f}" for name in ("rate", "low", "high"))
    star = "*" if _starred(part) else ""
    return f"{star}{rate}" if low == high == rate else f"{star}{rate} [{low}-{high}]"


def _proxies(found: Mapping[str, float]) -> list[RenderableType]:
    if not found:
        return []
    words = ", ".join(
        f"{_percent(value)} {_PROXIES.get(name, name)}" for name, value in found.items() if "." not in name
    )
    return [Text(f"without a judge, as a trend only: {words}", style="dim")] if words else []


_PROXIES = {
    "above_positive": "score at least as high as the positive",
    "near_duplicate_of_positive": "nearly repeat a positive",
}


def _examples(listed: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for one in listed:
        where = f"{one['source']}" + (f" #{one['rank']}" if one["rank"] else "")
        parts += [Text(""), Text(f"{one['query_id']}  {one['query'][:_LONG]}", style="bold")]
        if one["positive"]:
            parts.append(Padding(Text(f"+ {one['positive'][:_LONG]}", style="green"), (0, 0, 0, 2)))
        parts.append(
            Padding(Text(f"? {one['doc_id']} ({where})  {one['document'][:_LONG]}", style="red"), (0, 0, 0, 2))
        )
        if one["reason"]:
            parts.append(Padding(Text(one["reason"], style="dim"), (0, 0, 0, 4)))
    return [*parts, Text("")] if parts else []


def _planned(record: Mapping[str, Any], out: Path | None, page: Path | None) -> list[RenderableType]:
    grid = columns("found by", "ranks", "items", "to judge", right=(2, 3))
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for row in record["strata"]:
        ranks = "all" if row["ranks"] is None else "-".join("" if end is None else str(end) for end in row["ranks"])
        items, drawn = counts.get((row["source"], ranks), (0, 0))
        counts[row["source"], ranks] = items + row["items"], drawn + row["drawn"]
    for (source, ranks), (items, drawn) in counts.items():
        grid.add_row(source, ranks, f"{items:,}", f"{drawn:,}")
    parts: list[RenderableType] = [grid, Text(""), *_proxies(record["proxies"])]
    for name, price in (record["price"] or {}).items():
        parts.append(Text(f"{name} would judge {price['pairs']:,} pairs{_asked(price)}"))
    parts += [Text(note, style="yellow") for note in record["notes"]]
    if page is not None and record["judge"] is None and not record["price"]:
        parts.append(Text(f"Open {page} in a browser and label; save the CSV, and give it with --labels."))
    if out is not None and record["judge"] is None and not record["price"]:
        sheet = out / "labels.csv"
        parts.append(Text(f"Fill in the column 'label' of {sheet} (1 relevant, 0 not), then give it with --labels."))
    elif record["judge"] is None and not record["price"] and page is None:
        parts.append(Text("Nobody has judged: pass --judge, or -o DIR for a sheet to label.", style="yellow"))
    return parts


def _verdict(rate: Mapping[str, Any], bound: float) -> RenderableType:
    if rate["low"] > bound:
        return Text(f"failed: the rate is above {_percent(bound)}; the whole interval is.", style="red")
    if rate["high"] <= bound:
        return Text(f"passed: the rate is below {_percent(bound)}; the whole interval is.", style="green")
    return Text(f"passed: the rate is not shown to be above {_percent(bound)}, nor below it.", style="yellow")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
