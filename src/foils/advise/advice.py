"""`Advice`: the recipe to begin with, why, and the next commands. Printed with Rich."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foils.advise.look import Look, Position
from foils.advise.rules import Reason, commands, decide, plain, remarks

if TYPE_CHECKING:
    from rich.console import RenderableType

_PROXIES = {
    "above_positive": "ranked above the first positive",
    "agreed": "BM25 has it among its first 10, too",
    "near_copy": "nearly repeats a positive",
}


@dataclass(frozen=True)
class Advice:
    """Where to begin with a collection.

    Attributes:
        look: the figures.
        recipe: the recipe to begin with.
        reasons: why.
        remarks: what else to mind.
        commands: what to run next.
    """

    look: Look
    recipe: str
    reasons: list[Reason]
    remarks: list[Reason]
    commands: list[str]

    @classmethod
    def of(cls, look: Look, source: str) -> Advice:
        """The advice that the rules give.

        Args:
            look: the figures.
            source: the collection, as commands name it.
        """
        recipe, reasons = decide(look)
        return cls(look, recipe, reasons, remarks(look), commands(look, recipe, source))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": "foils advice",
            "version": 1,
            "look": self.look.to_dict(),
            "recipe": self.recipe,
            "reasons": plain(self.reasons),
            "remarks": plain(self.remarks),
            "commands": self.commands,
        }

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        facts = Table.grid(padding=(0, 2))
        for name, value in self._facts():
            facts.add_row(Text(name, style="bold"), Text(value))
        parts: list[RenderableType] = [facts, Text(""), Text(f"begin with {self.recipe}", style="bold")]
        points = Table.grid(padding=(0, 1))
        for reason in (*self.reasons, *self.remarks):
            points.add_row("-", Text.assemble(reason.text, (f" [{reason.source}]", "dim")))
        parts += [points, Text(""), Text("next", style="bold")]
        parts += [Text(line) for command in self.commands for line in folded(command)]
        return Group(*parts)

    def _facts(self) -> Iterator[tuple[str, str]]:
        look = self.look
        copies = f", {look.copies:.1%} copies" if look.copies else ""
        yield (
            "documents",
            f"{look.documents:,} of {look.document_words:.0f} words ({look.long_documents:.0%} beyond 256){copies}",
        )
        yield (
            "queries",
            f"{look.queries:,} in {look.split}, of {look.query_words:.0f} words; {look.test_queries:,} in test",
        )
        yield "labels", f"{look.labels:.1f} positives a query; {look.one_label:.0%} of the queries have one"
        sampled = f"{look.sample:,} queries among {look.searched:,} documents"
        yield "positives before training", f"rank 1 / first 10 / first 100 / median, for {sampled}"
        yield "  BM25", _said(look.bm25)
        if look.dense is not None:
            yield f"  {look.model}", _said(look.dense)
            yield "  first 10 in common", f"{look.overlap:.0%}"
        whose = look.model or "BM25"
        yield (
            "proxies of false negatives",
            f"of {whose}'s first 10 candidates; signs, not rates (foils audit has those)",
        )
        for name, value in look.proxies.items():
            if value is not None:
                yield f"  {_PROXIES[name]}", f"{value:.1%}"
        yield "looked for", f"{look.seconds:.0f} s"


def folded(command: str, width: int = 76) -> list[str]:
    r"""A command on lines that a terminal of 80 columns shows whole and a shell takes as they are.

    >>> folded("foils train DATA --recipe phase1", width=20)
    ['  foils train DATA \\', '    --recipe phase1']
    """
    lines = ["  "]
    for word in re.findall(r"""(?:"[^"]*"|'[^']*'|[^\s"'])+""", command):
        if len(lines[-1]) + len(word) + 1 > width and lines[-1].strip():
            lines[-1] += "\\"
            lines.append("    ")
        lines[-1] += word + " "
    return [line.rstrip() for line in lines]


def _said(seen: Position) -> str:
    median = "beyond 100" if seen.median is None else str(seen.median)
    return f"{seen.first:.0%} / {seen.top10:.0%} / {seen.top100:.0%} / {median}"
