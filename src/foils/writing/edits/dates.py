"""Dates: another day, month or year that the calendar knows, in the same form."""

from __future__ import annotations

import calendar
import datetime
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from foils.writing.draft import Edit
from foils.writing.edits.edit import Draw, Option, disjoint
from foils.writing.edits.lexicon import MONTHS, WEEKDAYS
from foils.writing.edits.region import Source, Span, places

YEARS = 30  # as for numbers
_THIS_YEAR = 2026
_SHORT = [month[:3] for month in MONTHS]
_MONTH = rf"(?P<month>{'|'.join(MONTHS)}|(?:{'|'.join(_SHORT)}|Sept)\b\.?)"
_DAY = r"(?P<day>0?[1-9]|[12][0-9]|3[01])(?P<suffix>st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:1[0-9]|20)[0-9]{2})"
_WEEKDAY = rf"(?:(?P<weekday>{'|'.join(WEEKDAYS)}),? (?:the )?)?"
_FORMS = [
    re.compile(form)
    for form in (
        rf"(?<![\w-]){_WEEKDAY}{_DAY}(?: of)? {_MONTH}(?:,? {_YEAR})?(?![\w-])",
        rf"(?<![\w-]){_WEEKDAY}{_MONTH} {_DAY}(?:,? {_YEAR})?(?![\w-]|[.,]\d|\s?%)",
        rf"(?<![\w-])(?<!\d )(?<!\d(?:st|nd|rd|th) ){_MONTH},?(?: of)? {_YEAR}(?![\w-])",
        rf"(?<![\w-]){_YEAR}-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12][0-9]|3[01])(?![\w-])",
        r"(?<![\w/])(?P<day>[0-9]{1,2})/(?P<month>[0-9]{1,2})/(?P<year>(?:1[0-9]|20)[0-9]{2}|[0-9]{2})(?![\w/])",
        rf"(?<![\w.])(?P<day>[0-9]{{1,2}})\.(?P<month>[0-9]{{1,2}})\.{_YEAR}(?![\w]|\.\d)",
        rf"(?:(?<=\b[Ii]n )|(?<=\b[Bb]y )|(?<=\bsince )|(?<=\buntil )|(?<=\bearly )|(?<=\blate ))"
        rf"(?P<month>{'|'.join(MONTHS)})(?![\w-])",
    )
]


@dataclass(frozen=True)
class Date:
    """A date in a text; -1 stands for a part that it has not.

    Attributes:
        day: 1 to 31.
        month: 1 to 12.
        year: the year, with its century.
        spans: where its parts stand: ``day`` with its suffix, ``month``, ``year``, ``weekday``.
        swapped: whether month stands before day in digits (12/31/99).
        either: whether both readings are dates (12/03/84); then both must stay dates.
    """

    day: int
    month: int
    year: int
    spans: tuple[tuple[str, Span], ...]
    swapped: bool = False
    either: bool = False

    @property
    def valid(self) -> bool:
        """Whether the calendar has it; a day without a year may be 29 February."""
        readings = [(self.day, self.month)] + ([(self.month, self.day)] if self.either else [])
        return all(_exists(self.year if self.year > 0 else 2000, month, day) for day, month in readings)

    @property
    def start(self) -> int:
        """Offset of its first part."""
        return min(span[0] for _, span in self.spans)

    @property
    def end(self) -> int:
        """Offset behind its last part."""
        return max(span[1] for _, span in self.spans)


def _exists(year: int, month: int, day: int) -> bool:
    return 1 <= month <= 12 and (day == -1 or 1 <= day <= calendar.monthrange(year, month)[1])


def dates(text: str) -> list[Date]:
    """The dates of a text, by offset; no bare years, which are numbers.

    ``12 March 1984``, ``March 12, 1984``, ``Mar. 1984``, ``in March``, ``1984-03-12``, ``12/03/84``, ``12.3.1984``;
    a weekday before them is read too.

    >>> [(d.day, d.month, d.year) for d in dates("From 12 March 1984 to 1984-05-01.")]
    [(12, 3, 1984), (1, 5, 1984)]
    """
    found: list[Date] = []
    if not any(c.isdigit() for c in text) and not any(month in text for month in MONTHS):
        return found
    for form in _FORMS:
        for match in form.finditer(text):
            date = _read(match)
            if (
                date is not None
                and date.valid
                and not any(d.start < match.end() and match.start() < d.end for d in found)
            ):
                found.append(date)
    return sorted(found, key=lambda date: date.start)


def date_spans(text: str) -> list[Span]:
    """Where dates stand."""
    return [(date.start, date.end) for date in dates(text)]


def _read(match: re.Match[str]) -> Date | None:
    parts = {name: value for name, value in match.groupdict().items() if value is not None}
    spans = [(name, match.span(name)) for name in ("weekday", "day", "month", "year") if name in parts]
    if "suffix" in parts:
        spans = [(n, (s[0], match.end("suffix")) if n == "day" else s) for n, s in spans]
    day, year = int(parts.get("day", -1)), _century(parts.get("year", "-1"))
    if not parts["month"].isdigit():
        return Date(day, _month(parts["month"]), year, tuple(spans))
    month, sign = (
        int(parts["month"]),
        match.string[match.end("day")] if match.start("day") < match.start("month") else "-",
    )
    if sign == "-":
        return Date(day, month, year, tuple(spans))
    if max(day, month) > 31 or min(day, month) > 12 or min(day, month) < 1:
        return None
    if month > 12:
        named = tuple((({"day": "month", "month": "day"}).get(n, n), s) for n, s in spans)
        return Date(month, day, year, named, swapped=True)
    return Date(day, month, year, tuple(spans), either=sign == "/" and day <= 12)


def _century(text: str) -> int:
    return int(text) if len(text) != 2 or text == "-1" else 1900 + int(text) if int(text) > 30 else 2000 + int(text)


def _month(text: str) -> int:
    return _SHORT.index(text[:3]) + 1


def date(source: Source, draw: Draw) -> list[Option]:
    """Another date of the calendar in the same form: for each date another day, another month, another year, or all.

    Padding, order, short or long months, ordinals and signs stay; a weekday before a full date is made the right one.
    A year moves by 1 to 30 years, at all its places in the text. A date that can be read in two ways (12/03/84) stays
    one in both.
    """
    options: list[Option] = []
    for found in dates(source.text):
        if source.within(found.start, found.end):
            have = [name for name, _ in found.spans if name != "weekday"]
            for changed in ([name] for name in have):
                options += _changed(found, changed, source, draw)
            if len(have) > 1:
                options += _changed(found, have, source, draw)
    return sorted(set(options))


def _changed(found: Date, parts: list[str], source: Source, draw: Draw) -> Iterator[Option]:
    for trial in range(12):
        new = found
        for part in parts:
            value = _another(found, part, draw, (source.text[found.start : found.end], *parts, trial))
            new = _with(new, part, value)
        edits = [_edit(source.text, found, new, name) for name, _ in found.spans] if new.valid else [None]
        if None in edits:
            continue
        spelt = disjoint(edit for edit in edits if edit is not None)
        if spelt and not any(
            source.knows(edit.after) for edit in spelt if len(edit.after) == 4 and edit.after.isdigit()
        ):
            others = _years_elsewhere(source, spelt)
            if not rigid(source.text, others):
                yield disjoint([*spelt, *others])
            return


def _with(date_: Date, part: str, value: int) -> Date:
    return (
        replace(date_, day=value)
        if part == "day"
        else replace(date_, month=value)
        if part == "month"
        else replace(date_, year=value)
    )


def _another(found: Date, part: str, draw: Draw, what: tuple[object, ...]) -> int:
    if part == "year":
        a, b = dict(found.spans)["year"]
        least, most = (1931, 2030) if b - a == 2 else (1000, max(found.year, _THIS_YEAR))
        near = range(max(least, found.year - YEARS), min(most, found.year + YEARS) + 1)
        return draw.pick([year for year in near if year != found.year], *what)
    last, now = (12, found.month) if part == "month" else (31, found.day)
    return draw.pick([value for value in range(1, last + 1) if value != now], part, *what)


def _edit(text: str, old: Date, new: Date, name: str) -> Edit | None:
    start, end = dict(old.spans)[name]
    before = text[start:end]
    if name == "weekday":
        after = (
            WEEKDAYS[datetime.date(new.year, new.month, new.day).weekday()]
            if new.year >= 1583 and new.day > 0
            else before
        )
        return Edit(start, end, before, after)
    value: int = getattr(new, name)
    if value == getattr(old, name):
        return Edit(start, end, before, before)
    a, b = dict(old.spans)["month"]
    spelt = _spelt(before, value, name, text[a:b].isdigit())
    return None if spelt is None else Edit(start, end, before, spelt)


def _spelt(before: str, value: int, name: str, numeric: bool) -> str | None:
    if name == "month" and not before.isdigit():
        if before in MONTHS:
            return MONTHS[value - 1]
        dot = before.endswith(".")
        return None if value == 5 and dot else _SHORT[value - 1] + "." * dot
    if name == "year":
        return f"{value % 100:02d}" if len(before) == 2 else f"{value:04d}"
    digits = before.rstrip("dhnrst")
    width = len(digits) if numeric or digits.startswith("0") else 1
    return f"{value:0{width}d}" + (ordinal_suffix(value) if len(digits) < len(before) else "")


def ordinal_suffix(value: int) -> str:
    """``st``, ``nd``, ``rd`` or ``th``.

    >>> [ordinal_suffix(n) for n in (1, 12, 22, 113)]
    ['st', 'th', 'nd', 'th']
    """
    return "th" if value // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")


def _years_elsewhere(source: Source, spelt: Option) -> list[Edit]:
    return [
        Edit(start, end, edit.before, edit.after)
        for edit in spelt
        if len(edit.before) == 4 and edit.before.isdigit()
        for start, end in places(source.text, edit.before)
        if not any(other.start < end and start < other.end for other in spelt)
    ]


def rigid(text: str, edits: Iterable[Edit]) -> bool:
    """Whether an edited year stands in a date that needs it: one with a weekday, or 29 February."""
    fixed = [d for d in dates(text) if "weekday" in dict(d.spans) or (d.day, d.month) == (29, 2)]
    return any(d.start < edit.end and edit.start < d.end for d in fixed for edit in edits)
