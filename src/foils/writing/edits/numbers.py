"""Numbers: another value in the same form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from foils.writing.draft import Edit
from foils.writing.edits.dates import date_spans, ordinal_suffix, rigid
from foils.writing.edits.edit import Draw, Option, disjoint, like, replaced
from foils.writing.edits.lexicon import COUNTS, ORDINALS, TENS
from foils.writing.edits.region import Source, places

LEAST_CHANGE = 0.1  # of the value: a number leaves [0.9, 1.1] times itself
YEARS = 30  # a year stays this near
_THIS_YEAR = 2026  # a year that has been stays in the past
_NUMERAL = re.compile(
    r"(?<![\w.,/:’'#])(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,15})(?P<decimals>\.[0-9]+)?"
    r"(?P<suffix>st|nd|rd|th|s)?(?![\w’'])(?![.,/:]\d)"
)
_WRITTEN = {word: tuple(row) for row in (COUNTS, TENS, ORDINALS) for word in row}
_WORD = re.compile(rf"(?<![\w-])(?:{'|'.join(_WRITTEN)})(?![\w-])", re.IGNORECASE)
_YEAR_BEFORE = re.compile(
    r"(?:\b(?:in|since|by|until|till|from|during|of|to|and|before|after|around|circa|c\.|early|late|mid|year)|[(–-])\s?$",
    re.I,
)
_COUNTED = re.compile(r"\s(?:%|percent|people|men|women|[a-z]+s\b|km|kg|feet|square|million|billion|m\b)")


@dataclass(frozen=True)
class Numeral:
    """A number in a text: its span, the form it is written in, and the numbers beside it in a range.

    Attributes:
        start: offset of its first digit.
        end: offset behind its last character, suffix included.
        whole: digits before the decimal point, with separators.
        decimals: the decimal point and the digits behind it, or "".
        suffix: ``st`` to ``th`` of an ordinal, ``s`` of a decade, or "".
        year: whether it reads as a year.
        above: the value must stay above this, the lower end of its range.
        below: the value must stay below this: the upper end, or 100.01 for a percentage up to 100.
    """

    start: int
    end: int
    whole: str
    decimals: str
    suffix: str
    year: bool
    above: float
    below: float

    @property
    def value(self) -> float:
        """The number."""
        return float(self.whole.replace(",", "") + self.decimals)


def numerals(text: str) -> Iterator[Numeral]:
    """The numbers of a text that stand for a quantity or a year: no names, codes, times or dates."""
    dates = date_spans(text)
    for found in _NUMERAL.finditer(text):
        start, end = found.span()
        before, after = text[max(0, start - 12) : start], text[end : end + 14]
        if any(a < end and start < b for a, b in dates) or _is_code(before, after):
            continue
        whole, decimals, suffix = found["whole"], found["decimals"] or "", found["suffix"] or ""
        year = suffix in ("", "s") and not decimals and _is_year(whole, before, after)
        if suffix == "s" and not (year and whole.endswith("0")):
            continue
        low, high = _range(text, start, end)
        percent = re.match(r"\s?(?:%|percent|per cent)", after)
        value = float(whole.replace(",", "") + decimals)
        if percent and value <= 100:
            high = min(high, 100.01)
        if suffix in ("st", "nd", "rd", "th") and after.lstrip().startswith("centur"):
            high = min(high, 22)
        yield Numeral(start, end, whole, decimals, suffix, year, low, high)


def _is_code(before: str, after: str) -> bool:
    # F-16, COVID-19, 1-800-232-4636, 747-400B, No. 5
    dash_before = re.search(r"([^\W_]*)[-‑]$", before)
    if dash_before and not dash_before[1].isdigit():
        return True
    return bool(
        re.search(r"\d[-‑]\d+[-‑]$", before)
        or re.match(r"[-‑]\d+[-‑]\d|[-‑]\d+[A-Za-z]", after)
        or re.search(r"\bNo\.? ?$", before)
    )


def _is_year(whole: str, before: str, after: str) -> bool:
    if len(whole) != 4 or not 1000 <= int(whole) <= 2100 or before[-1:] in ("$", "£", "€", "¥"):
        return False
    return bool(_YEAR_BEFORE.search(before)) or not _COUNTED.match(after)


def _range(text: str, start: int, end: int) -> tuple[float, float]:
    before = re.search(
        r"(\d[\d,]*(?:\.\d+)?)(?:%| ?percent)?\s?(?:[-–—]|to|and|or)\s?[$£€¥]?$", text[max(0, start - 24) : start]
    )
    after = re.match(r"(?:%| ?percent)?\s?(?:[-–—]|to|and|or)\s?[$£€¥]?(\d[\d,]*(?:\.\d+)?)", text[end : end + 24])
    value = _value(text[start:end])
    low = _value(before[1]) if before else -1.0
    high = _value(after[1]) if after else float("inf")
    return (low if low < value else -1.0), (high if high > value else float("inf"))


def _value(text: str) -> float:
    return float(re.sub(r"[^\d.]", "", text).strip(".") or 0)


def number(source: Source, draw: Draw) -> list[Option]:
    """Another number of the same form: digits, separators, decimals, trailing zeros and suffix stay as they are.

    The value leaves [0.9, 1.1] times itself and keeps the order of a range (5-10) and the bounds of a percentage; a
    year moves by 1 to 30 years. Written numbers (two to twelve, tens, ordinals) change to others of their row. A year
    changes at all its places in the text and its title, so that the text does not contradict itself.
    """
    options = []
    for found in numerals(source.text):
        if source.within(found.start, found.end):
            after = another(found, source, draw)
            if after is not None:
                option = _option(source, found.start, found.end, after, everywhere=found.year)
                if not (found.year and rigid(source.text, option)):
                    options.append(option)
    for word in _WORD.finditer(source.text):
        if source.within(*word.span()):
            row = _WRITTEN[word.group().lower()]
            others = [w for w in row if w != word.group().lower() and not source.knows(w)]
            if others:
                after = like(
                    word.group(), draw.pick(others, "number", word.group(), source.text[word.end() : word.end() + 9])
                )
                options.append((replaced(source.text, *word.span(), after),))
    return sorted(options)


def _option(source: Source, start: int, end: int, after: str, *, everywhere: bool) -> Option:
    before = source.text[start:end]
    spans = places(source.text, before) if everywhere else [(start, end)]
    return disjoint(Edit(a, b, before, after) if everywhere else replaced(source.text, a, b, after) for a, b in spans)


def another(found: Numeral, source: Source, draw: Draw) -> str | None:
    """Another number in the same form that neither the text nor the query, an answer or a positive holds; else None."""
    text = source.text[found.start : found.end]
    for candidate in (_years if found.year else _values)(found, draw, source.text[found.end : found.end + 9]):
        if candidate != text and not source.knows(candidate) and found.above < _value(candidate) < found.below:
            return candidate
    return None


def _years(found: Numeral, draw: Draw, beside: str) -> Iterator[str]:
    year = int(found.whole)
    last = max(year, _THIS_YEAR)
    step = 10 if found.suffix else 1
    near = [
        y
        for y in range(year - YEARS, year + YEARS + 1, 1)
        if y != year and 1000 <= y <= last and (y - year) % step == 0
    ]
    for new in draw.ordered(near, "year", year, found.suffix):
        yield f"{new}{found.suffix}"


def _values(found: Numeral, draw: Draw, beside: str) -> Iterator[str]:
    digits = found.whole.replace(",", "") + found.decimals[1:]
    bare = digits.lstrip("0")
    zeros = len(bare) - len(bare.rstrip("0")) if not found.decimals else 0
    core = bare[: len(bare) - zeros]
    if not core or digits == "1":
        return
    low, high = 10 ** (len(core) - 1), 10 ** len(core) - 1
    value = int(core)
    for trial in range(24):
        new = low + draw.below(high - low + 1, "number", digits, found.suffix, beside, trial)
        ratio = new / value
        if abs(ratio - 1) <= LEAST_CHANGE or (new % 10 == 0 and not found.decimals) or (len(digits) == 1 and new == 1):
            continue
        yield _written(found, digits, str(new) + "0" * zeros)


def _written(found: Numeral, digits: str, bare: str) -> str:
    fresh = iter(bare.rjust(len(digits), "0"))
    shape = found.whole + found.decimals
    number_ = "".join(next(fresh) if c.isdigit() else c for c in shape)
    return number_ + (ordinal_suffix(int(_value(number_))) if found.suffix else "")
