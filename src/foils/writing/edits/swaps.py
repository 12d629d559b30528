"""Words that change places with their opposite: antonyms, comparisons, modality, units."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from foils.writing.draft import Edit
from foils.writing.edits.edit import Draw, Option, like, replaced
from foils.writing.edits.lexicon import ANTONYMS, AUXILIARIES, COMPARISONS, CURRENCIES, MODALITY, SYNONYMS, UNITS
from foils.writing.edits.region import Source

TABLES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "antonym": ANTONYMS,
    "comparison": COMPARISONS,
    "modality": MODALITY,
    "synonym": SYNONYMS,
}
_NUMBER_BEFORE = re.compile(
    r"(?:\d[\d,]*(?:\.\d+)?|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|several|few|many|hundred|thousand|million|billion))[\s-]?$"
)
_SIGN = re.compile(rf"(?<!\w)[{''.join(CURRENCIES)}](?=\d)")
_PROPER = re.compile(r"\s(?:[A-Z][\w’'-]*)")


@cache
def _phrases(name: str) -> re.Pattern[str]:
    """Finds words, and the phrases of a table before them."""
    several = (words for words in TABLES[name] if " " in words or "-" in words)
    spelt = [re.escape(words) for words in sorted(several, key=lambda words: (-len(words), words))]
    either = "|".join([*spelt, r"[^\W\d_]+"])
    return re.compile(rf"(?<![\w'’-])(?:{either})(?![\w'’-])")


def opposites(text: str, name: str, draw: Draw) -> Iterator[tuple[re.Match[str], str]]:
    """Each word of the table in the text, with its opposite in the same capitals; one of several is drawn by key."""
    table = TABLES[name]
    for found in _phrases(name).finditer(text):
        word = found.group()
        others = table.get(word) or table.get(word[0].lower() + word[1:])
        if others:
            yield found, like(word, draw.pick(others, name, word) if len(others) > 1 else others[0])


def _swap(source: Source, draw: Draw, name: str) -> list[Option]:
    options: list[Option] = []
    for found, after in opposites(source.text, name, draw):
        if source.within(*found.span()) and not _fixed(source.text, *found.span()):
            options.append((replaced(source.text, *found.span(), after),))
    return options


def _fixed(text: str, start: int, end: int) -> bool:
    # "North Korea", "the Old Kingdom": a capital within a sentence belongs to a name; so does one before a name.
    if re.search(r"\bno\s$", text[max(0, start - 4) : start]):
        return True  # "no longer"
    return text[start].isupper() and (
        bool(_PROPER.match(text, end)) or not re.search(r"(?:^|[.!?:]\s+|\n\s*)$", text[:start])
    )


def antonym(source: Source, draw: Draw) -> list[Option]:
    """A word and its opposite: large and small, inherited and acquired, father and mother; not within names."""
    return _swap(source, draw, "antonym")


def comparison(source: Source, draw: Draw) -> list[Option]:
    """Comparatives and superlatives, before and after, increase and decrease, above and below."""
    return _swap(source, draw, "comparison")


def modality(source: Source, draw: Draw) -> list[Option]:
    """How sure or binding a sentence is: may and must, could and will, sometimes and always, usually and rarely."""
    options = []
    for option in _swap(source, draw, "modality"):
        edit = option[0]
        if edit.before.lower() in AUXILIARIES and not _is_auxiliary(source.text, edit):
            continue
        options.append(option)
    return options


def _is_auxiliary(text: str, edit: Edit) -> bool:
    # No month, no "a will", no "might of": a verb or "not" follows, with a small letter.
    return (
        edit.before[0].islower()
        and bool(re.match(r"\s+(?!of\b|the\b|and\b|or\b|to\b)[a-z]", text[edit.end :]))
        and not re.search(r"\b(?:a|the|his|her|their|free|last)\s$", text[: edit.start].lower())
    )


@cache
def _units() -> tuple[re.Pattern[str], dict[str, tuple[str, int]]]:
    table = {
        form: (name, column)
        for name, rows in UNITS.items()
        for row in rows
        for column, form in reversed([*enumerate(row)])
    }
    ordered = sorted(table, key=lambda form: (-len(form), form))
    return re.compile(rf"(?:{'|'.join(map(re.escape, ordered))})(?![\w/^²³])"), table


def unit(source: Source, draw: Draw) -> list[Option]:
    """Another unit of the same dimension behind a number; the value stays. Plural, short form and sign stay too.

    Spellings of one unit (metre, meter) do not stand in for each other; a currency sign before a number changes too.
    """
    pattern, table = _units()
    options: list[Option] = []
    for found in pattern.finditer(source.text):
        start, end = found.span()
        form = found.group()
        if source.within(start, end) and _NUMBER_BEFORE.search(source.text[max(0, start - 16) : start]):
            name, column = table[form]
            others = [row[column] for row in UNITS[name] if not _same(row[column], form)]
            after = draw.pick(others, "unit", form)
            options.append((replaced(source.text, start, end, after),))
    for found in _SIGN.finditer(source.text):
        if source.within(*found.span()):
            after = draw.pick([sign for sign in CURRENCIES if sign != found.group()], "unit", found.group())
            options.append((Edit(*found.span(), found.group(), after),))
    return sorted(options)


def _same(one: str, other: str) -> bool:
    def spelt(unit_: str) -> str:
        return unit_.lower().replace("tres", "ters").replace("tre", "ter").replace("tonne", "ton")

    return spelt(one) == spelt(other)
