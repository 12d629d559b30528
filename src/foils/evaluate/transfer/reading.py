"""Tasks from files: what kind a task is, is said or seen by its columns.

| columns | kind |
|---|---|
| ``sentence1``, ``sentence2``, ``score`` | similarity |
| ``sentence1``, ``sentence2``, ``label`` | pairs |
| ``text``, ``label`` | classification; ``clustering=PATH`` for clustering |
| a folder with a corpus, queries and qrels | retrieval |

A file is JSON lines, CSV, TSV, Parquet or Arrow, the text formats also with ``.gz``. A folder of files is its ``test``;
classification learns from its ``train`` if there is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foils.core.errors import DataError, SpecError
from foils.core.formats import load
from foils.core.sources import find_table
from foils.core.tables import FileTable
from foils.core.text import did_you_mean
from foils.evaluate.transfer.mteb import MtebTask
from foils.evaluate.transfer.tasks import (
    Classification,
    Clustering,
    PairClassification,
    Retrieval,
    Similarity,
    Task,
)

KINDS = ("similarity", "pairs", "classification", "clustering", "retrieval", "mteb")
TRUE = ("1", "true", "yes", "positive", "duplicate", "paraphrase", "entailment", "equivalent", "similar")
_SENTENCES = ("sentence1", "sentence2")
_SPLITS = ("test", "dev", "validation", "train")
_REMEDY = (
    "A task has the columns sentence1, sentence2 and score or label; or text and label; or is a folder with a corpus, "
    "queries and qrels."
)


def read_task(text: str | Path) -> Task:
    """A task from ``PATH`` or ``KIND=PATH``; ``mteb=NAME`` for one of MTEB's.

    Raises:
        SpecError: an unknown kind.
        DataError: nothing there, or columns that make no task of this kind.
        MissingExtra: mteb is not installed.
    """
    kind, sign, rest = str(text).partition("=")
    if not sign or Path(text).exists():
        kind, rest = "", str(text)
    if kind and kind not in KINDS:
        guess = did_you_mean(kind, KINDS) or f" There is: {', '.join(KINDS)}."
        raise SpecError(f"--task {text}: unknown kind {kind!r}.{guess}")
    if kind == "mteb":
        return MtebTask.find(rest)
    path = Path(rest)
    if not path.exists():
        raise DataError("no such file or folder.", file=path, remedy=_REMEDY)
    corpus = path.is_dir() and find_table(path, "corpus") is not None
    if kind == "retrieval" or (corpus and not kind):
        return Retrieval(_name(path), load(rest))
    file = path if path.is_file() else find_table(path, "test")
    if file is None:
        raise DataError("no corpus and no file test.jsonl, .csv, … in this folder.", file=path, remedy=_REMEDY)
    rows = _rows(file)
    return _of_rows(kind or _seen(rows[0], file), _name(path), rows, path, file)


def read_tasks(texts: Sequence[str | Path]) -> list[Task]:
    """Several tasks.

    Raises:
        SpecError: two of the same name and kind.
    """
    found: dict[str, Task] = {}
    for text in texts:
        task = read_task(text)
        if task.key in found:
            raise SpecError(f"--task {text}: there is a task {task.key!r} already; give it once, or rename the file.")
        found[task.key] = task
    return list(found.values())


def _of_rows(kind: str, name: str, rows: list[dict[str, Any]], path: Path, file: Path) -> Task:
    if kind in ("similarity", "pairs"):
        one, other = (_texts(rows, column, file) for column in _SENTENCES)
        if kind == "similarity":
            return Similarity(name, one, other, _scores(rows, file))
        return PairClassification(name, one, other, _right(_texts(rows, "label", file), file))
    texts, labels = _texts(rows, "text", file), _labels(rows, file)
    if kind == "clustering":
        return Clustering(name, texts, labels)
    learn = find_table(path, "train") if path.is_dir() else None
    if learn is None:
        learnt = sum(count > 1 for count in Counter(labels).values())
        if learnt < 2:
            raise DataError(
                f"{learnt} of {len(set(labels))} labels has two texts or more, one to learn from and one to ask.",
                file=file,
                remedy="Give texts to learn from in a file train.jsonl, .csv, … beside it.",
            )
        return Classification(name, texts, labels)
    known = _rows(learn)
    return Classification(name, texts, labels, _texts(known, "text", learn), _labels(known, learn))


def _rows(file: Path) -> list[dict[str, Any]]:
    rows = [dict(row) for block in FileTable(file).blocks() for row in block.rows]
    if len(rows) < 2:
        raise DataError(f"{len(rows)} rows are too few for a task.", file=file, remedy=_REMEDY)
    return rows


def _seen(row: dict[str, Any], file: Path) -> str:
    if all(column in row for column in _SENTENCES):
        for column, kind in (("score", "similarity"), ("label", "pairs")):
            if column in row:
                return kind
    if "text" in row and "label" in row:
        return "classification"
    raise DataError(f"columns {', '.join(map(repr, row))} make no task.", file=file, remedy=_REMEDY)


def _texts(rows: list[dict[str, Any]], column: str, file: Path) -> list[str]:
    missing = next((i for i, row in enumerate(rows) if row.get(column) is None), None)
    if missing is not None:
        raise DataError(f"row {missing + 1:,} has no {column!r}.", file=file, remedy=_REMEDY)
    return [str(row[column]) for row in rows]


def _labels(rows: list[dict[str, Any]], file: Path) -> list[str]:
    labels = _texts(rows, "label", file)
    if len(set(labels)) < 2:
        raise DataError(f"all {len(rows):,} rows have one label; nothing can be told apart.", file=file, remedy=_REMEDY)
    return labels


def _scores(rows: list[dict[str, Any]], file: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    texts = _texts(rows, "score", file)
    try:
        values = np.array([float(text) for text in texts], np.float64)
    except ValueError as error:
        raise DataError(f"a score is no number ({error}).", file=file, remedy="Scores are numbers.") from None
    if not np.isfinite(values).all() or len(np.unique(values)) < 2:
        raise DataError("scores are all the same, or one is not finite.", file=file, remedy="Scores are numbers.")
    return values


def _right(labels: list[str], file: Path) -> np.ndarray[Any, np.dtype[np.bool_]]:
    right = np.array([label.strip().casefold() in TRUE for label in labels], bool)
    if right.all() or not right.any():
        listed = ", ".join(map(repr, sorted(set(labels))[:5]))
        known = ", ".join(TRUE)
        raise DataError(f"labels {listed}: positives are {known}; there have to be both.", file=file)
    return right


def _name(path: Path) -> str:
    stem = path.name if path.is_dir() else path.name.split(".")[0]
    return path.absolute().parent.name if path.is_file() and stem in _SPLITS else stem
