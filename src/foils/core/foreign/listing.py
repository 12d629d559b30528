"""`read_listing`: a file of negatives of any known tool as flat arrays, read once, with the place of every row."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foils.core.columns import find_roles, id_column, text_column
from foils.core.errors import DataError
from foils.core.foreign.distinct import DistinctTexts
from foils.core.foreign.entries import entries_of, queries_of
from foils.core.foreign.layouts import TREC, Signature, check_name, layout_of
from foils.core.readers import opened
from foils.core.sources import PAIR_KINDS, find_table
from foils.core.tables import Block, FileTable, kind_of
from foils.core.texts import Texts
from foils.core.trec import run_lines

MAIN = ("train", "scores", "data")  # what the table of lists is called where others lie beside it
_TREC_COLUMNS = 6


@dataclass(frozen=True, eq=False)
class Listing:
    """What a file lists. Queries and documents are numbered in the order in which the file first names them.

    Attributes:
        path: the file or folder.
        layout: one of ``READABLE``.
        narrow: whether the list of a query is spread over rows.
        files: the files that were read.
        file: place in ``files`` of each row, int32 (rows,).
        line: 1-based line (Parquet, Arrow, JSON: row) of each row, int64 (rows,).
        asked: query of each row, int32 (rows,).
        row: row of each listed document, int32 (n,), ascending.
        doc: the document, int32 (n,).
        label: 1 positive, 0 negative, int8 (n,).
        score: float32 (n,), NaN where the file has none for it.
        scored: whether the file has scores.
        told: whether the file says which documents are positives; lists of scores do not.
        queries: ids and texts, "" for what the file does not have.
        documents: the same of documents.
    """

    path: Path
    layout: str
    narrow: bool
    files: tuple[str, ...]
    file: NDArray[np.int32]
    line: NDArray[np.int64]
    asked: NDArray[np.int32]
    row: NDArray[np.int32]
    doc: NDArray[np.int32]
    label: NDArray[np.int8]
    score: NDArray[np.float32]
    scored: bool
    told: bool
    queries: Texts
    documents: Texts
    _folder: tempfile.TemporaryDirectory[str]  # of the two tables; goes when the listing goes

    def where(self, row: int) -> tuple[str, int]:
        """File and line of a row."""
        return self.files[int(self.file[row])], int(self.line[row])


def read_listing(path: str | Path, layout: str | None = None) -> Listing:
    """Read a file of negatives; the layout is told by the columns.

    Args:
        path: JSON lines, JSON, CSV, TSV (each also .gz), Parquet or Arrow; a data set folder; a folder of id tables; a
            TREC run.
        layout: one of ``READABLE`` to insist on it.

    Returns:
        The listing. Memory holds about 21 bytes for each listed document; texts are on disk.

    Raises:
        SpecError: no such layout.
        DataError: missing, empty, or in none of the known layouts; says what it has and what is known.
    """
    source, wanted = Path(path), check_name(layout)
    folder = tempfile.TemporaryDirectory(prefix="foils-", ignore_cleanup_errors=True)
    reader = _Reader(Path(folder.name))
    if not source.exists():
        raise DataError("no such file or folder.", file=source, remedy="Check the path.")
    if wanted == TREC or (wanted is None and is_run(source)):
        reader.read_run(source)
    else:
        reader.read_tables(source, wanted)
    return reader.finish(source, folder)


def is_run(path: Path) -> bool:
    """Whether a file is a TREC run: no known table format, and six columns in its first line."""
    if not path.is_file() or kind_of(path) in (".jsonl", ".ndjson", ".json", ".csv", ".parquet", ".arrow"):
        return False
    with opened(path) as file:
        first = next((line for line in file if line.strip()), b"")
    return len(first.split()) == _TREC_COLUMNS and not first.lower().startswith((b"query", b"qid"))


def tables_in(path: Path) -> list[Path]:
    """The files that hold the lists of a file or folder.

    Raises:
        DataError: there is none.
    """
    if path.is_file():
        return [path]
    named = next((found for stem in MAIN if (found := _tables_named(path, stem))), None)
    if named:
        return named
    lists = [p for p in _tables_of(path) if p.name.split(".")[0] not in ("queries", "documents", "corpus")]
    if not lists:
        remedy = "Name a file, a data set folder, a folder of id tables, or a folder of foils negatives."
        raise DataError("no file of negatives in this folder.", file=path, remedy=remedy)
    return lists


def _tables_named(folder: Path, stem: str) -> list[Path]:
    """``train.parquet``, or ``train-00000-of-00002.parquet`` and so on, or all that is in a folder ``train``."""
    whole = find_table(folder, stem)
    if whole is not None:
        return [whole]
    parts = [path for path in _tables_of(folder) if path.name.startswith(f"{stem}-")]
    return parts or (_tables_of(folder / stem) if (folder / stem).is_dir() else [])


def _tables_of(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.is_file() and kind_of(path) in PAIR_KINDS)
    return sorted(path for path in files if not path.name.startswith("cache-"))  # what datasets leaves behind


class _Reader:
    """Collects rows and documents; the two tables of texts grow on disk."""

    def __init__(self, folder: Path) -> None:
        self.queries = DistinctTexts(folder / "queries.arrow")
        self.documents = DistinctTexts(folder / "documents.arrow")
        self.files: list[str] = []
        self.layout: Signature | None = None
        self.scored = self.told = True
        self._rows: list[tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]] = []
        self._entries: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int8], NDArray[np.float32]]] = []
        self._count = 0

    def read_tables(self, source: Path, wanted: str | None) -> None:
        """Rows of tables."""
        for path in tables_in(source):
            for block in FileTable(path).blocks():
                if self.layout is None:
                    self.layout = layout_of(block.names, block.file, block.lines[0], wanted)
                    self.scored = False
                    self._read_sides(source, path)
                self._read(block, self.layout)
        if not self._count:
            raise DataError("there are no rows in it.", file=source, remedy="Is it complete?")

    def read_run(self, source: Path) -> None:
        """Lines of a TREC run: a row is a query, and all that is listed is a candidate."""
        for lines in run_lines(source):
            blank = [""] * len(lines.query)
            asked, doc = self.queries.intern(lines.query, blank), self.documents.intern(lines.doc, blank)
            row = np.arange(len(blank))
            zero, score = np.zeros(len(blank), np.int8), np.array(lines.value, np.float32)
            self._add(lines.file, lines.lines, asked, (row, doc, zero, score))
        self.told = False
        if not self._count:
            raise DataError("there are no lines in it.", file=source, remedy="A run has six columns.")

    def finish(self, source: Path, folder: tempfile.TemporaryDirectory[str]) -> Listing:
        """Everything that was read."""
        file, line, asked = (np.concatenate(column) for column in zip(*self._rows, strict=True))
        row, doc, label, score = (np.concatenate(column) for column in zip(*self._entries, strict=True))
        name, narrow = (self.layout.name, self.layout.narrow) if self.layout else (TREC, True)
        queries, documents = self.queries.close(), self.documents.close()
        return Listing(
            source, name, narrow, tuple(self.files), file, line, asked, row, doc, label, score,
            self.scored, self.told, queries, documents, folder,
        )  # fmt: skip

    def _read(self, block: Block, layout: Signature) -> None:
        if not layout.fits(block.names):
            layout_of(block.names, block.file, block.lines[0], layout.name)
        ids, texts = queries_of(block)
        found = entries_of(block, layout)
        self.scored |= found.score is not None
        self.told &= found.told
        score = np.full(len(found.row), np.nan, np.float32) if found.score is None else found.score
        doc = self.documents.intern(found.ids, found.texts)
        self._add(block.file, block.lines, self.queries.intern(ids, texts), (found.row, doc, found.label, score))

    def _add(
        self,
        file: str,
        lines: Sequence[int],
        asked: NDArray[np.int64],
        entries: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8], NDArray[np.float32]],
    ) -> None:
        if file not in self.files:
            self.files.append(file)
        number = np.full(len(asked), self.files.index(file), np.int32)
        self._rows.append((number, np.asarray(lines, np.int64), asked.astype(np.int32)))
        row, doc, label, score = entries
        self._entries.append(((row + self._count).astype(np.int32), doc.astype(np.int32), label, score))
        self._count += len(asked)

    def _read_sides(self, source: Path, main: Path) -> None:
        """Texts of ids from the tables beside the lists, before the lists name them."""
        beside: list[tuple[str, DistinctTexts, list[Path]]] = []
        if source.is_dir():
            beside = [
                ("queries", self.queries, _tables_named(source, "queries")),
                ("corpus", self.documents, _tables_named(source, "documents") or _tables_named(source, "corpus")),
            ]
        elif self.layout is not None and self.layout.name == "nemo":
            beside = [("corpus", self.documents, list(_corpus_of(main)))]
        for kind, table, paths in beside:
            for path in paths:
                for block in FileTable(path).blocks():
                    table.intern(*_id_and_text(block, kind))


def _id_and_text(block: Block, kind: str) -> tuple[list[str], list[str]]:
    roles = find_roles(kind, block.names, {}, block.file)
    id_, text = ("id", "text") if kind == "corpus" else ("query_id", "query")
    return id_column(block, roles[id_][0]), text_column(block, roles[text][0])


def _corpus_of(path: Path) -> Iterator[Path]:
    """The tables of the corpus folders that a NeMo file names, where they are there."""
    if kind_of(path) != ".json":
        return
    with opened(path) as file:
        named = json.loads(file.read()).get("corpus", [])
    for entry in named if isinstance(named, list) else [named]:
        folder = path.parent / str(entry.get("path", "") if isinstance(entry, dict) else entry)
        if folder.is_dir():
            yield from _tables_of(folder)
