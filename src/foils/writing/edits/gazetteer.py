"""Names of a corpus by type, found by rule."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from foils.writing.edits.lexicon import (
    CONDITION_ENDINGS,
    CONDITION_HEADS,
    FIRST_NAMES,
    HEADS,
    HONORIFICS,
    MONTHS,
    NATIONALITIES,
    PLACES,
    STOP,
    WEEKDAYS,
)

Type = Literal["person", "place", "organisation", "event", "nationality", "condition"]
Slot = tuple[Type, str]
STRONG, WEAK = 3, 1  # votes of a rule that names the type, and of one that hints at it
SHARE = 0.6  # of a name's votes that its type must have
LEAST = 3  # votes
PER_MENTION = 0.3  # votes a mention: "in Islam" now and then makes no place

_WORD = r"[A-ZÀ-ÖØ-Þ][\w’'-]*[\w]|[A-Z]\.|[A-Z]"
_MENTION = re.compile(
    rf"(?<![\w’'-])(?:{_WORD})(?:(?:\s(?:of|of\sthe|de|van|von|la|del|der|bin|al|du)\s|\s)(?:{_WORD}))*"
)
_START = re.compile(r"(?:^|[.!?:]['\"”’)]?\s+|\n\s*|[\"“‘(\[-]\s*)$")
_PLACE_BEFORE = re.compile(r"\b(?:in|near|throughout|across|outside|toward|towards)\s(?:the\s)?$")
_PERSON_AFTER = re.compile(r",?\s(?:who|\(born|said|wrote|argued|was born|married|himself|herself)\b")
_HEADS = CONDITION_HEADS.union(*({head.lower() for head in heads} for heads in HEADS.values()))
_CALENDAR = frozenset((*MONTHS, *WEEKDAYS))


@dataclass(frozen=True)
class Mention:
    """A name in a text.

    Attributes:
        start: offset, without article and honorific.
        end: offset behind it, without a possessive ending.
        name: the name.
        before: the word before it, "" at the beginning.
        sure: whether its capital is no sentence's.
    """

    start: int
    end: int
    name: str
    before: str
    sure: bool


def mentions(text: str) -> Iterator[Mention]:
    """Runs of capitalised words; a first word of a sentence that is a stop word, months and weekdays are left out."""
    for found in _MENTION.finditer(text):
        start, name = found.start(), found.group()
        sure = _START.search(text[max(0, start - 4) : start]) is None
        before = text[max(0, start - 16) : start].split()[-1:] or [""]
        words = name.split(" ")
        while words and (words[0].lower() in STOP or words[0] in HONORIFICS or words[0] in _CALENDAR):
            before, start, sure = [words[0]], start + len(words[0]) + 1, True
            words = words[1:]
        while words and (words[-1] in _CALENDAR or words[-1].lower() in STOP):
            words = words[:-1]
        if words:
            name = re.sub(r"[’']s?$", "", " ".join(words))
            if len(name) > 1 and name[0].isupper() and not name.endswith("."):
                yield Mention(start, start + len(name), name, before[0], sure)


def votes(text: str, mention: Mention) -> Iterator[tuple[Type, int]]:
    """What the rules say of a mention's type, with their weight."""
    words, name = mention.name.split(" "), mention.name
    if name in PLACES:
        yield "place", STRONG
    if name in NATIONALITIES:
        yield "nationality", STRONG
        return
    for kind, heads in HEADS.items():
        if len(words) > 1 and (words[-1] in heads or (words[0] in heads and " of " in name)):
            yield kind, STRONG  # type: ignore[misc]
            return
    if mention.before.strip("(.,") in HONORIFICS or (
        len(words) > 1 and (words[0] in FIRST_NAMES or re.match(r"[A-Z]\.$", words[1]))
    ):
        yield "person", STRONG
    if _PERSON_AFTER.match(text, mention.end):
        yield "person", WEAK
    if _PLACE_BEFORE.search(text[max(0, mention.start - 20) : mention.start]) and not name.isupper():
        yield "place", WEAK
    if name.isupper() and 2 <= len(name) <= 6 and mention.before == "the":
        yield "organisation", WEAK


def title_type(title: str) -> Type | None:
    """``condition`` for a title that names an illness or a finding, by its head or ending; else None."""
    words = re.findall(r"[^\W\d_]+", title.lower())
    if words and any(w in CONDITION_HEADS or (len(w) > 6 and w.endswith(tuple(CONDITION_ENDINGS))) for w in words[-3:]):
        return "condition"
    return None


def shape(name: str) -> str:
    """What a name can stand in for: ``short`` for an acronym, ``one`` for a word, ``many`` for several."""
    return "many" if " " in name else "short" if name.isupper() else "one"


def words_of(name: str) -> list[str]:
    """Words of a name, lower-cased, without its small ones."""
    return [
        word
        for word in re.findall(r"[^\W_]+", name.lower())
        if word not in STOP and word not in ("de", "van", "von", "la", "al", "del")
    ]


def alias(one: str, other: str) -> bool:
    """Whether two names may mean the same: a shared word, by its first 5 letters, or initials.

    Words for what a thing is (university, river, syndrome) do not count.

    >>> alias("Richard Nixon", "Nixon"), alias("Norman", "Normandy"), alias("Organization of Arab States", "OAS")
    (True, True, True)
    >>> alias("France", "Spain")
    False
    """
    a, b = words_of(one), words_of(other)
    if not a or not b or _beginnings(a) & _beginnings(b):
        return True
    return any(
        _initials(x) == "".join(y) or (_initials(x) == "".join(w[0] for w in y) != "" and len(y) > 1)
        for x, y in ((a, b), (b, a))
    )


def _beginnings(words: list[str]) -> set[str]:
    # Two universities are two names, and so are two syndromes.
    return {word[:5] for word in words if word not in _HEADS} or {word[:5] for word in words}


def _initials(words: list[str]) -> str:
    return "".join(word[0] for word in words) if len(words) > 1 else ""


@dataclass(frozen=True)
class Gazetteer:
    """The names of a corpus: each with its type and how many documents name it.

    Attributes:
        types: by name.
        counts: documents by name.
        also: names that the corpus puts in one another's brackets or calls the same, by name.
    """

    types: Mapping[str, Type]
    counts: Mapping[str, int]
    also: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, titles: Iterable[str], texts: Iterable[str]) -> Gazetteer:
        """The gazetteer of documents: types by the votes of all mentions, and titles that name a condition."""
        ballots: defaultdict[str, Counter[Type]] = defaultdict(Counter)
        counts: Counter[str] = Counter()
        spoken: Counter[str] = Counter()
        also: defaultdict[str, set[str]] = defaultdict(set)
        for title, text in zip(titles, texts, strict=True):
            kind = title_type(title)
            if kind is not None:
                ballots[title][kind] += LEAST
                counts[title] += 1
            seen = set()
            for mention in mentions(text):
                spoken[mention.name] += 1
                for kind, weight in votes(text, mention):
                    ballots[mention.name][kind] += weight
                if mention.sure:
                    seen.add(mention.name)
            counts.update(seen - {title})
            for one, other in _same(text):
                also[one].add(other)
                also[other].add(one)
        types = {
            name: kind
            for name, ballot in ballots.items()
            if counts[name] and (kind := _elected(ballot, spoken[name])) is not None
        }
        return cls(
            types, {name: counts[name] for name in types}, {name: frozenset(other) for name, other in also.items()}
        )

    @cached_property
    def slots(self) -> Mapping[Slot, tuple[str, ...]]:
        """Names that may stand in for each other: of one type and shape, sorted."""
        table: defaultdict[Slot, list[str]] = defaultdict(list)
        for name, kind in sorted(self.types.items()):
            table[kind, shape(name)].append(name)
        return {slot: tuple(names) for slot, names in table.items()}

    def same(self, one: str, other: str) -> bool:
        """Whether two names may mean the same, by their letters or by what the corpus says."""
        return alias(one, other) or other in self.also.get(one, ())


_BRACKETS = re.compile(rf"((?:{_WORD})(?:\s(?:of\s)?(?:{_WORD}))*)\s\(([^()]{{2,40}})\)")
_CALLED = re.compile(
    rf"((?:{_WORD})(?:\s(?:of\s)?(?:{_WORD}))*),?\s(?:also|formerly|previously|better)\s(?:known\sas|called|named)\s(?:the\s)?((?:{_WORD})(?:\s(?:of\s)?(?:{_WORD}))*)"
)


def _same(text: str) -> Iterator[tuple[str, str]]:
    if "(" in text:
        for found in _BRACKETS.finditer(text):
            if found[2][0].isupper():
                yield _bare(found[1]), _bare(found[2])
    if " known as " in text or " called " in text:
        for found in _CALLED.finditer(text):
            yield _bare(found[1]), _bare(found[2])


def _bare(name: str) -> str:
    words = name.split()
    while len(words) > 1 and (words[0].lower() in STOP or words[0] in HONORIFICS):
        words = words[1:]
    return " ".join(words)


def _elected(ballot: Counter[Type], spoken: int) -> Type | None:
    total = sum(ballot.values())
    kind, most = sorted(ballot.items(), key=lambda item: (-item[1], item[0]))[0]
    enough = most >= max(LEAST, PER_MENTION * spoken)
    return kind if enough and most >= SHARE * total else None
