"""`Table`: several systems side by side, in 80 columns, saying plainly what is not distinguishable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foils.evaluate.scores import ALPHA, Comparison, Scores
from foils.evaluate.significance import Interval

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_ABREAST = 3  # measures side by side: three columns of 18 characters and a name make 80
_STYLES = {"better": "green", "worse": "red", "unclear": "dim"}


@dataclass(frozen=True, eq=False)
class Table:
    """The scores of several systems on the same queries.

    Printed with Rich. Each cell holds the mean with its 95 % interval; below it, for all systems but the baseline, the
    difference with its interval, and the corrected p with a verdict.

    Attributes:
        scores: name -> scores, in the order to print.
        baseline: the name of the system that the others are compared with, or None.
    """

    scores: Mapping[str, Scores]
    baseline: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN and infinities are None."""
        return {
            "baseline": self.baseline,
            "correction": None if self.baseline is None else "holm",
            "systems": [scores.to_dict() for scores in self.scores.values()],
        }

    def __rich__(self) -> RenderableType:
        from rich.console import Group

        measures = self._first.measures
        groups = [measures[start : start + _ABREAST] for start in range(0, len(measures), _ABREAST)]
        return Group(*(self._grid(group) for group in groups), self._notes())

    @property
    def _first(self) -> Scores:
        return next(iter(self.scores.values()))

    def _grid(self, measures: Sequence[str]) -> RenderableType:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as Grid

        grid = Grid(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 1), show_lines=False)
        grid.add_column("system", overflow="fold", max_width=17)
        for measure in measures:
            grid.add_column(measure, no_wrap=True)
        for name, scores in self.scores.items():
            label = f"{name}\n(baseline)" if name == self.baseline else name
            grid.add_row(label, *(_cell(scores, measure) for measure in measures))
        return grid

    def _notes(self) -> RenderableType:
        from rich.text import Text

        first = self._first
        lines = [
            f"{first.data.name}, split {first.split!r}: {len(first.queries):,} queries; [95 % bootstrap interval]."
        ]
        if first.excluded:
            lines.append(f"{first.excluded:,} more queries have no positive and are left out.")
        lines += [
            f"{name}: nothing found for {scores.unanswered:,} queries, which count as 0."
            for name, scores in self.scores.items()
            if scores.unanswered
        ]
        if self.baseline is not None:
            lines.append(f"Differences are to {self.baseline}; p: paired sign flips, Holm-corrected over systems.")
            lines += self._unclear()
        return Text("\n".join(lines), style="dim")

    def _unclear(self) -> list[str]:
        worst: dict[str, float] = {}
        for scores in self.scores.values():
            for measure, versus in scores.versus.items():
                if versus.verdict == "unclear" and versus.detectable > 0:
                    worst[measure] = max(worst.get(measure, 0.0), versus.detectable)
        if not worst:
            return []
        sizes = ", ".join(f"{number(value)} {measure}" for measure, value in worst.items())
        return [
            f"unclear: not distinguishable from the baseline (p >= {number(ALPHA, 2)}). "
            f"4 times in 5, one uncorrected test sees a true difference from about {sizes} up.",
        ]


def _cell(scores: Scores, measure: str) -> Text:
    from rich.text import Text

    text = Text(f"{number(scores.mean(measure)):>5} {_span(scores.intervals[measure])}")
    versus = scores.versus.get(measure)
    if versus is not None:
        text.append(f"\n{number(versus.difference, sign=True):>5} {_span(versus.interval, sign=True)}")
        text.append(f"\n{_p(versus):>5} {versus.verdict}", style=_STYLES[versus.verdict])
    return text


def _span(interval: Interval, *, sign: bool = False) -> str:
    return f"[{number(interval.low, sign=sign)} {number(interval.high, sign=sign)}]"


def _p(versus: Comparison) -> str:
    return "p<.001" if versus.p_holm < 0.001 else f"p {number(versus.p_holm)}"


def number(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """Without the leading zero, as tables of measures are usually set: ``.321``, ``-.004``, ``1.000``."""
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("+-").startswith("0.") else text
