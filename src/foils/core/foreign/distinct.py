"""The distinct texts that a file quotes, kept on disk while the file is read once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from foils.core.text import FirstSeen, keys_of, normalised
from foils.core.texts import CORPUS_SCHEMA, STRING, Texts

Ints = NDArray[np.int64]


class DistinctTexts:
    """Texts and ids that arrive in blocks, each kept once; unlike a collection's, ids may be missing or contradictory.

    Takes about 50 bytes of memory a distinct text; the texts themselves go to ``path``.

    Args:
        path: Arrow IPC file to write, which `close` opens as `Texts` (``same`` links equal normalised texts).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._by_id, self._by_content, self._by_text = FirstSeen(), FirstSeen(), FirstSeen()
        self._file = pa.ipc.new_file(str(path), CORPUS_SCHEMA)

    def intern(self, ids: Sequence[str], texts: Sequence[str]) -> Ints:
        """The row of each (id, text), int64; new ones are added. An id without a text is the first text of that id.

        Args:
            ids: "" for none.
            texts: "" for none.
        """
        place: dict[tuple[str, str], int] = {}
        codes = [place.setdefault(pair, len(place)) for pair in zip(ids, texts, strict=True)]
        return self._rows(list(place))[np.array(codes, np.int64)] if place else np.zeros(0, np.int64)

    def _rows(self, pairs: list[tuple[str, str]]) -> Ints:
        named = np.array([bool(id_) for id_, _ in pairs], bool)
        bare = named & np.array([not text for _, text in pairs], bool)
        by_id = np.zeros(len(pairs), np.uint64)
        by_id[named] = keys_of(id_ for id_, _ in pairs if id_)
        content = keys_of(f"{id_}\0{text}" for id_, text in pairs)
        rows = np.where(bare, self._by_id.find(by_id), self._by_content.find(content))
        new = np.flatnonzero(rows < 0)
        rows[new] = np.arange(self.rows, self.rows + len(new))
        self._by_content.first(content[new], rows[new])
        self._by_id.first(by_id[new][named[new]], rows[new][named[new]])
        self._append([pairs[i] for i in new.tolist()], rows[new])
        return rows

    def _append(self, pairs: list[tuple[str, str]], rows: Ints) -> None:
        if not pairs:
            return
        ids, texts = zip(*pairs, strict=True)
        folded = list(map(normalised, texts))
        same = np.where([bool(text) for text in folded], self._by_text.first(keys_of(folded), rows), rows)
        blank = pa.array([""] * len(ids), STRING)
        columns = [pa.array(ids, STRING), blank, pa.array(texts, STRING), blank, pa.array(keys_of(ids))]
        lengths = pa.array(list(map(len, texts)), pa.int32())
        arrays = [*columns, lengths, pa.array(same.astype(np.int32))]
        self._file.write_batch(pa.record_batch(arrays, schema=CORPUS_SCHEMA))
        self.rows += len(ids)

    def close(self) -> Texts:
        """Finish the file and open it."""
        self._file.close()
        return Texts(self.path, "")
