"""What `load` is given, as tables: paths, globs, folders, data sets, rows in memory, names on the hub."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from foils.core.columns import Columns, headerless
from foils.core.errors import DataError, need
from foils.core.tables import KINDS, DatasetTable, FileTable, RowsTable, Table, kind_of
from foils.core.trec import SUFFIXES, QrelsFile

HUB = "hf:"
PAIR_KINDS = tuple(kind for kind in KINDS if kind != ".json")  # in folders .json files describe the data


def find_table(folder: Path, stem: str) -> Path | None:
    """``corpus.jsonl``, ``corpus.jsonl.gz``, ``corpus.parquet``, …: the first that is there, or None."""
    names = [f"{stem}{kind}{packed}" for kind in KINDS for packed in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def find_qrels(folder: Path) -> dict[str, Path]:
    """Every file in ``qrels/`` is a split, named like the file.

    Raises:
        DataError: there is no such folder, no file in it, or two files for one split.
    """
    found: dict[str, Path] = {}
    remedy = "Put qrels/train.tsv, qrels/test.tsv, … there (query-id, corpus-id, score), or pass qrels=…"
    if not (folder / "qrels").is_dir():
        raise DataError("the folder has no qrels folder.", file=folder, remedy=remedy)
    for path in sorted((folder / "qrels").iterdir()):
        if path.is_file() and kind_of(path) in (*SUFFIXES, *PAIR_KINDS):
            plain = Path(path.name.removesuffix(".gz"))
            if plain.stem in found:
                message = f"two files for the split {plain.stem!r}: {found[plain.stem].name} and {path.name}."
                raise DataError(message, file=folder / "qrels", remedy="Remove one.")
            found[plain.stem] = path
    if not found:
        raise DataError("no qrels file in it.", file=folder / "qrels", remedy=remedy)
    return found


def qrels_tables(source: Any, columns: Columns) -> dict[str, list[Table]]:
    """Judgements by split, each as a table with query_id, doc_id and grade."""
    source = _from_hub(source)
    if not isinstance(source, Mapping):
        single = isinstance(source, str | Path) and not glob.has_magic(str(source))
        source = {name_of(source) if single else "train": source}
    return {str(split): _judged(part, columns) for split, part in source.items()}


def _judged(source: Any, columns: Columns) -> list[Table]:
    if isinstance(source, str | Path) and kind_of(Path(source)) in (*SUFFIXES, ""):
        return [QrelsFile(path) for path in _files(source)]
    return tables_of(source, columns)


def pair_splits(source: Any, columns: Columns) -> dict[str, list[Table]]:
    """The tables of pairs by split."""
    source = _from_hub(source)
    if isinstance(source, Mapping):
        if not source:
            raise DataError("no splits: the mapping is empty.", remedy="Give {'train': …}.")
        return {str(split): tables_of(part, columns) for split, part in source.items()}
    if isinstance(source, str | Path) and Path(source).is_dir():
        return _folder_splits(Path(source), columns)
    return {"train": tables_of(source, columns)}


def tables_of(source: Any, columns: Columns) -> list[Table]:
    """A file, glob, list of files, data set or list of dicts as tables; all splits of a data set with several.

    Raises:
        DataError: nothing there, or nothing that has rows.
    """
    source = _from_hub(source)
    if isinstance(source, Mapping):
        return [table for part in source.values() for table in tables_of(part, columns)]
    if isinstance(source, str | Path):
        return _file_tables(_files(source), columns)
    if hasattr(source, "column_names") and hasattr(source, "with_format"):
        if not hasattr(source, "num_rows"):
            remedy = "Load it with streaming=False, or write it to Parquet files first."
            raise DataError("a streamed data set cannot be read again.", remedy=remedy)
        return [DatasetTable(source, f"data set {getattr(source, 'split', None) or ''}".strip())]
    if isinstance(source, Sequence) and source and all(isinstance(row, Mapping) for row in source):
        return [RowsTable(source)]
    if isinstance(source, Sequence) and source and all(isinstance(path, str | Path) for path in source):
        return _file_tables([file for path in source for file in _files(path)], columns)
    remedy = "Give a path, a glob, a list of files, a list of dicts, or a Hugging Face Dataset."
    raise DataError(f"cannot read rows from {type(source).__name__} {str(source)[:60]!r}.", remedy=remedy)


def name_of(source: Any) -> str:
    """A short name for a collection, from where it comes."""
    if isinstance(source, str) and source.startswith(HUB):
        return source.removeprefix(HUB).replace("/", "-").replace(":", "-")
    if isinstance(source, str | Path):
        path = Path(source).absolute()
        return (path.name if path.is_dir() else path.name.split(".")[0].replace("*", "")) or "collection"
    if isinstance(source, Mapping) and source:
        return name_of(next(iter(source.values())))
    if isinstance(source, Sequence) and source and isinstance(source[0], str | Path):
        return name_of(source[0])
    return "collection"


def _folder_splits(folder: Path, columns: Columns) -> dict[str, list[Table]]:
    """Files of pairs in a folder: ``train.jsonl``, ``train-00000-of-00002.parquet``, …; or a saved data set."""
    if (folder / "dataset_dict.json").is_file():
        return {path.name: _saved(path, columns) for path in sorted(folder.iterdir()) if path.is_dir()}
    if (folder / "state.json").is_file():
        return {"train": _saved(folder, columns)}
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and kind_of(path) in PAIR_KINDS:
            files.setdefault(path.name.split(".")[0].split("-")[0], []).append(path)
    if not files:
        remedy = "A collection is corpus.jsonl, queries.jsonl and qrels/*.tsv, or files of pairs such as train.jsonl."
        raise DataError("no collection in this folder.", file=folder, remedy=remedy)
    return {split: _file_tables(paths, columns) for split, paths in files.items()}


def _saved(folder: Path, columns: Columns) -> list[Table]:
    return _file_tables(sorted(folder.glob("*.arrow")), columns)


def _file_tables(paths: Iterable[Path], columns: Columns) -> list[Table]:
    header = not headerless(columns)
    return [FileTable(path, header) for path in paths]


def _files(source: str | Path) -> list[Path]:
    path = Path(source)
    if path.exists() or not glob.has_magic(str(source)):
        if not path.exists():
            raise DataError("no such file or folder.", file=path, remedy="Check the path.")
        return [path]
    found = [Path(name) for name in sorted(glob.glob(str(source), recursive=True))]  # noqa: PTH207 - absolute too
    if not found:
        raise DataError("no file matches.", file=path, remedy="Check the pattern.")
    return found


def _from_hub(source: Any) -> Any:
    """The data set for ``hf:NAME`` or ``hf:NAME:CONFIG``; anything else as it is."""
    if not (isinstance(source, str) and source.startswith(HUB)):
        return source
    datasets = need("datasets", "st")
    name, _, config = source.removeprefix(HUB).partition(":")
    try:
        return datasets.load_dataset(name, config or None)
    except (OSError, ValueError, ImportError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "Is the name right and the hub reachable? A local copy can be loaded by its path."
        raise DataError(f"the data set cannot be loaded: {first}", file=source, remedy=remedy) from error
