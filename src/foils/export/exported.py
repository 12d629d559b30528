"""`export`: kept positives and negatives as the data that other trainers read."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import pyarrow as pa

from foils.core import segments
from foils.core.collection import Collection
from foils.core.errors import DataError, SpecError, need
from foils.core.pairs import CANDIDATE, POSITIVE, Pairs
from foils.core.text import did_you_mean
from foils.export import files
from foils.export.layouts import LAYOUTS, Format, Layout, side_tables, tables
from foils.export.units import Per, Units, units_of

log = logging.getLogger(__name__)
_WORDS = {1: "two", 2: "three"}


class Mined(Protocol):
    """What can be exported besides pairs: something that knows which of its pairs were kept."""

    def kept(self, data: Collection) -> Pairs:
        """Positives (label 1) and kept negatives (label 0)."""


@dataclass(frozen=True)
class Shape:
    """How many rows and how wide.

    Attributes:
        k: negatives of a query that are used, the hardest first; None for all. An n-tuple has exactly k, by default as
            many as the query with most negatives has.
        short: what becomes of an n-tuple with fewer than k: ``drop`` leaves the row out and counts it, ``null`` fills
            it with nulls (for your own loader; sentence-transformers cannot read them).
        per: where rows are lists: a row for each (query, ``positive``) or for each ``query``, with all its positives.
            None: what the format's readers expect (see the table of `export`).
    """

    k: int | None = None
    short: Literal["drop", "null"] = "drop"
    per: Per | None = None


@dataclass(frozen=True, eq=False)
class Exported:
    """What was written, and what was not.

    Attributes:
        format: of the rows.
        path: the file or folder, or None if ``tables`` holds the rows.
        rows: number of rows (for ids: of the table ``train``).
        queries: distinct queries among them.
        dropped: reason -> number of queries or rows that are not among them.
        tables: the rows, if no path was given.
    """

    format: Format
    path: Path | None
    rows: int
    queries: int
    dropped: Mapping[str, int]
    tables: Mapping[str, pa.Table] = field(default_factory=dict, repr=False)

    def dataset(self, name: str = "train") -> Any:
        """The rows as a Hugging Face ``Dataset``.

        Args:
            name: of the table: ``train``, and ``queries``, ``documents`` or ``corpus`` where rows hold ids.

        Raises:
            MissingExtra: `datasets` is not installed.
        """
        datasets = need("datasets", "st")
        if self.path is None:
            return datasets.Dataset(datasets.table.InMemoryTable(self.tables[name]))
        layout = LAYOUTS[self.format]
        if self.path.is_dir() and layout.main is None:
            return datasets.load_from_disk(str(self.path))
        path = self.path / layout.paths()[name] if layout.main else self.path
        if path.suffix == ".parquet":
            return datasets.Dataset.from_parquet(str(path))
        return datasets.Dataset.from_json(str(path), field="data" if path.suffix == ".json" else None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "format": self.format,
            "path": None if self.path is None else str(self.path),
            "rows": self.rows,
            "queries": self.queries,
            "dropped": dict(self.dropped),
        }


def export(
    negatives: Mined | Pairs,
    data: Collection,
    format: Format = "triplet",
    out: str | Path | None = None,
    *,
    scores: str | None = None,
    shape: Shape | None = None,
) -> Exported:
    """Write positives and negatives for another trainer.

    ==============  ===================================================  ==========================================
    format          columns                                              a row for each
    ==============  ===================================================  ==========================================
    triplet         query, positive, negative [scores]                   (query, positive, negative)
    n-tuple         query, positive, negative_1 ... negative_k [scores]  (query, positive)
    labeled-pair    query, document, label [score instead]               (query, document)
    labeled-list    query, documents, labels [scores instead]            (query, positive), or query
    ids             query_id, document_ids, labels [scores instead]      (query, positive), or query
    pylate          query_id, document_ids, scores                       (query, positive), all of one length
    flag-embedding  query, pos, neg [pos_scores, neg_scores]             query, or (query, positive)
    tevatron        query_id, query, positive_passages (docid, text      query, or (query, positive)
                    [, score]), negative_passages
    tevatron-ids    query_id, query_text, positive_document_ids,         query, or (query, positive)
                    negative_document_ids [positive_scores, ...]
    nemo            question_id, question, corpus_id, pos_doc            query, or (query, positive)
                    (id [, score]), neg_doc
    trec            query_id, doc_id, rank, score of negatives           (query, negative)
    ==============  ===================================================  ==========================================

    The first four are the output formats of sentence-transformers' ``mine_hard_negatives``: same order of columns, same
    names for negatives, labels and scores (a list starts with the positive's score). ``ids`` makes three tables, which
    ``sentence_transformers.util.resolve_ids`` and PyLate's ``KDProcessing`` join: ``train``, ``queries`` (query_id,
    text) and ``documents`` (document_id, text); each text is written once, so it is many times smaller than the others.
    ``pylate`` is the same with scores, lists of one length, a positive first: what its distillation reads. ``jsonl`` is
    another name of ``flag-embedding``. ``tevatron`` repeats texts; ``tevatron-ids`` is the layout of its version 2:
    ``train.jsonl`` and ``corpus.jsonl``. ``nemo`` is NeMo Automodel's: ``train.json`` and a folder ``corpus``.
    ``trec`` is a run of the negatives alone, scored by 1/rank without ``scores``. Texts are what encoders see: title
    and text.

    Rows are in the order of queries, then positives, then negatives, hardest first; the bytes depend on nothing else.
    Memory holds the row numbers and one part of about 30 million characters, whatever is exported, if ``out`` is given.

    Args:
        negatives: mined negatives, or pairs (positives with label 1, negatives with label 0; the rest is ignored).
        data: the collection they belong to.
        format: see above.
        out: a .parquet, .jsonl or .trec file, which is replaced, or a folder, which must not exist: a data set for
            ``datasets.load_from_disk`` (where rows hold ids: the tables). None: the rows are kept in memory.
        scores: the score column to write (``score`` for the latest); None for none.
        shape: see `Shape`.

    Returns:
        Counts of what was written and of what was left out (which is logged, too).

    Raises:
        SpecError: a format, suffix or shape that does not exist.
        PipelineError: no such score column.
        DataError: no row at all, or a pair without the score asked for.
        StoreError: the folder exists and is not empty.
    """
    shape = shape or Shape()
    layout = _layout(format, shape)
    path = None if out is None else Path(out)
    if path is not None and files.kind_of(path) != "folder" and layout.main is not None:
        raise SpecError(f"{path}: {format!r} makes {_WORDS[len(layout.sides)]} tables. Name a folder.")
    if path is not None and (files.kind_of(path) == files.RUN) != (format == "trec"):
        raise SpecError(
            f"{path}: {format!r} and {files.RUN!r} do not go together; a run is exported as 'trec', to FILE.trec."
        )
    if format == "pylate" and scores is None:
        raise SpecError("pylate reads scores: pass scores='score' (--scores score) or the name of a column.")
    pairs = negatives.kept() if isinstance(negatives, Pairs) else negatives.kept(data)
    pairs = pairs.take((pairs.label == POSITIVE) | (pairs.label == CANDIDATE))
    by = None if scores is None else pairs.column(scores)
    units = units_of(pairs, by, layout.per if shape.per is None else shape.per, shape.k)
    units, k, dropped = _complete(units, pairs, format, shape)
    _check_scores(units, by)
    parts = tables(layout, units, data, k, by is not None)
    tag = (data.fingerprint, format, by, k, repr(shape))
    rows, kept = _write(format, path, parts, units, data, _fingerprint(units, tag))
    for reason, count in dropped.items():
        log.warning("export as %s: %s: %s", format, reason, f"{count:,}")
    return Exported(format, path, rows, len(np.unique(units.query)), dropped, kept)


def _layout(format: str, shape: Shape) -> Layout:
    if format not in LAYOUTS:
        have = ", ".join(get_args(Format))
        raise SpecError(f"unknown format {format!r}.{did_you_mean(format, get_args(Format))} There is: {have}.")
    layout = LAYOUTS[format]  # type: ignore[index]
    if shape.k is not None and shape.k < 1:
        raise SpecError(f"k={shape.k}: it must be at least 1.")
    if shape.short not in ("drop", "null"):
        raise SpecError(f"short={shape.short!r}: it is 'drop' or 'null'.")
    if shape.per not in (None, "positive", "query"):
        raise SpecError(f"per={shape.per!r}: it is 'positive' or 'query'.")
    if layout.fixed and shape.per not in (None, layout.per):
        raise SpecError(f"per={shape.per!r} does not fit {format!r}; leave it out, or use labeled-list or ids.")
    return layout


def _complete(units: Units, pairs: Pairs, format: Format, shape: Shape) -> tuple[Units, int, dict[str, int]]:
    """The units that make rows, the width of an n-tuple, and what is left out by reason."""
    has = {label: segments.count(pairs.label == label, pairs.starts) > 0 for label in (POSITIVE, CANDIDATE)}
    dropped = {"queries without a positive": int((~has[POSITIVE]).sum())}
    if format != "labeled-pair":  # where a positive alone is a row
        dropped["queries without negatives"] = int((has[POSITIVE] & ~has[CANDIDATE]).sum())
        units = units[units.sizes > 0]
    k = shape.k or int(units.sizes.max(initial=0))
    if LAYOUTS[format].even and (shape.short == "drop" or format == "pylate"):
        full = units.sizes >= k
        dropped[_short(units, k)] = int((~full).sum())
        units = units[full]
    dropped = {reason: count for reason, count in dropped.items() if count}
    if not len(units):
        why = "; ".join(f"{reason}: {count:,}" for reason, count in dropped.items()) or "no pairs"
        raise DataError(f"nothing to export as {format}: {why}.", remedy="Mine more, or lower k.")
    return units, k, dropped


def _short(units: Units, k: int) -> str:
    at_least = [int((units.sizes >= width).sum()) for width in range(1, k + 1)]
    most = int(np.argmax(np.array(at_least) * np.arange(1, k + 1))) + 1
    better = f" (k={most} would keep {at_least[most - 1]:,} rows)" if most < k else ""
    return f"rows of {len(units):,} with fewer than {k} negatives{better}"


def _check_scores(units: Units, by: str | None) -> None:
    used = units.used()
    missing = int((np.isnan(units.score) & used).sum())
    if missing:
        raise DataError(
            f"{missing:,} of {int(used.sum()):,} exported (query, document) pairs have no score {by!r}.",
            remedy="End the pipeline with a scorer, which scores positives too, or export without scores.",
        )


def _write(
    format: Format, path: Path | None, parts: Iterator[pa.Table], units: Units, data: Collection, fingerprint: str
) -> tuple[int, dict[str, pa.Table]]:
    layout = LAYOUTS[format]
    every = {"train": parts}
    for name, side in layout.sides.items():
        texts, rows = (data.queries, units.query) if side.of == "query" else (data.corpus, units.doc[units.used()])
        every[name] = side_tables(texts, np.unique(rows), side.id)
    if path is None:
        kept = {name: pa.concat_tables(list(found)) for name, found in every.items()}
        return kept["train"].num_rows, kept
    if layout.main is not None:
        return files.write_tables(path, every, layout.paths(), _notes(format, data)), {}
    if files.kind_of(path) == "folder":
        return files.write_folder(path, parts, fingerprint), {}
    return files.write_file(path, parts), {}


def _notes(format: Format, data: Collection) -> dict[str, str]:
    """What else belongs into the folder of a format with several tables."""
    if format == "nemo":
        # The corpus is found beside the file that names it, so the folder can be moved.
        about = {"class": "TextQADataset", "corpus_id": data.name}
        return {"train.json": '"corpus": {"path": "corpus"}', "corpus/merlin_metadata.json": json.dumps(about) + "\n"}
    return {} if format == "tevatron-ids" else {"README.md": files.configurations(LAYOUTS[format].paths())}


def _fingerprint(units: Units, tag: object) -> str:
    digest = hashlib.blake2b(repr(tag).encode(), digest_size=8)
    for column in (units.query, units.doc, units.score, units.positive, units.negative):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
