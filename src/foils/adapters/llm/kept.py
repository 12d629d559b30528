"""Replies of language models on disk: what was paid for once is not paid for again."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from foils.adapters.database import is_empty, opened
from foils.adapters.llm.messages import Reply
from foils.core.noise import key_of

_COLUMNS = "key TEXT PRIMARY KEY, prompt TEXT, text TEXT, finish TEXT, read INTEGER, written INTEGER, model TEXT"
_MAKE = f"CREATE TABLE IF NOT EXISTS replies ({_COLUMNS}) WITHOUT ROWID"
_CHUNK = 500


class Kept:
    """The replies of one model, by the key of the request.

    A file for each model. Every reply is committed by itself the moment it arrives, so a killed run has all that it was
    given; several processes may read and add at a time. Neither requests nor addresses nor keys of access are written.

    Args:
        folder: for files of all models; made when the first reply is kept.
        model: its name.
    """

    def __init__(self, folder: Path, model: str) -> None:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", model)[:60].strip("-.") or "model"
        self.path = folder / f"{plain}.{key_of(model):016x}.sqlite"

    def find(self, keys: Sequence[str]) -> dict[str, Reply]:
        """The replies that are there.

        Raises:
            StoreError: the file is not what foils left.
        """
        found: dict[str, Reply] = {}
        if not keys or not self.path.exists():
            return found
        with self._open() as base:
            if is_empty(base):
                return found
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                marks = ",".join("?" * len(chunk))
                asked = f"SELECT key, text, finish, read, written, model FROM replies WHERE key IN ({marks})"
                for key, text, finish, read, written, model in base.execute(asked, chunk):
                    found[key] = Reply(text, finish, (read, written), model, kept=True)
        return found

    def add(self, key: str, prompt: str, reply: Reply) -> None:
        """Keep a reply; the one that is there already stays.

        Raises:
            StoreError: the file cannot be written, or is not what foils left.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as base:
            base.execute(_MAKE)
            row = (key, prompt, reply.text, reply.finish, *reply.tokens, reply.model)
            base.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def _open(self) -> AbstractContextManager[sqlite3.Connection]:
        return opened(self.path, "kept replies", "what it held is then asked again")
