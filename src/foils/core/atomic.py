"""Files that appear complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foils.core.errors import DataError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``; what is written there takes the place of ``path`` when the block ends well.

    After an error the temporary file is removed and ``path`` is what it was. Missing parent folders are made.

    Raises:
        DataError: ``path`` is a folder, or its folder cannot be written to.

    ``with replacing(path) as partial: partial.write_text(text)``
    """
    if path.is_dir():
        raise DataError("is a folder; a file was to be written.", file=path, remedy="Give the name of a file.")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    except OSError as error:
        raise DataError(f"cannot be written to ({error.strerror}).", file=path.parent) from error
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
