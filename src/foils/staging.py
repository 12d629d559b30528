"""A folder of negatives in the making: killed and begun again, it loses at most the part at hand."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from foils.core.errors import StoreError
from foils.store import FORMAT, MANIFEST, Negatives

_ZSTD = {"compression": "zstd", "compression_level": 3}


def differences(job: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What of a job another one does not share, as short texts: ``seed 1 instead of 0``."""
    found = []
    for name, value in job.items():
        if name in other and other[name] == value:
            continue
        short = isinstance(value, str | int | float) and len(str(value)) < 60
        found.append(f"{name} {other.get(name)!r} instead of {value!r}" if short else name)
    return found


class Staging:
    """A folder in the making beside its place: parts appear in it one by one, and it becomes the store in one rename.

    A killed run leaves it behind; the same job finds its finished parts and goes on.

    Args:
        out: where the store will be.
        job: everything that determines the result.
        overwrite: whether what another job left there, finished or not, may go.

    Raises:
        StoreError: another job left something there, and ``overwrite`` is false.
    """

    def __init__(self, out: Path, job: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.out = out
        self.job = dict(job)
        self.folder = out.with_name(f".{out.name}.mining")
        existing = self.folder / "job.json"
        if self.folder.exists():
            left = json.loads(existing.read_text(encoding="utf-8")) if existing.exists() else {}
            if left != self.job:
                self._refuse(differences(self.job, left), overwrite)
                shutil.rmtree(self.folder)
        (self.folder / "parts").mkdir(parents=True, exist_ok=True)
        _write_text(existing, _json(self.job))

    def _refuse(self, differ: list[str], overwrite: bool) -> None:
        if not overwrite:
            raise StoreError(
                f"{self.out}: an unfinished run of another command is here; it has {'; '.join(differ) or 'no job'}. "
                "Finish it with its own command, choose another folder, or pass --overwrite."
            )

    def done(self, number: int) -> bool:
        """Whether that part is complete."""
        return self._part(number).exists()

    def _part(self, number: int) -> Path:
        return self.folder / "parts" / f"part-{number:05d}.parquet"

    def write(self, number: int, table: pa.Table) -> None:
        """Write a part; it appears complete or not at all."""
        part = self._part(number)
        partial = part.with_suffix(f".{os.getpid()}.partial")
        pq.write_table(table, partial, **_ZSTD)
        partial.replace(part)

    def tables(self, columns: list[str]) -> Iterator[pa.Table]:
        """The finished parts in order."""
        for part in sorted((self.folder / "parts").glob("part-*.parquet")):
            yield pq.read_table(part, columns=columns)

    def publish(self, manifest: Mapping[str, Any]) -> Negatives:
        """Add the manifest and put the store in its place; what was there goes."""
        _write_text(self.folder / MANIFEST, _json({"format": FORMAT, **self.job, **manifest}))
        (self.folder / "job.json").unlink()
        for stray in (self.folder / "parts").glob("*.partial"):
            stray.unlink()
        aside = self.out.with_name(f".{self.out.name}.old")
        shutil.rmtree(aside, ignore_errors=True)
        if self.out.exists():
            self.out.replace(aside)
        self.folder.replace(self.out)
        shutil.rmtree(aside, ignore_errors=True)
        return Negatives.open(self.out)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _write_text(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
