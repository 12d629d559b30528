"""Which language a text is in, by a small rule of our own: the script of its letters, and its commonest words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_WORD = re.compile(r"[^\W\d_]+")
_LETTERS = 200  # of a text whose scripts are looked at
_LEAST = 3  # words of a language that a text must have
_LEAD = 1.5  # how many times as many as of the next one
# Words that are common in one and rare in the others.
_COMMON = {
    "en": "the of and to is in that it with for are this which from by not have has was were",
    "de": "der die das und ist nicht von mit den dem ein eine zu auf für sich auch wird werden oder",
    "fr": "le les des et est une dans que pour qui sur pas plus par avec ce sont au aux ou",
    "es": "el los las y es una que en por para con no se del su como más son o al",
    "it": "il di che è una per non con sono della dei nel alla gli più come anche si del o",
    "pt": "o os as e é uma que em por para com não do da dos das se mais como ao",
    "nl": "de het een en van is dat niet met voor op zijn aan te door ook worden of bij naar",
    "sv": "och att det som en är av för på med inte den till har om ett eller kan vid från",
    "pl": "i w nie na się jest że do z to jak przez oraz lub od po są dla tym który",
    "tr": "ve bir bu için ile da de olarak olan daha gibi çok veya kadar sonra ise olduğu en her ne",
}
_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}


def language_of(text: str) -> str | None:
    """The language or script of a text; None where it cannot be told.

    A text mostly of letters of another script than Latin is "in" that script: ``CYRILLIC``, ``CJK``, ``ARABIC``, …. Of
    a text in Latin script the words of ten languages are counted: it must have three of a language, and half as many
    more than of any other.

    >>> language_of("the colour of the sea is not that of the sky"), language_of("Die Farbe ist nicht das, was sie war")
    ('en', 'de')
    >>> language_of("Цвет моря"), language_of("HTTP 404")
    ('CYRILLIC', None)
    """
    letters = [sign for sign in text[: 4 * _LETTERS] if sign.isalpha()][:_LETTERS]
    if not letters:
        return None
    scripts = Counter(map(_script, letters))
    script, count = scripts.most_common(1)[0]
    if 2 * count < len(letters):
        return None
    return _latin(text) if script == "LATIN" else script


def _script(letter: str) -> str:
    if letter.isascii():
        return "LATIN"
    name = unicodedata.name(letter, "OTHER").split(" ")[0]
    # Japanese is written in three scripts, two of which nobody else uses.
    return {"HIRAGANA": "KANA", "KATAKANA": "KANA"}.get(name, name)


def _latin(text: str) -> str | None:
    words = Counter(_WORD.findall(text.casefold()))
    counts = {language: sum(words[word] for word in common) for language, common in _WORDS.items()}
    first, second = sorted(counts.values(), reverse=True)[:2]
    if first < _LEAST or first < _LEAD * second:
        return None
    return max(counts, key=counts.__getitem__)
