"""DPR's answer-string rule: does a text contain an answer, token by token?"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

from foils.core.errors import DataError

# Stands between tokens; a control character, so it cannot be part of one.
_GAP = "\x1f"


@cache
def _tokens() -> re.Pattern[str]:
    # DPR: runs of letters, numbers and marks, or any single other character that is no separator and no control.
    # The standard library's `\w` knows no combining marks, and after NFD every accent is one.
    marks, controls = [], []
    for code in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(code))
        if category[0] == "M":
            marks.append(code)
        elif category in ("Cc", "Cf"):
            controls.append(code)
    return re.compile(f"(?:[^\\W_]++|[{_ranges(marks)}]++)++|[^\\s{_ranges(controls)}]")


# The same for ASCII text, many times faster.
_ASCII = re.compile(r"[a-zA-Z0-9]+|[^\s\x00-\x1f\x7f]")


def _ranges(codes: list[int]) -> str:
    out, start = [], codes[0]
    for before, code in zip(codes, [*codes[1:], None], strict=True):
        if code != before + 1:
            out.append(f"\\U{start:08x}-\\U{before:08x}")
            start = code or 0
    return "".join(out)


def tokens_of(text: str) -> str:
    r"""The tokens of a text, NFD-normalised and lower-cased, each between two separators.

    >>> tokens_of("New  YORK!").split("\x1f")
    ['', 'new', 'york', '!', '']
    """
    found = _ASCII.findall(text) if text.isascii() else _tokens().findall(unicodedata.normalize("NFD", text))
    return _GAP + _GAP.join(found).lower() + _GAP


def compile_answers(answers: Sequence[str], match: Literal["string", "regex"]) -> Callable[[str], bool]:
    """A test whether a text contains any of the answers.

    Args:
        answers: the query's answers.
        match: ``string`` tests texts prepared by `tokens_of` for a contiguous run of tokens; ``regex`` searches the raw
            text with ignore-case, unicode and multiline.

    Raises:
        DataError: an answer is no valid regular expression.
    """
    if match == "regex":
        try:
            patterns = [re.compile(a, re.IGNORECASE | re.UNICODE | re.MULTILINE) for a in answers]
        except re.error as error:
            raise DataError(f"answer {error.pattern!r} is no regular expression: {error}.") from None
        return lambda text: any(pattern.search(text) for pattern in patterns)
    needles = [needle for needle in map(tokens_of, answers) if needle != _GAP + _GAP]
    return lambda prepared: any(needle in prepared for needle in needles)
