"""A folder of negatives in the making: killed and begun again, it loses at most the part at hand."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import feather

from foils.core.atomic import replacing
from foils.core.errors import StoreError
from foils.store import FORMAT, MANIFEST, Negatives

if sys.platform != "win32":
    import fcntl

_CODED = ["query", "doc", "source", "dropped"]
# Scores and ranks hardly repeat: dictionaries of them would cost time and space.
_LAYOUT = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": _CODED,
    "dictionary_pagesize_limit": 1 << 28,  # ids stay coded, however many and long
}


def differences(job: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What of a job another one does not share, as short texts: ``seed 1 instead of 0``."""
    found = []
    for name, value in job.items():
        same = name in other and other[name] == value
        if same or (name == "pipeline_full" and job.get("pipeline") != other.get("pipeline")):
            continue
        short = isinstance(value, str | int | float) and len(str(value)) < 60
        found.append(f"{name} {other.get(name)!r} instead of {value!r}" if short else name)
    return found


@contextmanager
def alone(out: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Of several processes that make the same store, let one work while the others wait.

    The lock ends with the process that holds it, however that ends. On Windows nobody is held up.

    Args:
        out: where the store will be; its parent is made.
        waiting: called before waiting for another process.

    Raises:
        StoreError: the place cannot be written to, or is no name of a folder.
    """
    if not out.name or out.name == "..":
        raise StoreError(f"{out}: is no name of a new folder. Name one, such as negatives.")
    lock = out.with_name(f".{out.name}.lock")
    with storing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
        while not _held(file.fileno(), lock, waiting):
            file.close()
            file = lock.open("w")
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        file.close()


def _held(descriptor: int, lock: Path, waiting: Callable[[], None]) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waiting()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    # Who held it before removed the file, so the lock may be on one that nobody else will find.
    return lock.exists() and lock.stat().st_ino == os.fstat(descriptor).st_ino


@contextmanager
def storing(out: Path) -> Iterator[None]:
    """Say of errors of the system that ``out`` cannot be written, as `StoreError`."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{out}: cannot be written ({error.strerror or error}). Make room or choose another folder; finished parts "
            "are kept, and the same command goes on after them."
        ) from error


class Staging:
    """A folder in the making beside its place: parts appear in it one by one, and it becomes the store in one rename.

    A killed run leaves it behind; the same job finds its finished parts and goes on. Only one process may hold it; see
    `alone`.

    Args:
        out: where the store will be.
        job: everything that determines the result.
        overwrite: whether what another job left there, finished or not, may go.

    Raises:
        StoreError: another job left finished parts there, and ``overwrite`` is false; or the place cannot be written.
    """

    doing = "mining"  # what the folder is called after as long as it is not finished
    header = MANIFEST  # what says what is in the finished one

    def __init__(self, out: Path, job: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.out = out
        self.job = dict(job)
        self.folder = out.with_name(f".{out.name}.{self.doing}")
        with storing(out):
            if self.folder.exists():
                self._clear(overwrite)
            (self.folder / "parts").mkdir(parents=True, exist_ok=True)
            self._write_json("job.json", self.job)

    def _clear(self, overwrite: bool) -> None:
        """Remove what another job left, if it may go."""
        # A run that was killed while it published has its manifest in place of the job.
        left = next((file for name in ("job.json", self.header) if (file := self.folder / name).exists()), None)
        differ = differences(self.job, json.loads(left.read_text(encoding="utf-8")) if left else {})
        if not differ:
            return
        if not overwrite and (any(self._parts()) or (self.folder / "cuts").exists()):
            raise StoreError(
                f"{self.out}: an unfinished run of another command is here; it has {'; '.join(differ)}. "
                "Finish it with its own command, choose another folder, or pass --overwrite."
            )
        shutil.rmtree(self.folder)

    def _parts(self) -> list[Path]:
        return sorted((self.folder / "parts").glob("part-*.parquet"))

    def _write_json(self, name: str, value: Mapping[str, Any]) -> None:
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        with replacing(self.folder / name) as partial:
            partial.write_text(text, encoding="utf-8")

    def done(self, number: int) -> bool:
        """Whether that part is complete."""
        return self._part(number).exists()

    def _part(self, number: int) -> Path:
        return self.folder / "parts" / f"part-{number:05d}.parquet"

    def write(self, number: int, table: pa.Table) -> None:
        """Write a part; it appears complete or not at all."""
        with storing(self.out), replacing(self._part(number)) as partial:
            # Every part has documents from all over the corpus: their least and greatest id would serve no reader.
            measured = [name for name in table.column_names if name != "doc"]
            pq.write_table(table, partial, write_statistics=measured, **_LAYOUT)

    def aside(self, cut: int, number: int) -> Path:
        """Where a part's pairs wait for a stage that must see those of all parts; gone when the store is published."""
        return self.folder / "cuts" / f"cut-{cut}" / f"part-{number:05d}.arrow"

    def put_aside(self, cut: int, number: int, table: pa.Table) -> None:
        """Keep an unfinished part; it appears complete or not at all."""
        with storing(self.out), replacing(self.aside(cut, number)) as partial:
            feather.write_feather(table, partial, compression="zstd", compression_level=1)

    def tables(self, columns: list[str]) -> Iterator[pa.Table]:
        """The finished parts in order."""
        for part in self._parts():
            yield pq.read_table(part, columns=columns)

    def publish(self, manifest: Mapping[str, Any]) -> Negatives:
        """Add the manifest and put the store in its place; what was there goes.

        Raises:
            StoreError: somebody removed parts, or the place cannot be written.
        """
        found = len(self._parts())
        if found != manifest["parts"]:
            raise StoreError(f"{self.folder}: {found} of {manifest['parts']} parts are here. Give the command again.")
        self.place({"format": FORMAT, **self.job, **manifest})
        return Negatives.open(self.out)

    def place(self, header: Mapping[str, Any]) -> None:
        """Write the header and put the folder in its place; what was there goes."""
        with storing(self.out):
            self._write_json(self.header, header)
            (self.folder / "job.json").unlink()
            shutil.rmtree(self.folder / "cuts", ignore_errors=True)
            for stray in self.folder.rglob("*.partial"):
                stray.unlink()
            aside = self.out.with_name(f".{self.out.name}.old")
            shutil.rmtree(aside, ignore_errors=True)
            if self.out.exists():
                self.out.replace(aside)
            self.folder.replace(self.out)
            shutil.rmtree(aside, ignore_errors=True)
