"""`Texts`: one side of a collection, memory-mapped. Opening it reads no text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from foils.core.text import Keys, keys_of, shown

STRING = pa.large_string()  # 64-bit offsets: one column may hold more than 2 GB
SCHEMA = pa.schema(
    [
        ("id", STRING),
        ("title", STRING),
        ("text", STRING),
        ("metadata", STRING),  # one JSON object, or "" for none
        ("key", pa.uint64()),
        ("length", pa.int32()),
    ]
)
CORPUS_SCHEMA = SCHEMA.append(pa.field("same", pa.int32()))
ALIAS_SCHEMA = pa.schema([("id", STRING), ("row", pa.int32())])


def mapped(path: Path) -> pa.Table:
    """An Arrow IPC file as a table whose buffers are the memory-mapped file."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


class Texts:
    """The documents or the queries of a collection, addressed by row number.

    Args:
        paths: Arrow IPC files with the columns of ``SCHEMA``; the rows of the next follow after those of the first.
        fingerprint: of ids, titles and texts in row order.
        aliases: Arrow IPC file of further ids (id, row): the ids of texts that were merged into another row.
    """

    def __init__(self, paths: Path | Sequence[Path], fingerprint: str, aliases: Path | None = None) -> None:
        self.paths = (paths,) if isinstance(paths, Path) else tuple(paths)
        self.fingerprint = fingerprint
        self._aliases = aliases
        self._table = pa.concat_tables([mapped(path) for path in self.paths])
        sizes = [len(chunk) for chunk in self._table.column("id").chunks]
        self._offsets = np.cumsum([0, *sizes], dtype=np.int64)

    def __reduce__(self) -> tuple[Callable[..., Texts], tuple[Any, ...]]:
        return Texts, (self.paths, self.fingerprint, self._aliases)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __repr__(self) -> str:
        return f"Texts({', '.join(repr(str(path)) for path in self.paths)}, {len(self):,} rows)"

    def followed(self, path: Path, fingerprint: str) -> Texts:
        """These texts, and after them those of another file.

        Args:
            path: as ``paths``; its ``same`` are rows of the whole.
            fingerprint: of that file.
        """
        digest = hashlib.blake2b(f"{self.fingerprint}+{fingerprint}".encode(), digest_size=16).hexdigest()
        return Texts((*self.paths, path), digest, self._aliases)

    @property
    def ids(self) -> pa.ChunkedArray:
        """The external ids, in row order."""
        return self._table.column("id")

    @cached_property
    def keys(self) -> Keys:
        """64-bit keys of the external ids, uint64 (n,): what all random draws are keyed by."""
        return self._numbers("key")

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Characters of what an encoder sees (see `texts`), int32 (n,)."""
        return self._numbers("length")

    @cached_property
    def same(self) -> NDArray[np.int32]:
        """For documents: the first row with the same normalised text (title included), int32 (n,); else the row."""
        if "same" in self._table.column_names:
            return self._numbers("same")
        return np.arange(len(self), dtype=np.int32)

    def texts(self, rows: ArrayLike | None = None) -> list[str]:
        """What encoders and BM25 see: ``title + ' ' + text``, the text alone where there is no title.

        Args:
            rows: row numbers in any order, repeats allowed; all rows by default.

        Raises:
            IndexError: a row below 0 or at or above ``len(self)``.
        """
        return [shown(title, text) for title, text in zip(self.titles(rows), self.bodies(rows), strict=True)]

    def titles(self, rows: ArrayLike | None = None) -> list[str]:
        """The titles, "" where there is none; see `texts` for the arguments."""
        return self._strings("title", rows)

    def bodies(self, rows: ArrayLike | None = None) -> list[str]:
        """The texts without their titles; see `texts` for the arguments."""
        return self._strings("text", rows)

    def metadata(self, rows: ArrayLike | None = None) -> list[dict[str, Any]]:
        """What else the source says of each row, {} for nothing; see `texts` for the arguments."""
        return [json.loads(text) if text else {} for text in self._strings("metadata", rows)]

    def id_list(self, rows: ArrayLike | None = None) -> list[str]:
        """The external ids of rows; see `texts` for the arguments."""
        return self._strings("id", rows)

    def id_array(self, rows: NDArray[np.integer]) -> pa.StringArray:
        """The external ids of ascending rows as an Arrow array, without a Python string for each."""
        wanted = self._checked(rows)
        cuts = np.searchsorted(wanted, self._offsets)
        pieces = [
            chunk.take(pa.array(wanted[lo:hi] - offset)).cast(pa.string())
            for chunk, offset, lo, hi in zip(self.ids.chunks, self._offsets, cuts, cuts[1:], strict=False)
            if hi > lo
        ]
        return pa.concat_arrays(pieces) if pieces else pa.array([], pa.string())

    def rows_of(self, ids: Iterable[str]) -> NDArray[np.int32]:
        """Row of each external id, -1 where it is unknown, int32 (len(ids),). Ids of merged texts resolve too.

        Compares 64-bit keys: an unknown id is taken for one of n known ids with probability n/2⁶⁴.
        """
        keys, rows = self._lookup
        wanted = keys_of(ids)
        if not len(keys):
            return np.full(len(wanted), -1, np.int32)
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[at] == wanted, rows[at], np.int32(-1)).astype(np.int32)

    @cached_property
    def aliases(self) -> dict[str, int]:
        """Ids of texts that were merged into an earlier row, with that row."""
        if self._aliases is None:
            return {}
        table = mapped(self._aliases)
        return dict(zip(table.column("id").to_pylist(), table.column("row").to_pylist(), strict=True))

    @cached_property
    def _lookup(self) -> tuple[Keys, NDArray[np.int32]]:
        keys = np.concatenate([self.keys, keys_of(self.aliases)])
        rows = np.concatenate([np.arange(len(self)), np.array(list(self.aliases.values()), np.int64)]).astype(np.int32)
        order = np.argsort(keys, kind="stable")
        return keys[order], rows[order]

    def _numbers(self, name: str) -> NDArray[Any]:
        values: NDArray[Any] = self._table.column(name).to_numpy()
        return values

    def _strings(self, name: str, rows: ArrayLike | None) -> list[str]:
        if rows is None:
            return list(self._table.column(name).to_pylist())
        return self._take(name, self._checked(rows))

    def _checked(self, rows: ArrayLike) -> NDArray[np.int64]:
        wanted = np.asarray(rows, dtype=np.int64)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < len(self)):
            bad = wanted.min() if wanted.min() < 0 else wanted.max()
            raise IndexError(f"row {bad} of {len(self)} rows")
        return wanted

    def _take(self, name: str, rows: NDArray[np.int64]) -> list[str]:
        # Chunk by chunk: pyarrow's own take on a chunked string column first copies the whole column into memory.
        if not len(rows):
            return []
        chunks = self._table.column(name).chunks
        chunk_of = np.searchsorted(self._offsets, rows, side="right") - 1
        order = np.argsort(chunk_of, kind="stable")
        used, starts = np.unique(chunk_of[order], return_index=True)
        parts = [
            chunks[chunk].take(pa.array(rows[part] - self._offsets[chunk]))
            for chunk, part in zip(used, np.split(order, starts[1:]), strict=True)
        ]
        taken: Sequence[str] = [text for part in parts for text in part.to_pylist()]
        if np.array_equal(order, np.arange(len(order))):
            return list(taken)
        result = [""] * len(rows)
        for position, text in zip(order.tolist(), taken, strict=True):
            result[position] = text
        return result
