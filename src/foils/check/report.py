"""What a check found: counts, shares, examples, and whether that is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import RenderableType

_WIDTH = 70  # characters of a text in an example: one line of a terminal


@dataclass(frozen=True)
class Example:
    """One place where a finding occurs.

    Attributes:
        where: file and line (or row), or the query of a folder of negatives.
        query: its text, or its id.
        document: id and text of the document at fault; "" where the finding is about the row.
        note: what else there is to say.
    """

    where: str
    query: str
    document: str
    note: str


@dataclass(frozen=True)
class Finding:
    """One kind of fault.

    Attributes:
        code: stable name.
        kind: a ``fault`` fails the check, a ``note`` does not (unless it is named in what is allowed).
        what: in a sentence.
        count: how often it occurs.
        of: what is counted: negatives, rows, queries or documents.
        total: how many of those there are.
        allowed: how many may be there; None for any number.
        examples: the first few.
    """

    code: str
    kind: Literal["fault", "note"]
    what: str
    count: int
    of: str
    total: int
    allowed: int | None
    examples: tuple[Example, ...] = ()

    @property
    def share(self) -> float:
        """Count over total; 0 where there is nothing."""
        return self.count / self.total if self.total else 0.0

    @property
    def passed(self) -> bool:
        """Whether no more was found than is allowed."""
        return self.allowed is None or self.count <= self.allowed


@dataclass(frozen=True)
class Report:
    """The result of a check. Printed with Rich.

    Attributes:
        file: what was checked.
        format: its layout; ``foils`` for a folder of negatives.
        sizes: rows, queries, positives, negatives and distinct documents in it.
        findings: one for each check that was made, faults first.
        skipped: code of a check that was not made -> why.
    """

    file: str
    format: str
    sizes: Mapping[str, int]
    findings: tuple[Finding, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing was found beyond what is allowed."""
        return all(finding.passed for finding in self.findings)

    def __getitem__(self, code: str) -> Finding:
        """The finding of that code.

        Raises:
            KeyError: the check was not made.
        """
        return {finding.code: finding for finding in self.findings}[code]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the names do not change from version to version."""
        findings = [{**asdict(f), "share": f.share, "passed": f.passed} for f in self.findings]
        head = {"file": self.file, "format": self.format, "passed": self.passed, **self.sizes}
        return {**head, "findings": findings, "skipped": dict(self.skipped)}

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        sizes = ", ".join(f"{count:,} {name}" for name, count in self.sizes.items())
        parts: list[RenderableType] = [Text(f"{self.file} ({self.format})"), Text(sizes), Text(""), self._grid()]
        for finding in self.findings:
            if not finding.passed and finding.examples:
                parts += [Text(""), *_examples(finding)]
        if self.skipped:
            parts += [Text(""), *(Text(f"not checked: {code} ({why})", style="dim") for code, why in self._reasons())]
        return Group(*parts, Text(""), self._verdict())

    def _grid(self) -> RenderableType:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
        grid.add_column("")
        grid.add_column("finding")
        grid.add_column("count", justify="right")
        grid.add_column("share", justify="right")
        grid.add_column("of", no_wrap=True)
        for f in self.findings:
            sign, style = ("ok", "dim") if not f.count else ("FAIL", "red") if not f.passed else ("note", "yellow")
            grid.add_row(sign, f.code, f"{f.count:,}", _percent(f.share), f.of, style=style)
        return grid

    def _reasons(self) -> list[tuple[str, str]]:
        """Codes that were skipped for the same reason, together."""
        codes: dict[str, list[str]] = {}
        for code, why in self.skipped.items():
            codes.setdefault(why, []).append(code)
        return [(", ".join(names), why) for why, names in codes.items()]

    def _verdict(self) -> RenderableType:
        from rich.text import Text

        failed = [finding.code for finding in self.findings if not finding.passed]
        if not failed:
            return Text("passed", style="green")
        return Text(f"failed: {', '.join(failed)}. Allow what you accept with --allow CODE or --allow CODE=N.", "red")


def _examples(finding: Finding) -> list[RenderableType]:
    from rich.text import Text

    parts: list[RenderableType] = [Text(f"{finding.code}: {finding.what}", style="bold")]
    for example in finding.examples:
        parts.append(Text(f"  {example.where}"))
        lines = (_short(line) for line in (example.query, example.document, example.note) if line.strip())
        parts += [Text(f"    {line}", style="dim") for line in lines]
    if finding.count > len(finding.examples):
        parts.append(Text(f"  … and {finding.count - len(finding.examples):,} more", style="dim"))
    return parts


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _WIDTH else flat[: _WIDTH - 1] + "…"


def _percent(share: float) -> str:
    return "" if share == 0 else f"{share:.1%}" if share >= 0.001 else "<0.1%"
