"""Where converted and computed things are kept, and how a finished folder appears there at once or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from foils.core.errors import DataError

ABANDONED = 7 * 86_400  # seconds after which a partial folder counts as left behind by a process that was killed


def cache_root(cache: str | Path | None = None) -> Path:
    """The cache folder: the argument, else ``$FOILS_CACHE``, else ``~/.cache/foils``."""
    return Path(cache or os.environ.get("FOILS_CACHE") or Path.home() / ".cache" / "foils").expanduser()


def publish(folder: Path, write: Callable[[Path], None]) -> Path:
    """Make ``folder`` by ``write(partial)`` and one rename, so that nobody sees a half-written one.

    Two processes that make the same folder do not disturb each other: the first one's stays. After an error, or where
    another process was first, the partial folder is removed; those that killed processes left go after a week.

    Args:
        folder: what is to appear; left alone if it exists.
        write: fills the empty folder that it is given.

    Raises:
        DataError: the parent cannot be written to.
    """
    if folder.exists():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
    except OSError as error:
        remedy = "Name a folder that can be written to; for the cache, set FOILS_CACHE."
        raise DataError(f"cannot be written to ({error.strerror}).", file=folder.parent, remedy=remedy) from error
    try:
        write(partial)
        partial.chmod(0o755)
        _rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _sweep(folder: Path) -> None:
    for left in folder.parent.glob(f".{folder.name}.*.partial"):
        if time.time() - left.stat().st_mtime > ABANDONED:
            shutil.rmtree(left, ignore_errors=True)


def _rename(partial: Path, folder: Path) -> None:
    try:
        partial.replace(folder)
    except OSError:
        if not folder.is_dir():
            raise
