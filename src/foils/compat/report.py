"""What a call prints: the lines and the table of sentence-transformers, from arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foils.compat.arguments import Bounds, Output, Window, log

_ROW = "{:<6} {:>14} {:>14} {:>14}"
_ORDER = ("absolute_margin", "relative_margin", "max_score", "min_score")

Scores = NDArray[np.float32]


@dataclass
class Skipped:
    """Candidates that each bound dropped, of ``candidates`` in all."""

    candidates: int
    by: dict[str, int] = field(default_factory=dict)

    def add(self, bound: str, count: int) -> None:
        """Count candidates of one block of queries."""
        self.by[bound] = self.by.get(bound, 0) + count

    def shares(self) -> dict[str, float]:
        """Share of the candidates that were left when a margin was applied; score bounds do not reduce them."""
        left, shares = self.candidates, {}
        for bound in _ORDER:
            shares[bound] = self.by.get(bound, 0) / left if left else 0.0
            left -= self.by.get(bound, 0) if bound.endswith("margin") else 0
        return shares


@dataclass(frozen=True)
class Report:
    """Prints if the caller wants it; says what nobody should miss in any case."""

    verbose: bool

    def say(self, *lines: str) -> None:
        """Print lines."""
        for line in lines if self.verbose else ():
            print(line)  # noqa: T201 - printing is what the incumbent's callers expect

    def pairs(self, rows: NDArray[np.int64]) -> None:
        """Duplicates among the queries.

        Args:
            rows: of the data set, per distinct query.
        """
        if len(rows) != rows.sum():
            self.say(f"Found {len(rows)} unique queries out of {rows.sum()} total queries.")
        if rows.max() > 1:
            self.say(f"Found an average of {rows.mean():.3f} positives per query.")

    def statistics(self, positive: Scores, negative: Scores, difference: Scores) -> None:
        """A table of the scores, each side in a column."""
        if not self.verbose:
            return
        sides = positive, negative, difference
        self.say(
            _ROW.format("Metric", "Positive", "Negative", "Difference"),
            _ROW.format("Count", f"{len(positive):,}", f"{len(negative):,}", ""),
        )
        figures = [_figures(side) for side in sides]
        for name in figures[0]:
            self.say(_ROW.format(name, *(column[name] for column in figures)))

    def skipped(self, skipped: Skipped, bounds: Bounds) -> None:
        """What each bound dropped."""
        shares = skipped.shares()
        for name in _ORDER:
            count = skipped.by.get(name, 0)
            if count:
                value = getattr(bounds, name)
                self.say(f"Skipped {count:,} potential negatives ({shares[name]:.2%}) due to the {name} of {value}.")

    def missing(self, missing: int, possible: int, window: Window, bounds: Bounds, output: Output) -> None:
        """Rows that could not be made; silent about short n-tuples only if there are none."""
        if missing <= 0:
            return
        levers = ["range_max"] + (["range_min"] if window.lo > 0 else [])
        levers += [name for name in _ORDER[:3] if getattr(bounds, name) is not None]
        named = ", ".join(levers[:-1]) + " and " + levers[-1] if len(levers) > 1 else levers[0]
        text = (
            f"Could not find enough negatives for {missing} samples ({missing / possible:.2%})."
            f" Consider adjusting the {named} parameter{'s' if len(levers) > 1 else ''}"
            " if you'd like to find more valid negatives."
        )
        self.say(text)
        if output.format == "n-tuple" and not self.verbose:
            log.warning("%s They are not in the result.", text)


def _figures(scores: Scores) -> dict[str, str]:
    """Figures as text; those of no scores are what torch and the incumbent make of them."""
    if not len(scores):
        nothing = dict.fromkeys(("Mean", "Median", "Std"), "nan")
        return nothing | dict.fromkeys(("Min", "25%", "50%", "75%"), "inf") | {"Max": "-inf"}
    wide = np.sort(scores).astype(np.float64)
    spread = wide.std(ddof=1) if len(wide) > 1 else np.nan
    lower, middle, upper = np.quantile(wide, [0.25, 0.5, 0.75])
    figures = {
        "Mean": wide.mean(),
        "Median": wide[(len(wide) - 1) // 2],  # torch takes the lower of two
        "Std": spread,
        "Min": wide[0],
        "25%": lower,
        "50%": middle,
        "75%": upper,
        "Max": wide[-1],
    }
    return {name: f"{value:.4f}" for name, value in figures.items()}
