"""Write one side of a collection in a single pass: check ids, link or merge equal texts, take the fingerprint."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from foils.core.errors import DataError
from foils.core.text import FirstSeen, Keys, keys_of, normalised, shown
from foils.core.texts import ALIAS_SCHEMA, CORPUS_SCHEMA, SCHEMA, STRING

BATCH_ROWS = 16_384
BATCH_BYTES = 32 << 20

Rows = NDArray[np.int64]


class TextBlock(NamedTuple):
    """Some texts as columns, with the place that each came from."""

    file: str
    lines: Sequence[int]
    ids: list[str]
    titles: list[str]
    texts: list[str]
    metadata: list[str]

    def whole(self) -> list[str]:
        """What an encoder sees of each."""
        return list(map(shown, self.titles, self.texts))

    def take(self, rows: Rows) -> TextBlock:
        """The given rows."""
        wanted = rows.tolist()
        columns = (self.lines, self.ids, self.titles, self.texts, self.metadata)
        lines, ids, titles, texts, metadata = ([column[i] for i in wanted] for column in columns)
        return TextBlock(self.file, lines, ids, titles, texts, metadata)


class TextsWriter:
    """Common to both sides; use `DocumentWriter` or `QueryWriter`. ``first`` is the number of the first row."""

    def __init__(self, path: Path, schema: pa.Schema, first: int = 0) -> None:
        self.rows = first
        self.by_text = FirstSeen()  # key of the normalised text -> first row
        self._ids = FirstSeen()  # key of the id -> (input position << 32) | row
        self._contents = FirstSeen()  # key of the id -> key of its text, where ids may repeat
        self._positions: list[tuple[int, str, Sequence[int]]] = []  # first input position, file, lines
        self._inputs = 0
        self._schema = schema
        self._file = pa.ipc.new_file(str(path), schema)
        self._waiting: list[pa.RecordBatch] = []
        self._hashes = [hashlib.blake2b(digest_size=16) for _ in range(8)]

    def row_of(self, ids: Sequence[str]) -> Rows:
        """Row of each external id seen so far, -1 where unknown."""
        found = self._ids.find(keys_of(ids))
        return np.where(found < 0, -1, found & 0xFFFFFFFF)

    def append(self, block: TextBlock) -> Rows:
        """Add texts whose ids must all be new.

        Returns:
            The row of each, int64.

        Raises:
            DataError: an id that was seen before; says both lines.
        """
        raise NotImplementedError

    def intern(self, block: TextBlock) -> Rows:
        """Add the texts whose ids are new and return the row of each; an id may repeat if its text does."""
        keys, contents = keys_of(block.ids), keys_of(block.whole())
        known = self._contents.first(keys, (contents >> np.uint64(1)).astype(np.int64))
        for i in np.flatnonzero(known != (contents >> np.uint64(1)).astype(np.int64)).tolist():
            message = f"id {block.ids[i]!r} stands for another text than before."
            remedy = "Give different texts different ids, or leave out the id column."
            raise DataError(message, file=block.file, line=block.lines[i], remedy=remedy)
        _, first = np.unique(keys, return_index=True)
        new = np.sort(first[self._ids.find(keys[first]) < 0])
        if len(new):
            self.append(block.take(new))
        return self.row_of(block.ids)

    def close(self) -> str:
        """Finish the file; returns the fingerprint: hex digest of ids, titles and texts in row order."""
        self._flush()
        self._file.close()
        return _combine(self._hashes[:6])

    @property
    def metadata_fingerprint(self) -> str:
        """Hex digest of the metadata in row order."""
        return _combine(self._hashes[6:])

    def _place(self, position: int) -> tuple[str, int]:
        at = bisect.bisect_right(self._positions, position, key=lambda entry: entry[0]) - 1
        start, file, lines = self._positions[at]
        return file, lines[position - start]

    def _register(self, block: TextBlock, rows: Rows) -> Keys:
        """Remember the ids and where they were read, and return their keys; refuse an id that was seen before."""
        keys = keys_of(block.ids)
        positions = np.arange(self._inputs, self._inputs + len(rows))
        self._positions.append((self._inputs, block.file, block.lines))
        self._inputs += len(rows)
        packed = (positions << 32) | rows
        first = self._ids.first(keys, packed)
        for i in np.flatnonzero(first != packed)[:1].tolist():
            file, line = self._place(int(first[i] >> 32))
            where = f"line {line}" if file == block.file else f"{file}:{line}"
            message = f"id {block.ids[i]!r} appears twice; first on {where}."
            remedy = "Ids must be unique: remove one of the two or rename it."
            raise DataError(message, file=block.file, line=block.lines[i], remedy=remedy)
        return keys

    def _write(self, block: TextBlock, keys: Keys, whole: Sequence[str], extra: Sequence[pa.Array] = ()) -> None:
        columns = (block.ids, block.titles, block.texts, block.metadata)
        arrays = [pa.array(column, STRING) for column in columns]
        for i, array in enumerate(arrays):
            _update(self._hashes[2 * i : 2 * i + 2], array)
        numbers = [pa.array(keys), pa.array(list(map(len, whole)), pa.int32())]
        self._waiting.append(pa.record_batch([*arrays, *numbers, *extra], schema=self._schema))
        self.rows += len(block.ids)
        if sum(b.num_rows for b in self._waiting) >= BATCH_ROWS or sum(b.nbytes for b in self._waiting) >= BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._file.write_table(pa.Table.from_batches(self._waiting).combine_chunks())
            self._waiting = []


class DocumentWriter(TextsWriter):
    """Documents: all are kept; those with the same normalised text are linked through ``same``.

    Args:
        path: file to write.
        by_body: filled with the keys of the normalised texts without title, for sources that quote documents so.
        first: number of the first row.
    """

    def __init__(self, path: Path, by_body: FirstSeen | None = None, first: int = 0) -> None:
        super().__init__(path, CORPUS_SCHEMA, first)
        self.by_body = by_body
        self.linked = self.empty = 0

    def append(self, block: TextBlock) -> Rows:
        """See `TextsWriter.append`."""
        rows = np.arange(self.rows, self.rows + len(block.ids))
        keys, whole = self._register(block, rows), block.whole()
        folded = list(map(normalised, whole))
        same = self.by_text.first(keys_of(folded), rows)
        # Nothing equals nothing: an empty document is no copy of another empty one.
        same = np.where(np.array([not text for text in folded], bool), rows, same)
        self.linked += int((same != rows).sum())
        self.empty += folded.count("")
        if self.by_body is not None:
            self.by_body.first(keys_of(normalised(text) for text in block.texts), rows)
        self._write(block, keys, whole, [pa.array(same, pa.int32())])
        return rows

    def quoted(self, texts: Sequence[str]) -> Rows:
        """Row of the document that each text quotes (whole, or without its title; normalised), -1 for none."""
        keys = keys_of(normalised(text) for text in texts)
        rows = self.by_text.find(keys)
        return rows if self.by_body is None else np.where(rows >= 0, rows, self.by_body.find(keys))


class QueryWriter(TextsWriter):
    """Queries: a text that was seen before (normalised) becomes another id of the first one's row."""

    def __init__(self, path: Path, first: int = 0) -> None:
        super().__init__(path, SCHEMA, first)
        self.aliases: list[tuple[str, int]] = []

    def append(self, block: TextBlock) -> Rows:
        """See `TextsWriter.append`."""
        folded = keys_of(map(normalised, block.whole()))
        known = self.by_text.find(folded)
        _, first, inverse = np.unique(folded, return_index=True, return_inverse=True)
        new = np.sort(first[known[first] < 0])
        numbers = known.copy()
        numbers[new] = np.arange(self.rows, self.rows + len(new))
        rows = numbers[first][inverse]
        self.by_text.first(folded, rows)
        keys = self._register(block, rows)
        written = np.zeros(len(rows), bool)
        written[new] = True
        self.aliases += [(block.ids[i], int(rows[i])) for i in np.flatnonzero(~written).tolist()]
        if len(new):
            part = block.take(new)
            self._write(part, keys[new], part.whole())
        return rows

    def write_aliases(self, path: Path) -> None:
        """Write the further ids of merged queries, if there are any."""
        if self.aliases:
            ids, rows = zip(*self.aliases, strict=True)
            table = pa.table([pa.array(ids, STRING), pa.array(rows, pa.int32())], schema=ALIAS_SCHEMA)
            with pa.ipc.new_file(str(path), ALIAS_SCHEMA) as file:
                file.write_table(table)


def _update(hashes: Sequence[hashlib.blake2b], array: pa.Array) -> None:
    """Hash values and lengths apart, so that the digest does not depend on how rows are cut into batches."""
    values, lengths = hashes
    offsets = np.frombuffer(array.buffers()[1], np.int64, len(array) + 1)
    if offsets[-1]:
        values.update(memoryview(array.buffers()[2])[: offsets[-1]])
    lengths.update(np.diff(offsets).astype("<i8").tobytes())


def _combine(hashes: Sequence[hashlib.blake2b]) -> str:
    return hashlib.blake2b(b"".join(h.digest() for h in hashes), digest_size=16).hexdigest()
