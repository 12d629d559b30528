"""What documents are parts of: the article of a passage, the document of a chunk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from foils.core.errors import DataError
from foils.core.groups import Groups
from foils.core.texts import Texts
from foils.stages.context import Context

TITLE = "title"  # the parent that stands for "the same title"
POSITION = "position"  # the metadata key of a document's place in its parent
_CHUNK = 65_536  # documents whose metadata is in memory at a time


@dataclass(frozen=True, eq=False)
class Parents:
    """The parent of each document, and its place there.

    Attributes:
        code: int32 (documents,), the number of the document's parent, -1 where it has none.
        position: float64 (documents,), its place among the parts of its parent, in whatever unit the data counts;
            0, 1, 2, ... in corpus order where the data does not say. NaN where it has no parent.
        count: number of parents.
    """

    code: NDArray[np.int32]
    position: NDArray[np.float64]
    count: int

    @cached_property
    def groups(self) -> Groups:
        """The documents of each parent, ordered by position."""
        return Groups(self.code, self.count, self.position)


def parents(ctx: Context, key: str = "parent") -> Parents:
    """The parents of all documents, read once per run.

    Args:
        ctx: the surroundings.
        key: key of the metadata that names the parent (a text, a number, or whatever JSON holds), or ``title`` for
            documents that share their title. Documents without it have no parent.

    Positions are the numbers under the metadata key ``position`` if all documents with a parent have one; otherwise
    the order in the corpus counts.

    Raises:
        DataError: no document has the key; lists the keys that there are.
    """
    return ctx.once(("parents", key), lambda: _make(ctx, key))


def _make(ctx: Context, key: str) -> Parents:
    found = _read(ctx.data.base.corpus, key, ctx.data.name)
    more = len(ctx.data.corpus) - len(found.code)  # what was written is part of nothing
    if not more:
        return found
    code, position = np.full(more, -1, np.int32), np.full(more, np.nan)
    return Parents(np.concatenate([found.code, code]), np.concatenate([found.position, position]), found.count)


def _read(corpus: Texts, key: str, name: str) -> Parents:
    found = _Reading()
    for rows in _chunks(len(corpus)):
        metadata = corpus.metadata(rows)
        found.add(metadata, corpus.titles(rows) if key == TITLE else [_text(each.get(key)) for each in metadata])
    code, count = found.codes()
    if not count:
        have = ", ".join(repr(k) for k in sorted(found.keys)) or "none"
        what = "no document has a title" if key == TITLE else f"no document has the metadata key {key!r}"
        raise DataError(
            f"{what} in {name!r}; metadata keys there: {have}.",
            remedy="Name the key that says what a document is part of, or 'title' for documents of one title.",
        )
    given = np.concatenate(found.positions)
    inside = code >= 0
    position = given if np.isfinite(given[inside]).all() else _corpus_order(code, count)
    return Parents(code, np.where(inside, position, np.nan), count)


class _Reading:
    """What is gathered from the documents, chunk by chunk."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.names: list[pa.Array] = []
        self.positions: list[NDArray[np.float64]] = []

    def add(self, metadata: list[dict[str, Any]], names: list[str] | list[str | None]) -> None:
        """Take in the next documents."""
        self.keys.update(*metadata)
        self.names.append(pa.array([name or None for name in names], pa.large_string()))
        self.positions.append(np.array([_number(each.get(POSITION)) for each in metadata], np.float64))

    def codes(self) -> tuple[NDArray[np.int32], int]:
        """Number of the parent of each document, in order of first appearance, and how many there are."""
        if not self.names:
            return np.zeros(0, np.int32), 0
        encoded = pa.chunked_array(self.names).combine_chunks().dictionary_encode()
        code: NDArray[np.int32] = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        return code, len(encoded.dictionary)


def _chunks(count: int) -> Iterator[NDArray[np.int64]]:
    for at in range(0, count, _CHUNK):
        yield np.arange(at, min(at + _CHUNK, count))


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def _corpus_order(code: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    groups = Groups(code, count)
    return np.where(code >= 0, groups.place - groups.starts[code], np.nan)
