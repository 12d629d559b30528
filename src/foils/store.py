"""`Negatives`: mined pairs on disk, as Parquet parts and a manifest that says how they were made.

Every candidate is kept with all its scores and, if it was dropped, the step that dropped it; so another choice needs no
search and no encoding, and ``foils show`` can say why a document is not among the negatives. DuckDB and Polars read the
parts as they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from foils.core import trec
from foils.core.collection import Collection
from foils.core.errors import DataError, StoreError
from foils.core.pairs import POSITIVE, SET_ASIDE, Pairs

FORMAT = 1
MANIFEST = "manifest.json"
_ZSTD = {"compression": "zstd", "compression_level": 3}


@dataclass(frozen=True)
class Step:
    """One stage of the pipeline as the manifest remembers it."""

    number: int
    family: str
    text: str
    judges: bool = False

    @property
    def code(self) -> int:
        """What ``Pairs.dropped`` says of rows that this step took out."""
        return self.number if self.judges else -self.number

    @property
    def reason(self) -> str:
        """What the column ``dropped`` says of them."""
        return f"{self.number}: {self.text}"


def part_table(pairs: Pairs, known: Pairs, data: Collection, steps: list[Step]) -> pa.Table:
    """Pairs as the columns of a part: external ids, label, sources, ranks, scores, and why dropped.

    Args:
        pairs: rows of the part.
        known: the positives that the qrels gave.
        data: the collection, for the ids.
        steps: the stages, for the reasons.
    """
    columns: dict[str, pa.Array] = {
        "query": _ids(data.queries.id_list, pairs.query),
        "doc": _ids(data.corpus.id_list, pairs.doc),
        "label": pa.array(pairs.label),
        "source": _sources(pairs, known.find(pairs) >= 0),
        "dropped": _reasons(pairs.dropped, steps),
    }
    for name in sorted(pairs.ranks):
        columns[f"rank.{name}"] = pa.array(pairs.ranks[name], mask=pairs.ranks[name] == 0)
    for name in sorted(pairs.scores):
        columns[f"score.{name}"] = pa.array(pairs.scores[name], mask=np.isnan(pairs.scores[name]))
    return pa.table(columns)


def _ids(lookup: Any, rows: NDArray[np.int32]) -> pa.DictionaryArray:
    distinct, codes = np.unique(rows, return_inverse=True)
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(lookup(distinct), pa.string()))


def _sources(pairs: Pairs, known: NDArray[np.bool_]) -> pa.DictionaryArray:
    # Sources are few, so their combinations are bits of a small number.
    names = ["qrels", *sorted(pairs.ranks)]
    bits = known.astype(np.int64)
    for place, name in enumerate(names[1:], start=1):
        bits |= (pairs.ranks[name] > 0).astype(np.int64) << place
    distinct, codes = np.unique(bits, return_inverse=True)
    words = ["+".join(name for place, name in enumerate(names) if value >> place & 1) for value in distinct]
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(words, pa.string()))


def _reasons(dropped: NDArray[np.int16], steps: list[Step]) -> pa.DictionaryArray:
    numbers, codes = np.unique(np.abs(dropped), return_inverse=True)
    words = ["" if number == 0 else steps[number - 1].reason for number in numbers.tolist()]
    alive = int(0 in numbers)
    indices = pa.array((codes - alive).astype(np.int32), mask=dropped == 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(words[alive:], pa.string()))


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


class Negatives:
    """Mined pairs on disk. Made by `foils.mine`; see `open`.

    Attributes:
        path: the folder.
        manifest: pipeline, seed, versions, fingerprints, and what each step did.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: str | Path) -> Negatives:
        """Open a folder of negatives; reads the manifest only.

        Raises:
            StoreError: it is no such folder, or of another format.
        """
        folder = Path(path)
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            staged = folder.with_name(f".{folder.name}.mining")
            hint = (
                " A run that was to write it was interrupted: give the same command again." if staged.exists() else ""
            )
            raise StoreError(f"{folder}: no negatives here ({MANIFEST} is missing).{hint}") from None
        except ValueError as error:
            raise StoreError(f"{folder / MANIFEST}: not JSON ({error}). Mine again.") from None
        if manifest.get("format") != FORMAT:
            raise StoreError(f"{folder}: format {manifest.get('format')!r}; this version of foils reads {FORMAT}.")
        return cls(folder, manifest)

    def __repr__(self) -> str:
        counts = self.manifest["counts"]
        return f"Negatives({str(self.path)!r}: {counts['kept']:,} negatives for {counts['queries']:,} queries)"

    @property
    def pipeline(self) -> str:
        """The text of the pipeline, short form."""
        return str(self.manifest["pipeline"])

    @cached_property
    def steps(self) -> list[Step]:
        """The stages of the pipeline."""
        return [Step(s["number"], s["family"], s["text"], s["judges"]) for s in self.manifest["steps"]]

    def parts(self) -> list[Path]:
        """The Parquet files, in order of the queries."""
        return sorted((self.path / "parts").glob("part-*.parquet"))

    def __iter__(self) -> Iterator[pa.Table]:
        """The parts as Arrow tables, one at a time."""
        for part in self.parts():
            yield pq.read_table(part)

    def pairs(self, data: Collection) -> Pairs:
        """Everything: positives, negatives, and candidates with the step that dropped them.

        Args:
            data: the collection it was mined from, or another one with the same ids.

        Raises:
            StoreError: an id is not in the collection.
        """
        return self._read(data, None)

    def kept(self, data: Collection) -> Pairs:
        """Positives (label 1) and negatives (label 0) only; see `pairs`."""
        return self._read(data, pc.is_null(pc.field("dropped")) & (pc.field("label") > SET_ASIDE))

    def iter_kept(self, data: Collection) -> Iterator[Pairs]:
        """As `kept`, part by part, in bounded memory."""
        rule = pc.is_null(pc.field("dropped")) & (pc.field("label") > SET_ASIDE)
        for part in self.parts():
            yield self._pairs(pq.read_table(part, filters=rule), data)

    def _read(self, data: Collection, rule: pc.Expression | None) -> Pairs:
        tables = [pq.read_table(part, filters=rule) for part in self.parts()]
        return self._pairs(pa.concat_tables(tables).unify_dictionaries(), data) if tables else Pairs.empty()

    def _pairs(self, table: pa.Table, data: Collection) -> Pairs:
        query, doc = self._rows(table, "query", data), self._rows(table, "doc", data)
        scores = {name[6:]: _floats(table[name]) for name in table.column_names if name.startswith("score.")}
        ranks = {
            name[5:]: table[name].fill_null(0).to_numpy() for name in table.column_names if name.startswith("rank.")
        }
        codes = {step.reason: step.code for step in self.steps}
        reasons = table["dropped"].combine_chunks()
        by_code = np.array([codes[text] for text in reasons.dictionary.to_pylist()] or [0], np.int16)
        dropped = np.where(_mask(reasons.is_null()), 0, by_code[reasons.indices.fill_null(0).to_numpy()])
        order = np.argsort(query, kind="stable")
        latest = self.manifest["latest"]
        found = Pairs(query, doc, table["label"].to_numpy(), scores, ranks, dropped.astype(np.int16), latest)
        return found.take(order)

    def _rows(self, table: pa.Table, side: Literal["query", "doc"], data: Collection) -> NDArray[np.int32]:
        texts = data.queries if side == "query" else data.corpus
        ids = table[side].combine_chunks()
        rows = texts.rows_of(ids.dictionary.to_pylist())
        if len(rows) and rows.min() < 0:
            unknown = ids.dictionary[int(np.argmin(rows))].as_py()
            raise StoreError(
                f"{self.path}: {side} {unknown!r} is not in {data.name!r}. These negatives were mined from "
                f"{self.manifest['collection']['name']!r}; give that collection, or mine again."
            )
        return rows[ids.indices.to_numpy()] if len(rows) else np.zeros(0, np.int32)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    values: NDArray[np.float32] = column.fill_null(float("nan")).to_numpy()
    return values


def _mask(array: pa.Array) -> NDArray[np.bool_]:
    values: NDArray[np.bool_] = array.to_numpy(zero_copy_only=False)
    return values


def candidates_from(path: Path, data: Collection, which: Literal["kept", "all"]) -> Pairs:
    """Saved candidates of a folder of negatives, or of a TREC run file (label 0, column ``run``).

    Args:
        path: the folder or file.
        data: the collection.
        which: of a folder, the surviving negatives or all candidates, with nothing dropped any more.
    """
    if not path.exists():
        raise DataError("no such file or folder.", file=path, remedy="Name a folder of negatives or a TREC run file.")
    if path.is_file():
        return trec.read_run(path, data)
    store = Negatives.open(path)
    pairs = store.kept(data) if which == "kept" else store.pairs(data)
    return Pairs(
        pairs.query,
        pairs.doc,
        np.where(pairs.label == POSITIVE, POSITIVE, 0).astype(np.int8),
        pairs.scores,
        pairs.ranks,
        np.zeros(len(pairs), np.int16),
        pairs.latest,
    )


def fingerprint_of(path: Path) -> str:
    """Digest of a folder of negatives (its manifest and the sizes and bytes of its parts) or of a file."""
    if not path.exists():
        raise DataError("no such file or folder.", file=path, remedy="Name a folder of negatives or a TREC run file.")
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "blake2b").digest())
    return digest.hexdigest()
