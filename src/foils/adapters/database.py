"""What models gave, in SQLite files: several processes read and add, and a killed one loses nothing committed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from foils.core.errors import StoreError

_WAIT = 60.0  # seconds for another process that is adding


@contextmanager
def opened(path: Path, held: str, otherwise: str) -> Iterator[sqlite3.Connection]:
    """A connection whose changes are committed at the end, or undone if it ends in an error.

    Args:
        path: the file; made if it is not there.
        held: what it holds, for messages.
        otherwise: what happens once the file is deleted, for messages.

    Raises:
        StoreError: the file cannot be read or written, or is not what foils left.
    """
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT)) as base, base:
            yield base
    except sqlite3.Error as error:
        raise StoreError(
            f"{path}: {held} cannot be used ({error}). Make room, or delete the file; {otherwise}."
        ) from error


def is_empty(base: sqlite3.Connection) -> bool:
    """Whether nothing was ever committed: a process was killed at its first words."""
    return bool(base.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,))
