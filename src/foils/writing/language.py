"""Which language a text is in, by a small rule of our own: the script of its letters, and its commonest words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_WORD = re.compile(r"[^\W\d_]+")
_LETTERS = 200  # of a text whose scripts are looked at
_LONGEST = 2000  # characters that are looked at
_LEAST = 4  # common words of a language that a text must have
_LEAD = 2.0  # how many times as many as of the next one
# Words that are common in one and rare in the others; of English, none that the others have, and the other way round.
_COMMON = {
    "en": "the of and is that it with for are this which from by have has were was their these been can not",
    "de": "der das und ist nicht von mit den dem ein eine zu auf für sich auch wird werden oder bei nach durch",
    "fr": "les des et est une dans que pour qui sur pas plus par avec ce sont aux ou ne cette peut être",
    "es": "el los las y una que en por para con del su como más son esta pero ser puede también entre",
    "it": "il di che è una per con sono della dei nel alla gli più come anche questo delle dal essere può",
    "pt": "os e é uma que em por para com não da dos das mais como ao pode são também ser pela",
    "nl": "het een en van dat niet voor zijn aan te ook worden bij naar uit wordt deze kan maar hebben",
    "sv": "och att det som är av för på inte till har om ett eller vid från kan med en detta",
    "pl": "w nie na się jest że z jak przez oraz lub od po są dla tym który może być także",
    "tr": "ve bir bu için ile da olarak olan daha gibi çok veya kadar sonra ise olduğu her ne en tarafından",
}
_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}


def language_of(text: str) -> str | None:
    """The language or script of a text; None where it cannot be told.

    A text mostly of letters of another script than Latin is "in" that script: ``CYRILLIC``, ``CJK``, ``ARABIC``, …. Of
    a text in Latin script the common words of ten languages are counted: it must have four of a language, and twice as
    many as of any other.

    >>> language_of("the sea is not of the colour that it was"), language_of("der Hund und das Huhn, das nicht legt")
    ('en', 'de')
    >>> language_of("Цвет моря"), language_of("HTTP 404")
    ('CYRILLIC', None)
    """
    text = text[:_LONGEST]
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
