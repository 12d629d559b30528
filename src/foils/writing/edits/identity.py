"""Edits that keep what a text says: the counterpart of each edit that does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from foils.writing.draft import Edit
from foils.writing.edits.dates import dates
from foils.writing.edits.edit import Draw, Option, replaced
from foils.writing.edits.lexicon import COUNTS, MONTHS, words
from foils.writing.edits.region import Source
from foils.writing.edits.swaps import opposites

_BARE = re.compile(r"(?<![\w.,/:$£€-])\d{5,9}(?![\w.,/:-])")
_GROUPED = re.compile(r"(?<![\w.,/:-])\d{1,3}(?:,\d{3})+(?![\w,.-]\d|\w)")
_PERCENT = re.compile(r"(?<=\d)(?:%| percent\b)")
_COUNT = re.compile(rf"(?<![\w.,/:$£€%-])(?:{'|'.join(COUNTS)}|[2-9]|1[0-2])(?= [a-z]+s\b)")
_NUMBERS = {word: str(value) for value, word in enumerate(COUNTS, 2)}
_DIGITS = {digits: word for word, digits in _NUMBERS.items()}
_VERBS = words("is are was were did does do could would should has have had")
_PAIRS = [(f"{word} not", f"{word}n't") for word in _VERBS]
_CONTRACTIONS = dict([*_PAIRS, *((short, long) for long, short in _PAIRS), ("cannot", "can't"), ("can't", "cannot")])
_CONTRACTED = re.compile(
    rf"(?<![\w'’-])(?:{'|'.join(map(re.escape, sorted(_CONTRACTIONS, key=len, reverse=True)))})(?![\w'’-])"
)
_SHORT = {
    "km": "kilometres",
    "cm": "centimetres",
    "mm": "millimetres",
    "kg": "kilograms",
    "mg": "milligrams",
    "ft": "feet",
    "lb": "pounds",
}
_LONG = {
    "kilometres": "km", "kilometers": "km", "centimetres": "cm", "centimeters": "cm", "millimetres": "mm",
    "millimeters": "mm", "kilograms": "kg", "milligrams": "mg", "feet": "ft", "pounds": "lb",
}  # fmt: skip
_MEASURED = re.compile(rf"(?<=\d)\s?(?P<unit>{'|'.join((*_SHORT, *_LONG))})(?![\w/^²³])")


def _numbers(text: str) -> Iterator[Edit]:
    for found in _GROUPED.finditer(text):
        yield Edit(*found.span(), found.group(), found.group().replace(",", ""))
    for found in _BARE.finditer(text):
        yield Edit(
            *found.span(), found.group(), f"{int(found.group()):,}" if found.group()[0] != "0" else found.group()
        )
    for found in _PERCENT.finditer(text):
        yield Edit(*found.span(), found.group(), " percent" if found.group() == "%" else "%")
    for found in _COUNT.finditer(text):
        word = found.group()
        yield replaced(text, *found.span(), _NUMBERS.get(word) or _DIGITS[word])


def _dates(text: str) -> Iterator[Edit]:
    for found in dates(text):
        if found.day > 0 and found.year > 0 and {name for name, _ in found.spans} == {"day", "month", "year"}:
            before = text[found.start : found.end]
            month = next((m for m in MONTHS if m in before), None)
            if month and before == f"{found.day} {month} {found.year}":
                yield Edit(found.start, found.end, before, f"{month} {found.day}, {found.year}")
            elif month and before == f"{month} {found.day}, {found.year}":
                yield Edit(found.start, found.end, before, f"{found.day} {month} {found.year}")


def _contractions(text: str) -> Iterator[Edit]:
    for found in _CONTRACTED.finditer(text):
        yield Edit(*found.span(), found.group(), _CONTRACTIONS[found.group()])


def _units(text: str) -> Iterator[Edit]:
    for found in _MEASURED.finditer(text):
        unit = found["unit"]
        yield Edit(*found.span(), found.group(), f" {_SHORT.get(unit) or _LONG[unit]}")


def _synonyms(text: str, draw: Draw) -> Iterator[Edit]:
    for found, after in opposites(text, "synonym", draw):
        if found.group()[0].islower():
            yield replaced(text, *found.span(), after)


def identity(source: Source, draw: Draw) -> list[Option]:
    """Edits anywhere in the text that keep its meaning: what a model sees of an edit, without what the edit does.

    Numbers (1,000 and 1000, 5% and 5 percent, two and 2), dates (12 March 1984 and March 12, 1984), units (km and
    kilometres), contractions (is not and isn't) and synonyms of a short list.
    """
    makers: tuple[Callable[[str], Iterator[Edit]], ...] = (_numbers, _dates, _contractions, _units)
    edits = [edit for make in makers for edit in make(source.text)] + list(_synonyms(source.text, draw))
    return [(edit,) for edit in sorted(set(edits)) if edit.before != edit.after]
