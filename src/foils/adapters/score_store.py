"""Scores of (query, document) texts on disk, so that no pair is read twice by the same weights.

A file for each model, by its fingerprint, never by its name. It only grows; what one commit added is there whole or not
at all (SQLite's journal), and several processes may read and add at a time. Memory does not grow with it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foils.adapters.database import is_empty, opened

Keys = NDArray[np.int64]

_COLUMNS = "query INTEGER, doc INTEGER, score REAL, PRIMARY KEY (query, doc)"
_MAKE = f"CREATE TABLE IF NOT EXISTS scores ({_COLUMNS}) WITHOUT ROWID"
_ASKED = "CREATE TEMP TABLE asked (place INTEGER PRIMARY KEY, query INTEGER, doc INTEGER)"
_FIND = "SELECT place, score FROM asked JOIN scores USING (query, doc)"


def keys_of(texts: Sequence[str]) -> Keys:
    """A 64-bit digest of each text, int64 (n,).

    A wrong score takes two documents of one query with the same digest: odds of 1 in 10^13 for a thousand documents.
    """
    made = b"".join(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(made, "<i8").astype(np.int64)


class ScoreStore:
    """The scores that one model gave.

    Args:
        folder: for stores of all models; made if it is not there.
        fingerprint: of all that scores depend on.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.path = folder / f"{fingerprint[:40]}.sqlite"

    def find(self, queries: Keys, docs: Keys) -> NDArray[np.float32]:
        """The scores of pairs of keys, float32 (n,); NaN where none is there.

        Raises:
            StoreError: the file is not what foils left.
        """
        found = np.full(len(queries), np.nan, np.float32)
        if not len(queries) or not self.path.exists():
            return found
        with self._open() as base:
            base.execute("PRAGMA temp_store = MEMORY")
            if is_empty(base):
                return found
            base.execute(_ASKED)
            asked = zip(range(len(queries)), queries.tolist(), docs.tolist(), strict=True)
            base.executemany("INSERT INTO asked VALUES (?, ?, ?)", asked)
            rows = base.execute(_FIND).fetchall()
        if rows:
            places, scores = zip(*rows, strict=True)
            found[np.array(places, np.int64)] = np.array(scores, np.float64)
        return found

    def add(self, queries: Keys, docs: Keys, scores: NDArray[np.float32]) -> None:
        """Keep the scores of pairs; those that are there already stay.

        Raises:
            StoreError: the file cannot be written, or is not what foils left.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as base:
            base.execute(_MAKE)
            rows = zip(queries.tolist(), docs.tolist(), scores.tolist(), strict=True)
            base.executemany("INSERT OR IGNORE INTO scores VALUES (?, ?, ?)", rows)

    def _open(self) -> AbstractContextManager[sqlite3.Connection]:
        return opened(self.path, "stored scores", "its pairs are then scored again")
