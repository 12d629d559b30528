"""Which negatives drove a run, as a person sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from foils.evaluate.probe import ALARM, Probe
from foils.terminal.layout import columns

_LINE = 200  # characters of a text


def influences(record: Mapping[str, Any]) -> RenderableType:
    """Totals, sources, ranks, and the most influential documents, queries and pairs."""
    first, last = record["steps"]
    part = "" if first == 0 else f" (counting began at step {first:,})"
    whose = "document's" if record["side"] == "document" else "query's (documents stand)"
    head = [
        Text(f"{record['collection']}, {last - first:,} steps{part}: {record['pairs']:,} mined negatives were used."),
        Text(f"Softmax at temperature {record['temperature']:.3g}; gradients by the {whose} vector."),
        Text(""),
    ]
    parts: list[RenderableType] = [*head, _shares("source", record["sources"])]
    if record["tiers"]:
        parts += [Text(""), _shares("rank", record["tiers"])]
    parts += [Text(""), Text(_concentrated(record["concentration"]))]
    for title, name, entries in (
        ("documents", "doc_id", record["documents"]),
        ("queries", "query_id", record["queries"]),
    ):
        parts += [Text(""), Text(f"Most influential {title}", style="bold"), *_texts(entries, name)]
    if record["top"]:
        parts += [Text(""), Text("Most influential mined negatives", style="bold")]
    return Group(*parts, *(_pair(pair) for pair in record["top"]))


def explained(record: Mapping[str, Any], examples: int) -> RenderableType:
    """Phenomena: how common, what share of the gradient, how hard they push; then examples."""
    grid = columns("the negative …", "negatives", "gradient", "pushes", right=(1, 2, 3))
    for entry in record["phenomena"]:
        lift = entry["lift"]
        clear = lift["low"] is not None and (lift["low"] > 1 or lift["high"] < 1)
        pushes = f"x {lift['value']:.2f} {_span(lift, 1, 2) or '[too few]'}" if entry["pairs"] else "-"
        shares = [f"{percent(entry[name]['value'])} {_span(entry[name])}" for name in ("prevalence", "gradient_share")]
        grid.add_row(Text(entry["name"]), *shares, Text(pushes, style="" if clear else "dim"))
    parts: list[RenderableType] = [
        Text(f"{record['pairs']:,} mined negatives of {record['queries']:,} queries against a positive each;"),
        Text("[95 % interval over queries]. Pushes: share of the gradient by share of the negatives."),
        Text(""),
        grid,
        Text(f"Of {percent(record['none'])} of them no rule speaks."),
    ]
    for entry in record["phenomena"]:
        for example in entry["examples"][:examples]:
            said = f"{entry['name']}: {entry['says']}"
            body = Group(
                Text(said, style="bold"),
                Text.assemble(("? ", "bold"), shorten(example["query"], 76)),
                Text.assemble(("+ ", "green"), shorten(example["positive_sentence"] or example["positive"])),
                Text.assemble(("- ", "red"), shorten(example["document_sentence"] or example["document"])),
            )
            parts += [Text(""), body]
    return Group(*parts)


def probed(found: Probe) -> RenderableType:
    """How well each comparison's sources are told apart."""
    grid = columns("source", "told from", "of each", "accuracy", "AUC", "", right=(2, 3, 4))
    for row in found.rows:
        figures = (f"{one.value:.3f} [{one.low:.2f} {one.high:.2f}]" for one in (row.accuracy, row.auc))
        mark = Text("given away", style="yellow") if row.alarming else ""
        grid.add_row(row.one, row.other, f"{row.each:,}", *figures, mark)
    what = "documents" if found.of == "document" else "documents less their queries"
    head = f"A linear classifier on the vectors of {what} by {found.model}; balanced accuracy,"
    parts: list[RenderableType] = [Text(head), Text(".5 is a guess [95 % interval]."), Text(""), grid]
    parts += [Text(f"{name}: left out: {why}", style="dim") for name, why in found.left.items()]
    if any(row.alarming for row in found.rows):
        parts.append(Text(f"Above {ALARM}: the model can lower its loss by seeing the source instead of the answer."))
    return Group(*parts)


def _span(values: Mapping[str, Any], scale: float = 100, digits: int = 0) -> str:
    if values["low"] is None:
        return ""
    return f"[{scale * values['low']:.{digits}f} {scale * values['high']:.{digits}f}]"


def _shares(title: str, groups: Sequence[Mapping[str, Any]]) -> RenderableType:
    grid = columns(title, "used", "of all", "mass", "gradient", "mean p", "gap", "above", right=range(1, 8))
    for group in groups:
        grid.add_row(
            group["name"],
            f"{group['times']:,}",
            *(percent(group[name]) for name in ("times_share", "mass_share", "gradient_share")),
            f"{group['mean_mass']:.4f}",
            f"{group['gap']:.3f}",
            percent(group["above"]),
        )
    return grid


def _concentrated(found: Mapping[str, Any]) -> str:
    said = [
        f"{percent(entry['gradient_share'])} by 1 % of {'mined ' if name == 'pairs' else ''}{name}"
        for name, entry in found.items()
        if entry["gradient_share"] is not None
    ]
    return "Share of the gradient: " + ", ".join(said) + "." if said else ""


def _texts(entries: Sequence[Mapping[str, Any]], name: str) -> list[RenderableType]:
    shown: list[RenderableType] = []
    for entry in entries:
        mined = f", {percent(entry['mined'])} of it as a mined negative" if entry.get("mined") is not None else ""
        numbers = f"  gradient {percent(entry['gradient_share'])}, {entry['times']:,} times{mined}"
        shown.append(Text.assemble((entry[name], "bold"), (numbers, "dim")))
        shown.append(_body(entry["text"]))
    return shown


def _pair(pair: Mapping[str, Any]) -> RenderableType:
    share = percent(pair["gradient_share"], 3)
    numbers = f"  {pair['source']}, gradient {share}, {pair['times']:.0f} times, above {percent(pair['above'])}"
    lines: list[RenderableType] = [Text.assemble(("? ", "bold"), (shorten(pair["query"], 76), "bold"))]
    if pair["positive"] is not None:
        lines.append(Text.assemble(("+ ", "green"), shorten(pair["positive"])))
    lines += [Text.assemble(("- ", "red"), (pair["doc_id"], "red"), (numbers, "dim")), _body(pair["document"])]
    return Padding(Group(*lines), (0, 0, 1, 0))


def _body(text: str) -> RenderableType:
    return Padding(Text(shorten(text)), (0, 0, 0, 2))


def shorten(text: str, most: int = _LINE) -> str:
    """A text in one line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"
