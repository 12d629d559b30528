"""What the rules know of a text: its words, numbers, dates, names, sentences. English; nothing is learnt or guessed.

Content words are words that are not in a short stop list, without plural endings (the S-stemmer: Harman 1991, JASIS
42). Names are capitalised words within a sentence, and words in capitals; a sentence most of whose words are
capitalised is a heading and has none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foils.influence.phenomena.bags import Bags, Vocabulary
from foils.influence.phenomena.words import (
    ABBREVIATED,
    ANSWERS,
    MODALS,
    MONTHS,
    NEGATED,
    NEGATORS,
    NUMBERS,
    STOP,
    WEEKDAYS,
)

TYPES = ("number", "date", *ANSWERS)
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*")
_BREAK = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])|\n+")
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d\Z")
_ISO = re.compile(r"\b(\d{4})-(\d\d)-(\d\d)\b")
_HEADING = 0.6  # share of capitalised words
_MOST = 2_000  # words of a text that are read; what comes later seldom decides


@dataclass
class Sentence:
    """One sentence: its content words in order, and whether it negates or hedges."""

    words: list[str] = field(default_factory=list)
    negated: bool = False
    modal: bool = False


@dataclass
class Reading:
    """What is known of one text."""

    length: int = 0
    plain: list[str] = field(default_factory=list)
    numbers: set[str] = field(default_factory=set)
    dates: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    sentences: list[Sentence] = field(default_factory=list)
    types: set[str] = field(default_factory=set)


def stem(word: str) -> str:
    """Without the ending of a plural.

    >>> [stem(word) for word in ("studies", "diseases", "cats", "glass", "virus")]
    ['study', 'disease', 'cat', 'glass', 'virus']
    """
    if len(word) < 4:
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    return word[:-1] if word.endswith("s") and not word.endswith(("us", "ss")) else word


def split(text: str) -> list[str]:
    """Sentences; a full stop after an abbreviation or an initial ends none.

    >>> split("Dr. Smith came. He saw 3.5 mg, e.g. Twice.")
    ['Dr. Smith came.', 'He saw 3.5 mg, e.g. Twice.']
    """
    sentences: list[str] = []
    for part in _BREAK.split(text):
        last = sentences[-1].rsplit(maxsplit=1)[-1].lower().rstrip(".") if sentences else ""
        if sentences and sentences[-1].endswith(".") and (last in ABBREVIATED or (len(last) == 1 and last.isalpha())):
            sentences[-1] = f"{sentences[-1]} {part.strip()}"
        elif part.strip():
            sentences.append(part.strip())
    return sentences


def read(text: str) -> Reading:
    """Everything the rules look at in a text."""
    found = Reading()
    for number, sentence in enumerate(split(text)):
        if found.length >= _MOST:
            break
        _read_sentence(sentence, found)
        kinds = (kind for kind in ANSWERS if kind not in found.types and (kind != "definition" or number < 2))
        found.types.update(kind for kind in kinds if ANSWERS[kind].search(sentence))
    found.types.update(kind for kind, items in (("number", found.numbers), ("date", found.dates)) if items)
    return found


def _read_sentence(text: str, found: Reading) -> None:
    tokens = _TOKEN.findall(text)
    lower = [token.lower() for token in tokens]
    sentence = Sentence(negated=bool(NEGATED.search(text)) or not NEGATORS.isdisjoint(lower))
    sentence.modal = any(_hedges(tokens[i], word, i, lower) for i, word in enumerate(lower) if word in MODALS)
    dated = _dates(lower, text, found.dates)
    for i, word in enumerate(lower):
        if word[0].isdigit():
            if i not in dated:
                found.numbers.add(_value(word))
        elif word in NUMBERS and word != "one":
            found.numbers.add(NUMBERS[word])
    sentence.words = [stem(_bare(word)) for word in lower if word not in STOP and (len(word) > 1 or word.isdigit())]
    found.names |= _names(tokens, lower)
    found.plain += lower
    found.length += len(tokens)
    found.sentences.append(sentence)


def _hedges(token: str, word: str, at: int, words: list[str]) -> bool:
    """May is a month where it is capitalised within a sentence, or stands by a number."""
    if word != "may":
        return True
    beside = words[max(at - 1, 0) : at + 2]
    return not ((token[0].isupper() and at) or any(other[0].isdigit() for other in beside))


def _value(word: str) -> str:
    """One form for 1,000 and 1000, 2.50 and 2.5."""
    plain = re.sub(r",(?=\d{3}\b)", "", word).replace(",", ".")
    try:
        return f"{float(plain):g}"
    except ValueError:
        return plain  # 1.2.3


def _dates(words: list[str], text: str, dates: set[str]) -> set[int]:
    """Adds years, months beside a number and weekdays to ``dates``; returns the places of the numbers in them."""
    used = set()
    for i, word in enumerate(words):
        if _YEAR.match(word):
            dates.add(word)
            used.add(i)
        elif word in WEEKDAYS:
            dates.add(word)
        elif word in MONTHS:
            beside = [j for j in (i - 1, i + 1) if 0 <= j < len(words) and words[j].isdecimal()]
            if beside or len(word) > 4:
                dates.add(f"month {MONTHS[word]}")
            days = [j for j in beside if not _YEAR.match(words[j])]
            dates.update(f"month {MONTHS[word]} day {int(words[j])}" for j in days)
            used.update(beside)
    for year, month, day in _ISO.findall(text):
        dates.update((year, f"month {int(month)}", f"month {int(month)} day {int(day)}"))
        used.update(i for i, word in enumerate(words) if word in (month, day))
    return used


def _names(tokens: list[str], lower: list[str]) -> set[str]:
    letters = [i for i, token in enumerate(tokens) if token[0].isalpha()]
    capital = {i for i in letters if tokens[i][0].isupper()}
    if len(letters) > 1 and len(capital) > _HEADING * len(letters):
        return set()
    # The first word of a sentence is a name only where another follows at once.
    kept = {
        i for i in capital if (i > 0 or (i + 1 in capital and lower[0] not in STOP)) or (tokens[i].isupper() and i == 0)
    }
    return {
        _bare(lower[i])
        for i in kept
        if len(tokens[i]) > 1 and lower[i] not in STOP and lower[i] not in MONTHS and lower[i] not in WEEKDAYS
    }


def _bare(word: str) -> str:
    """Without a possessive ending."""
    return word[:-2] if word.endswith(("'s", "’s")) else word


class Readings:
    """What is known of many texts, as arrays.

    Args:
        texts: each once.
        vocabulary: shared by all texts that are compared.

    Attributes:
        words: content words of each text. ``plain``: all words. ``numbers``, ``dates``, ``names``: likewise.
        length: words of each text.
        types: bool (texts, types), what kinds of answer it has in it, in the order of ``TYPES``.
        first: int64 (texts + 1,), number of the first sentence of each text.
        sentences: content words of each sentence. ``bigrams``: neighbours among them.
        negated: bool, of each sentence. ``modal``: likewise.
    """

    def __init__(self, texts: Sequence[str], vocabulary: Vocabulary) -> None:
        readings = [read(text) for text in texts]
        sentences = [sentence for reading in readings for sentence in reading.sentences]
        words = [[word for sentence in reading.sentences for word in sentence.words] for reading in readings]
        self.words, self.plain = Bags(words, vocabulary), Bags([reading.plain for reading in readings], vocabulary)
        self.numbers = Bags([sorted(reading.numbers) for reading in readings], vocabulary)
        self.dates = Bags([sorted(reading.dates) for reading in readings], vocabulary)
        self.names = Bags([sorted(reading.names) for reading in readings], vocabulary)
        self.length = np.array([reading.length for reading in readings], np.int64)
        self.types = np.array([[kind in reading.types for kind in TYPES] for reading in readings], bool).reshape(
            len(readings), len(TYPES)
        )
        counts = [len(reading.sentences) for reading in readings]
        self.first: NDArray[np.int64] = np.concatenate(([0], np.cumsum(counts, dtype=np.int64))).astype(np.int64)
        self.sentences = Bags([sentence.words for sentence in sentences], vocabulary)
        pairs = [[f"{a} {b}" for a, b in zip(s.words, s.words[1:], strict=False)] for s in sentences]
        self.bigrams = Bags(pairs, vocabulary)
        self.negated = np.array([sentence.negated for sentence in sentences], bool)
        self.modal = np.array([sentence.modal for sentence in sentences], bool)
