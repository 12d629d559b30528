"""Where tables go: a Parquet or JSON Lines file, or a Hugging Face data set on disk. All appear whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foils.core.atomic import replacing
from foils.core.cache import publish
from foils.core.errors import DataError, SpecError, StoreError, need

Parts = Iterator[pa.Table]
RUN = ".trec"


def write_file(path: Path, parts: Parts) -> int:
    """Write a .parquet, .jsonl or .trec file, a part at a time; an existing one is replaced when this one is complete.

    Returns:
        Number of rows.
    """
    write = {".parquet": write_parquet, ".jsonl": write_jsonl, RUN: write_run}[path.suffix]
    with replacing(path) as partial:
        return write(partial, parts)


def write_parquet(path: Path, parts: Parts) -> int:
    """A zstd Parquet file with a row group for each part; returns the number of rows."""
    first = next(parts)
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        rows = 0
        for part in _from(first, parts):
            writer.write_table(part)
            rows += part.num_rows
    return rows


def write_jsonl(path: Path, parts: Parts) -> int:
    """One JSON object a line, UTF-8; returns the number of rows."""
    rows = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for part in parts:
            file.writelines(line + "\n" for line in _json_rows(part))
            rows += part.num_rows
    return rows


def write_run(path: Path, parts: Parts) -> int:
    """A TREC run of rows with query_id, doc_id, rank and score; returns the number of lines.

    Raises:
        DataError: an id holds white space, which separates the columns.
    """
    lines = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for part in parts:
            for query, doc, rank, score in zip(*_shortest(part).to_pydict().values(), strict=True):
                if len(query.split()) != 1 or len(doc.split()) != 1:
                    bad = query if len(query.split()) != 1 else doc
                    remedy = "Export as jsonl or ids, or import the collection with other ids."
                    raise DataError(f"id {bad!r} holds white space, which a TREC run cannot.", remedy=remedy)
                file.write(f"{query} Q0 {doc} {rank} {score} foils\n")
            lines += part.num_rows
    return lines


def write_json(path: Path, parts: Parts, head: str) -> int:
    """One JSON object: ``head``, and the rows as ``data``, a line each; returns the number of rows.

    Args:
        path: the file.
        parts: the rows.
        head: the members that come first, without braces.
    """
    rows = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("{" + head + ', "data": [')
        for part in parts:
            file.writelines((",\n" if rows + i else "\n") + line for i, line in enumerate(_json_rows(part)))
            rows += part.num_rows
        file.write("\n]}\n")
    return rows


def _json_rows(part: pa.Table) -> Iterator[str]:
    return (json.dumps(row, ensure_ascii=False) for row in _shortest(part).to_pylist())


def write_folder(folder: Path, parts: Parts, fingerprint: str) -> int:
    """A folder for ``datasets.load_from_disk``; returns the number of rows.

    The state that `datasets` itself would write has a fingerprint with the time in it; here it is the content's.

    Args:
        folder: must not exist, or be empty.
        parts: tables of one schema.
        fingerprint: of what is written; part of the folder's state.

    Raises:
        StoreError: the folder exists and is not empty.
        MissingExtra: `datasets` is not installed.
    """
    features = need("datasets", "st").Features
    rows = 0

    def write(partial: Path) -> None:
        nonlocal rows
        first = next(parts)
        name = "data-00000-of-00001.arrow"
        with pa.OSFile(str(partial / name), "wb") as file, pa.ipc.new_stream(file, first.schema) as writer:
            for part in _from(first, parts):
                writer.write_table(part)
                rows += part.num_rows
        state: dict[str, object] = {
            "_data_files": [{"filename": name}],
            "_fingerprint": fingerprint,
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        }
        _json(partial / "state.json", state)
        _json(partial / "dataset_info.json", {"features": features.from_arrow_schema(first.schema).to_dict()})

    claim(folder)
    publish(folder, write)
    return rows


def write_tables(folder: Path, tables: Mapping[str, Parts], paths: Mapping[str, str], notes: Mapping[str, str]) -> int:
    """Several files in one folder, which appears whole.

    Args:
        folder: must not exist, or be empty.
        tables: name -> parts; the rows are ``train``.
        paths: name -> file in the folder: .parquet, .jsonl, or .json for an object with the rows as ``data``.
        notes: further files in the folder -> their text; that of a .json table is what comes before its rows.

    Returns:
        Number of rows.

    Raises:
        StoreError: the folder exists and is not empty.
    """
    rows = 0

    def write(partial: Path) -> None:
        nonlocal rows
        for name, parts in tables.items():
            path = partial / paths[name]
            path.parent.mkdir(exist_ok=True)
            if path.suffix == ".json":
                count = write_json(path, parts, notes[paths[name]])
            else:
                count = {".parquet": write_parquet, ".jsonl": write_jsonl}[path.suffix](path, parts)
            rows = count if name == "train" else rows
        for name in notes.keys() - set(paths.values()):
            (partial / name).write_text(notes[name], encoding="utf-8")

    claim(folder)
    publish(folder, write)
    return rows


def configurations(paths: Mapping[str, str]) -> str:
    """A README that makes each table a configuration for ``datasets.load_dataset``; the first is the default."""
    entries = "".join(f"- config_name: {name}\n  data_files: {path}\n" for name, path in paths.items())
    return f"---\nconfigs:\n{entries}---\n"


def kind_of(out: Path) -> str:
    """``folder`` for a folder or a name without suffix, else the suffix.

    Raises:
        SpecError: another suffix than .parquet, .jsonl and .trec.
    """
    if out.is_dir() or not out.suffix:
        return "folder"
    if out.suffix not in (".parquet", ".jsonl", RUN):
        raise SpecError(f"{out}: {out.suffix!r} is not written. Name a .parquet or .jsonl file, or a folder.")
    return out.suffix


def claim(folder: Path) -> None:
    """Make way for a new folder: an empty one is removed.

    Raises:
        StoreError: it is not empty, or a file.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise StoreError(f"{folder} exists already. Remove it, or name another.")
    if folder.is_dir():
        folder.rmdir()


def _from(first: pa.Table, rest: Parts) -> Parts:
    yield first
    yield from rest


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _shortest(table: pa.Table) -> pa.Table:
    """The same table with float32 as the float64 of its shortest decimal: 0.9, not 0.8999999761581421."""
    for i, field in enumerate(table.schema):
        column = table.column(i).combine_chunks()
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        table = table.set_column(i, field.name, _decimals(column))
    return table


def _decimals(values: pa.Array) -> pa.Array:
    """An array of numbers, or of lists or objects that hold some; any other as it is."""
    if pa.types.is_float32(values.type):
        plain = values.fill_null(0).to_numpy(zero_copy_only=False).astype(str).astype(np.float64)
        return pa.array(plain, mask=values.is_null().to_numpy(zero_copy_only=False))
    if pa.types.is_list(values.type):
        return pa.ListArray.from_arrays(values.offsets, _decimals(values.values))
    if pa.types.is_struct(values.type):
        names = [values.type.field(i).name for i in range(values.type.num_fields)]
        return pa.StructArray.from_arrays([_decimals(values.field(name)) for name in names], names)
    return values
