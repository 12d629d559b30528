"""Corpus, queries and qrels as tables of their own (the BEIR layout): read into a collection, and written from one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foils.core.collection import Collection
from foils.core.collection_writer import CollectionWriter
from foils.core.columns import (
    Columns,
    find_roles,
    id_column,
    metadata_of,
    number_column,
    query_column,
    text_column,
    used_columns,
)
from foils.core.errors import DataError
from foils.core.tables import Block, Table
from foils.core.texts import Texts
from foils.core.texts_writer import TextBlock
from foils.core.trec import Lines, OnUnknown, QrelsFile, Unknown

WRITE_ROWS = 8_192


def read_corpus(writer: CollectionWriter, tables: Iterable[Table], columns: Columns) -> None:
    """Add the documents of tables with an id, a text, and perhaps a title; other columns become metadata.

    Raises:
        DataError: a column that is missing or misspelt, no rows, an id that occurs twice, a text that is no text.
    """
    for table in tables:
        before = writer.documents.rows
        for block in table.blocks():
            writer.documents.append(document_block(block, columns))
        if writer.documents.rows == before:
            raise DataError("there are no documents in it.", file=table.name, remedy="Is it complete?")


def document_block(block: Block, columns: Columns) -> TextBlock:
    """The documents of a block."""
    roles = find_roles("corpus", block.names, columns, block.file)
    used = used_columns(roles)
    ids, texts = id_column(block, roles["id"][0]), text_column(block, roles["text"][0])
    titles = [""] * len(ids)
    if "title" in roles:
        name = roles["title"][0]
        titled = [row if name in row else {name: ""} for row in block.rows]
        titles = text_column(block._replace(rows=titled), name)
    return TextBlock(block.file, block.lines, ids, titles, texts, [metadata_of(row, used) for row in block.rows])


def read_queries(writer: CollectionWriter, tables: Iterable[Table], columns: Columns) -> None:
    """Add the queries of tables with an id and a text; other columns become metadata.

    Raises:
        DataError: as `read_corpus`, and an empty query.
    """
    for table in tables:
        rows = 0
        for block in table.blocks():
            roles = find_roles("queries", block.names, columns, block.file)
            used = used_columns(roles)
            ids, texts = id_column(block, roles["query_id"][0]), query_column(block, roles["query"][0])
            metadata = [metadata_of(row, used) for row in block.rows]
            writer.queries.append(TextBlock(block.file, block.lines, ids, [""] * len(ids), texts, metadata))
            rows += len(ids)
        if not rows:
            raise DataError("there are no queries in it.", file=table.name, remedy="Is it complete?")


def read_qrels(
    writer: CollectionWriter, qrels: Mapping[str, Iterable[Table]], columns: Columns, on_unknown: OnUnknown
) -> None:
    """Add the judgements of tables, by split; documents and queries must be there already.

    Raises:
        DataError: not qrels, a grade that is no number, or ids that are unknown (unless they are to be dropped).
    """
    for split, tables in qrels.items():
        writer.judge(split, [], [], [])
        for table in tables:
            unknown = Unknown(table.name, on_unknown)
            for block in table.blocks():
                lines = judgements(block, {} if isinstance(table, QrelsFile) else columns)
                query, doc = writer.queries.row_of(lines.query), writer.documents.row_of(lines.doc)
                known = unknown.split(lines, query, doc)
                writer.judge(split, query[known], doc[known], np.array(lines.value)[known])
            unknown.settle()
            writer.counts["unknown_qrels"] += unknown.count


def judgements(block: Block, columns: Columns) -> Lines:
    """The judgements of a block with columns for query_id, doc_id and grade."""
    roles = find_roles("qrels", block.names, columns, block.file)
    query, doc = id_column(block, roles["query_id"][0]), id_column(block, roles["doc_id"][0])
    return Lines(block.file, block.lines, query, doc, number_column(block, roles["grade"][0]))


def write_beir(data: Collection, out: str | Path) -> Path:
    """Write a collection as ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/SPLIT.tsv``.

    Merged queries are written once, under their first id. Given negatives have no place in this layout.

    Returns:
        The folder.

    Raises:
        DataError: the folder exists and is not empty.
    """
    folder = new_folder(out)
    write_texts(folder / "corpus.jsonl", text_rows(data.corpus))
    write_texts(folder / "queries.jsonl", text_rows(data.queries))
    for split in data.splits:
        pairs = data.qrels(split)
        ids = data.queries.id_list(pairs.query), data.corpus.id_list(pairs.doc)
        write_qrels(folder, split, zip(*ids, pairs["grade"].tolist(), strict=True))
    return folder


def new_folder(out: str | Path) -> Path:
    """An empty folder for a collection in this layout.

    Raises:
        DataError: it exists and is not empty.
    """
    folder = Path(out)
    if folder.exists() and any(folder.iterdir()):
        raise DataError("the folder is not empty.", file=folder, remedy="Name a new one.")
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    return folder


def text_rows(side: Texts) -> Iterator[dict[str, Any]]:
    """The rows of one side: ``_id``, ``title``, ``text`` and ``metadata``."""
    for start in range(0, len(side), WRITE_ROWS):
        rows = np.arange(start, min(start + WRITE_ROWS, len(side)))
        columns = (side.id_list(rows), side.titles(rows), side.bodies(rows), side.metadata(rows))
        for id_, title, text, metadata in zip(*columns, strict=True):
            yield {"_id": id_, "title": title, "text": text, "metadata": metadata}


def write_texts(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as JSON lines, without titles and metadata that are empty."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            kept = {name: value for name, value in row.items() if value or name in ("_id", "text")}
            file.write(json.dumps(kept, ensure_ascii=False) + "\n")


def write_qrels(folder: Path, split: str, judged: Iterable[tuple[str, str, float]]) -> None:
    """Write the judgements (query id, document id, grade) of a split."""
    with (folder / "qrels" / f"{split}.tsv").open("w", encoding="utf-8") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        for query, doc, grade in judged:
            file.write(f"{query}\t{doc}\t{grade:.9g}\n")
