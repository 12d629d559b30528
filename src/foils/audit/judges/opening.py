"""Judges by name, as ``--judge`` takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from foils.audit.judges.protocol import Judge
from foils.core.collection import Collection
from foils.core.errors import SpecError
from foils.core.text import did_you_mean


@dataclass(frozen=True)
class Bench:
    """What a judge that is opened by name may use.

    Attributes:
        data: the collection.
        cache: folder for verdicts and scores that are kept.
        progress: called with (what, done, total), or None.
    """

    data: Collection
    cache: Path
    progress: Callable[[str, int, int], None] | None = None


Opener = Callable[[str, Bench], Judge]

OPENERS: Mapping[str, Opener] = {}
"""What stands before the colon of a judge's name -> who opens it, given what stands behind it."""


def open_judge(name: str, bench: Bench) -> Judge:
    """The judge of a name such as ``llm:MODEL``.

    Raises:
        SpecError: there is no such kind of judge.
    """
    kind, _, rest = name.partition(":")
    if kind in OPENERS:
        return OPENERS[kind](rest, bench)
    raise SpecError(f"judge {name!r}: no such kind of judge.{did_you_mean(kind, tuple(OPENERS))}")
