"""What a person sees in a terminal: progress and tables that read well in 80 columns. Programs read ``--json``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from foils.core.spec import Declared
from foils.examples import Example, Seen
from foils.follow import Trained

WIDTH = 80
_SHOWN_ABOVE = ("documents", "queries", "splits", "name", "source")


def console(stream: IO[str] | None = None) -> Console:
    """A console of at most 80 columns when the output is no terminal, so that files and pipes read well too."""
    stream = stream or sys.stdout
    return Console(file=stream, width=None if stream.isatty() else WIDTH, highlight=False, soft_wrap=False)


class Progress:
    """Bars with remaining time on a terminal; elsewhere a line on standard error every ``seconds``."""

    def __init__(self, seconds: float = 15.0) -> None:
        self.seconds = seconds
        self._live: Any = None
        self._tasks: dict[str, Any] = {}
        self._began: dict[str, float] = {}
        self._said: dict[str, float] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Tell that ``done`` of ``total`` units of ``what`` are done."""
        if self._live is not None:
            self._draw(what, done, total)
            return
        now = time.monotonic()
        began = self._began.setdefault(what, now)
        if now - self._said.setdefault(what, began) >= self.seconds and 0 < done < total:
            self._said[what] = now
            left = (now - began) * (total - done) / done
            sys.stderr.write(f"{what}: {done:,} of {total:,}, about {_duration(left)} left\n")

    def _draw(self, what: str, done: int, total: int) -> None:
        if what not in self._tasks:
            self._live.start()
            self._tasks[what] = self._live.add_task(what, total=total)
        self._live.update(self._tasks[what], completed=done, total=total)
        if self._live.finished:
            # Give the terminal back: what comes next, such as training, has a bar of its own.
            self._live.stop()

    def of(self, what: str) -> Callable[[int, int], None]:
        """The same for one thing only."""
        return lambda done, total: self(what, done, total)


@contextmanager
def progress() -> Iterator[Progress]:
    """Show progress on standard error while the block runs."""
    shown = Progress()
    if not sys.stderr.isatty():
        yield shown
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn())
    shown._live = Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    try:
        yield shown
    finally:
        shown._live.stop()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _grid(*headers: str, right: Sequence[int] = ()) -> Table:
    grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for place, header in enumerate(headers):
        grid.add_column(header, justify="right" if place in right else "left", overflow="fold")
    return grid


def mined(manifest: Mapping[str, Any], where: str) -> RenderableType:
    """What a pipeline did, step by step, and how many negatives queries got."""
    counts = manifest["counts"]
    grid = _grid("step", "", "dropped", "starved", right=(2, 3))
    for step in manifest["steps"]:
        removes = step["family"] in ("filter", "sampler")
        numbers = (f"{step['dropped']:,}", f"{step['starved']:,}") if removes or step["dropped"] else ("", "")
        if "filled" in step:
            numbers = (f"{step['filled']:,} filled", f"{step['short']:,} short")
        grid.add_row(str(step["number"]), escape(step["text"]), *numbers)
    lines: list[RenderableType] = [
        Text(f"{counts['queries']:,} queries, {counts['positives']:,} positives, {counts['candidates']:,} candidates"),
        grid,
        Text(f"{counts['kept']:,} negatives kept. Per query: {_histogram(counts['kept_per_query'])}"),
    ]
    short = _short(manifest)
    if short:
        lines.append(Text(short, style="yellow"))
    if counts.get("skipped_leaks"):
        text = f"{counts['skipped_leaks']:,} queries were left out: they are in a held-out split, too (--leaks keep)."
        lines.append(Text(text, style="yellow"))
    if counts["promoted"]:
        lines.append(Text(f"{counts['promoted']:,} candidates became positives."))
    return Group(*lines, Text(f"in {where}"))


def _short(manifest: Mapping[str, Any]) -> str:
    counts = manifest["counts"]
    quota = counts["wanted_per_query"] or 1
    short = sum(times for number, times in counts["kept_per_query"].items() if int(number) < quota)
    if not short:
        return ""
    only_none = quota == 1 or short == counts["kept_per_query"].get("0", 0)
    fewer = "keep none" if only_none else f"keep fewer than {quota}; short lists are used as they are"
    worst = max((s for s in manifest["steps"] if s["family"] == "filter"), key=lambda s: s["starved"], default=None)
    if worst is not None and worst["starved"]:
        why = f"{worst['text']} took candidates from {worst['starved']:,} of them: loosen it, or raise k of the source."
    else:
        why = "Their sources found too few candidates: raise k, or add a source with '+'."
    return f"{short:,} of {counts['queries']:,} queries {fewer}. {why}"


def _histogram(kept: Mapping[str, int], most: int = 6) -> str:
    items = sorted((int(number), times) for number, times in kept.items() if times)  # JSON sorts them as texts
    if len(items) <= most:
        return ", ".join(f"{number} ({times:,})" for number, times in items)
    total = sum(times for _, times in items)
    mean = sum(number * times for number, times in items) / total
    return f"{items[0][0]} to {items[-1][0]}, mean {mean:.1f}; none: {dict(items).get(0, 0):,} queries"


def examples(shown: Sequence[Example]) -> RenderableType:
    """Queries with positives, negatives, and rejected candidates with the reason."""
    parts: list[RenderableType] = []
    for example in shown:
        parts.append(Text(f"{example.query}  {example.text}", style="bold", overflow="ellipsis"))
        parts.extend(_seen("+", item, "green") for item in example.positives[:3])
        if len(example.positives) > 3:
            parts.append(Padding(Text(f"… and {len(example.positives) - 3} more positives", style="dim"), (0, 0, 0, 2)))
        parts.extend(_seen("-", item, "red") for item in example.negatives)
        reason = None
        for item in example.rejected:
            if item.reason != reason:
                reason = item.reason
                parts.append(Padding(Text(f"dropped by {reason}", style="dim"), (0, 0, 0, 2)))
            parts.append(_seen("x", item, "dim"))
        parts.append(Text(""))
    return Group(*parts)


def _seen(sign: str, item: Seen, style: str) -> RenderableType:
    numbers = [
        f"{name} {score:.3f}" + (f" #{item.ranks[name]}" if name in item.ranks else "")
        for name, score in item.scores.items()
    ]
    numbers += [f"{name} #{rank}" for name, rank in item.ranks.items() if name not in item.scores]
    head = Text.assemble((f"{sign} ", style), (item.doc, style), ("  " + ", ".join(numbers), "dim"))
    text = " ".join(item.text.split())
    body = Text(text[:220] + ("…" if len(text) > 220 else ""))
    return Padding(Group(head, Padding(body, (0, 0, 0, 2))), (0, 0, 0, 2))


def recipes(listed: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Names and titles."""
    grid = _grid("recipe", "what it does")
    for recipe in listed:
        grid.add_row(recipe["name"], escape(f"{recipe['title']}. {recipe['mine'] or ''}".strip()))
    return Group(grid, Text("foils recipes NAME shows one whole; foils train DATA --recipe NAME runs it."))


def stages(listed: Mapping[str, type[Declared]]) -> RenderableType:
    """Names, families, fields and first lines."""
    grid = _grid("family", "stage", "what it does")
    order = ("source", "scorer", "labeler", "filter", "sampler", "shortfall")
    known = [(order.index(cls.family) if cls.family in order else 9, name, cls) for name, cls in listed.items()]  # type: ignore[attr-defined]
    for _, name, cls in sorted(known, key=lambda row: row[:2]):
        grid.add_row(cls.family, name, escape(first_line(cls)))  # type: ignore[attr-defined]
    return Group(grid, Text("'>>' is then, '+' pools and binds tighter. foils stages NAME explains one."))


def first_line(cls: type) -> str:
    """The first line of a class's documentation."""
    return (cls.__doc__ or "").strip().split("\n")[0].replace("``", "")


def facts(rows: Iterable[tuple[str, Any]]) -> RenderableType:
    """Two columns: what, and its value."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, escape(f"{value:,}" if isinstance(value, int) else str(value)))
    return grid


def inspected(summary: Mapping[str, Any]) -> RenderableType:
    """A collection at a glance."""
    splits = _grid("split", "queries", "positives", "per query", "", right=(1, 2, 3))
    for split in summary["splits"]:
        note = f"{split['queries_also_in']} queries also in other splits" if split["queries_also_in"] else ""
        splits.add_row(
            split["name"],
            f"{split['queries']:,}",
            f"{split['positives']:,}",
            f"{split['positives_per_query']:.2f}",
            note,
        )
    head = facts((name, summary[name]) for name in ("name", "documents", "queries", "document_words", "query_words"))
    shown = {name: value for name, value in summary["report"].items() if value and name not in _SHOWN_ABOVE}
    found = facts((name.replace("_", " "), value) for name, value in shown.items())
    parts: list[RenderableType] = [head, Text(""), splits]
    if shown:
        parts += [Text("\nfound on import:", style="bold"), Padding(found, (0, 0, 0, 2))]
    return Group(*parts, _samples(summary["examples"]))


def _samples(samples: Sequence[Mapping[str, str]]) -> RenderableType:
    lines: list[RenderableType] = [Text(""), Text("examples:", style="bold")]
    for sample in samples:
        lines.append(Padding(Text(f"{sample['query_id']}  {sample['query']}"), (0, 0, 0, 2)))
        lines.append(Padding(Text(f"+ {sample['doc_id']}  {sample['document'][:200]}", style="dim"), (0, 0, 0, 4)))
    return Group(*lines)


def stage_page(page: Mapping[str, Any]) -> RenderableType:
    """One stage: its documentation and its fields."""
    grid = _grid("field", "type", "default", "")
    for field in page["fields"]:
        default = "required" if field["required"] else repr(field["default"])
        grid.add_row(field["name"], escape(str(field["type"])), escape(default), escape(field["help"]))
    return Group(
        Text.assemble((page["name"], "bold"), f"  ({page['family']})"), Text(_flowing(page["doc"])), Text(""), grid
    )


def _flowing(doc: str) -> str:
    # Lines of a paragraph were broken for the source file; the terminal breaks them for itself.
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in doc.replace("``", "").split("\n\n"))


def trained(result: Trained) -> RenderableType:
    """A run: what was mined, the dev curve, and where the model is."""
    run = result.run
    parts: list[RenderableType] = []
    if result.mined is not None:
        parts += [mined(result.mined.manifest, str(result.mined.path)), Text("")]
    names = [name for name in (run.curve[0] if run.curve else {}) if name != "step"]
    if names:
        grid = _grid("step", *(f"dev {name}" for name in names), "", right=range(len(names) + 1))
        for point in run.curve:
            marks = "taken" if point["step"] == run.best_step else ""
            grid.add_row(f"{point['step']:,}", *(f"{point[name]:.4f}" for name in names), marks)
        parts.append(grid)
    finished = " (was finished already)" if run.found_finished else ""
    return Group(*parts, Text(f"{run.steps:,} steps{finished}; model in {run.model}"))
