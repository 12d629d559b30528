"""Numbers as a page writes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

GAP = "\u2003"  # between parts of a label: SVG puts plain spaces together


def count(value: float | None) -> str:
    """12,345."""
    return "" if value is None else f"{value:,.0f}"


def share(value: float | None) -> str:
    """3.1 %; below a tenth of a percent, that it is."""
    if value is None or not math.isfinite(value):
        return ""
    if value == 0:
        return "0 %"
    return "<0.1 %" if 0 < value < 0.001 else f"{value:.1%}".replace("%", " %")


def real(value: Any, digits: int = 3) -> str:
    """0.123; a text as it is, which is how numbers that are not finite are stored."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return f"{value:.{digits}f}" if abs(value) < 1e5 else f"{value:.3g}"


def interval(value: Mapping[str, Any], *, percent: bool = False) -> str:
    """The value with its interval: 3.1 % [2.0, 4.6]; nothing of it that is not there."""
    middle, low, high = (value.get(name) for name in ("value", "low", "high"))
    if middle is None:
        return ""
    if percent:
        ends = "" if low is None or high is None else f" [{100 * low:.1f}, {100 * high:.1f}]"
        return f"{100 * middle:.1f} %{ends}"
    ends = "" if low is None or high is None else f" [{real(low)}, {real(high)}]"
    return real(middle) + ends


def duration(seconds: float | None) -> str:
    """4.2 s, 3 min 20 s, 2 h 05 min."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(number: int) -> str:
    """Bytes: 1.2 MB."""
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{number / 1e3:,.0f} kB"


def flat(text: str, most: int) -> str:
    """A text on one line, cut."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
