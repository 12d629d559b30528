"""Rows from files and data sets, in blocks of bounded size, each row with the line that it came from.

JSON lines, CSV and TSV (each also .gz), a JSON array of objects, Parquet, Arrow IPC, a Hugging Face ``Dataset``, and
rows in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from foils.core.errors import DataError
from foils.core.readers import Row, arrow_batches, checked_characters, json_array, json_lines, separated

BLOCK_ROWS = 8_192
BLOCK_BYTES = 32 << 20
KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")


class Block(NamedTuple):
    """Some rows of a table, with the file and the 1-based line (Parquet, Arrow, data sets: row) of each."""

    file: str
    lines: Sequence[int]
    rows: list[Row]

    @property
    def names(self) -> list[str]:
        """Columns that occur in any row, in order of first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))


class Table(Protocol):
    """Something with rows."""

    @property
    def name(self) -> str:
        """What errors call it."""

    def state(self) -> list[Any]:
        """What must be the same for a cached conversion to be used again; JSON values."""

    def blocks(self) -> Iterator[Block]:
        """The rows, in order; at least one block for each row, none for an empty table."""


def kind_of(path: Path) -> str:
    """The format that the name says, without ``.gz``: one of ``KINDS``, or another suffix."""
    name = path.name.casefold().removesuffix(".gz")
    return Path(name).suffix


def file_state(path: Path) -> list[Any]:
    """Absolute path, size and time of change: a file with the same state is taken for unchanged."""
    if not path.exists():
        raise DataError("no such file.", file=path, remedy="Check the path.")
    status = path.stat()
    return [str(path.absolute()), status.st_size, status.st_mtime_ns]


@dataclass(frozen=True)
class OneFile:
    """What is in one file, without its rows.

    Attributes:
        path: of the file.
    """

    path: Path

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def state(self) -> list[Any]:
        """Path, size and time of change."""
        return file_state(self.path)


@dataclass(frozen=True)
class FileTable(OneFile):
    """A file with rows.

    Attributes:
        path: its name says the format.
        header: for CSV and TSV: whether the first line names the columns; without, they are named '0', '1', ….
    """

    header: bool = True

    def blocks(self) -> Iterator[Block]:
        """The rows of the file.

        Raises:
            DataError: unknown format, or a file that is not what its name says.
        """
        kind = kind_of(self.path)
        if kind in (".jsonl", ".ndjson"):
            return _cut(self.name, json_lines(self.path))
        if kind == ".json":
            return _cut(self.name, json_array(self.path))
        if kind in (".csv", ".tsv"):
            return _cut(self.name, separated(self.path, kind, self.header))
        if kind in (".parquet", ".arrow"):
            return self._batches(kind)
        remedy = f"Known are {', '.join(KINDS)}, the text formats also with .gz."
        raise DataError(f"{kind or 'no suffix'!r} is not a known table format.", file=self.path, remedy=remedy)

    def _batches(self, kind: str) -> Iterator[Block]:
        start = 1
        for batch in arrow_batches(self.path, kind, BLOCK_ROWS):
            yield Block(self.name, range(start, start + batch.num_rows), batch.to_pylist())
            start += batch.num_rows


@dataclass(frozen=True)
class RowsTable:
    """Rows in memory."""

    rows: Sequence[Mapping[str, Any]]
    name: str = "rows"

    def state(self) -> list[Any]:
        """Digest of the rows."""
        digest = hashlib.blake2b(digest_size=16)
        for number, row in enumerate(self.rows, 1):
            text = json.dumps(dict(row), ensure_ascii=False, default=str)
            digest.update(checked_characters(text, self.name, number) + b"\n")
        return [self.name, digest.hexdigest()]

    def blocks(self) -> Iterator[Block]:
        """The rows."""
        return _cut(self.name, ((number, 0, dict(row)) for number, row in enumerate(self.rows, 1)))


@dataclass(frozen=True)
class DatasetTable:
    """A Hugging Face ``Dataset``; the datasets package is not imported for it."""

    dataset: Any
    name: str = "data set"

    def state(self) -> list[Any]:
        """The data set's own fingerprint."""
        return [self.name, str(self.dataset._fingerprint), self.dataset.num_rows]

    def blocks(self) -> Iterator[Block]:
        """The rows, through Arrow."""
        start = 1
        for table in self.dataset.with_format("arrow").iter(batch_size=BLOCK_ROWS):
            yield Block(self.name, range(start, start + table.num_rows), table.to_pylist())
            start += table.num_rows


def _cut(file: str, rows: Iterable[tuple[int, int, Row]]) -> Iterator[Block]:
    """Cut (line, bytes, row) into blocks of at most ``BLOCK_ROWS`` rows or about ``BLOCK_BYTES`` bytes."""
    block: list[Row] = []
    lines: list[int] = []
    size = 0
    for line, length, row in rows:
        block.append(row)
        lines.append(line)
        size += length
        if len(block) >= BLOCK_ROWS or size >= BLOCK_BYTES:
            yield Block(file, _compact(lines), block)
            block, lines, size = [], [], 0
    if block:
        yield Block(file, _compact(lines), block)


def _compact(lines: list[int]) -> Sequence[int]:
    """A range where the lines follow each other: import keeps the places of all rows to report repeated ids."""
    return range(lines[0], lines[-1] + 1) if lines[-1] - lines[0] == len(lines) - 1 else lines
