"""`load`: any source to a `Collection`, converted once and then memory-mapped from the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foils.core.beir import read_corpus, read_qrels, read_queries, write_beir
from foils.core.cache import cache_root, publish
from foils.core.collection import FORMAT, HEADER, SHARD, Collection
from foils.core.collection_writer import CollectionWriter
from foils.core.columns import Columns, check_columns
from foils.core.errors import DataError
from foils.core.pair_tables import PairReader
from foils.core.shards import remember
from foils.core.sources import find_qrels, find_table, name_of, pair_splits, qrels_tables, tables_of
from foils.core.text import FirstSeen
from foils.core.trec import OnUnknown, read_run

__all__ = ["load", "read_run", "write_beir"]


@dataclass(frozen=True)
class _Plan:
    """What is to be read: its name, what its cached conversion depends on, and how it is read."""

    name: str
    source: str
    state: list[Any]
    read: Callable[[CollectionWriter], None]
    quotes: bool = False  # documents are quoted by text and looked up in a separate corpus


def load(
    source: Any,
    *,
    corpus: Any = None,
    columns: Columns | None = None,
    qrels: Any = None,
    cache: str | Path | None = None,
    on_unknown: OnUnknown = "error",
) -> Collection:
    """Read a collection. It is converted to Arrow once, kept in the cache, and memory-mapped from there.

    Args:
        source: one of

            - a folder that was converted before;
            - a shard, as ``foils write`` leaves it: the collection that it was written for, and what was written;
            - a BEIR folder: ``corpus``, ``queries`` (JSON lines, CSV, TSV or Parquet; .gz) and ``qrels/*.tsv``; every
              file in ``qrels`` is a split;
            - pairs: a file, a glob or a list of files with a query, one or more positives, perhaps negatives in each
              row; a Hugging Face ``Dataset``; a list of dicts. A dict of these (or a ``DatasetDict``) has one split
              for each key, otherwise the split is ``train``; in a folder of such files, the split is the name's start;
            - ``hf:NAME`` or ``hf:NAME:CONFIG``: a data set of pairs of the hub;
            - with ``qrels``: the queries (id and text), in any of these forms.
        corpus: documents with id, text and perhaps title, if they are not in the pairs: a file, a glob, a list of
            files, a ``Dataset``, ``hf:…`` or a list of dicts. Positives and negatives then may be ids or texts; texts
            that are not in it are added (and counted in the report).
        columns: names for roles where the usual ones do not fit: ``{'query': 'frage'}``. Roles: query, query_id,
            positive, positive_id, negative, negative_id, title (of a positive), grade; of a corpus id, text, title; of
            qrels query_id, doc_id, grade. A number counts columns from 0 in a CSV or TSV file without a line of names;
            None: do not read that role.
        qrels: judgements for ``corpus`` and the queries in ``source``: a file with BEIR's or TREC's columns, a table
            (query_id, doc_id, grade) in any of the forms above, or a dict of split to one of these. The split of a
            single file is its name up to the first dot.
        cache: where conversions are kept; default ``$FOILS_CACHE``, else ``~/.cache/foils``. A conversion is used
            again while paths, sizes and times of change of all files and the other arguments are the same.
        on_unknown: 'error': judgements of ids that are not there are refused; 'drop': they are left out and counted.

    Returns:
        The collection. ``report`` counts what was found and done. Queries with the same normalised text are merged
        (all ids still resolve), documents with the same normalised text are linked; a query without positives stays
        but is in no split.

    Raises:
        DataError: with file, line and remedy.
        SpecError: a role in ``columns`` that does not exist.

    >>> data = load([{"query": "what is a foil?", "positive": "A contrast."}], cache=getfixture("tmp_path"))
    >>> data.splits, data.positives("train").doc.tolist()
    (('train',), [0])
    """
    if isinstance(source, str | Path) and (Path(source) / HEADER).is_file():
        return Collection.open(source)
    if isinstance(source, str | Path) and (Path(source) / SHARD).is_file():
        shard = Collection.open(source)
        remember(shard)
        return shard
    if on_unknown not in ("error", "drop"):
        raise ValueError(f"on_unknown is 'error' or 'drop', not {on_unknown!r}")
    checked = check_columns(columns)
    plan = _plan(source, corpus, qrels, checked, on_unknown)
    options = {"columns": dict(checked), "on_unknown": on_unknown, "format": FORMAT, "name": plan.name}
    state = json.dumps([plan.state, options], sort_keys=True)
    key = hashlib.blake2b(state.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()

    def write(folder: Path) -> None:
        writer = CollectionWriter(folder, FirstSeen() if plan.quotes else None)
        plan.read(writer)
        writer.finish(plan.name, plan.source)

    return Collection.open(publish(cache_root(cache) / "collections" / key, write))


def _plan(source: Any, corpus: Any, qrels: Any, columns: Columns, on_unknown: OnUnknown) -> _Plan:
    folder = Path(source) if isinstance(source, str | Path) and Path(source).is_dir() else None
    if folder is not None and find_table(folder, "corpus") is not None:
        queries = find_table(folder, "queries")
        if queries is None:
            raise DataError("the folder has a corpus but no queries.", file=folder, remedy="Add queries.jsonl.")
        corpus = corpus or find_table(folder, "corpus")
        return _separate(queries, corpus, qrels or find_qrels(folder), columns, on_unknown, folder)
    if qrels is not None:
        if corpus is None:
            raise DataError("qrels= needs the documents too.", remedy="Pass corpus=…")
        return _separate(source, corpus, qrels, columns, on_unknown, source)
    splits = pair_splits(source, columns)
    documents = [] if corpus is None else tables_of(corpus, columns)

    def read(writer: CollectionWriter) -> None:
        read_corpus(writer, documents, columns)
        PairReader(writer, columns, on_unknown).read(splits)

    state = ["pairs", {s: [t.state() for t in tables] for s, tables in splits.items()}, [t.state() for t in documents]]
    name = name_of(source)
    return _Plan(name, str(source) if isinstance(source, str | Path) else name, state, read, bool(documents))


def _separate(queries: Any, corpus: Any, qrels: Any, columns: Columns, on_unknown: OnUnknown, source: Any) -> _Plan:
    """Corpus, queries and qrels as tables of their own; ``source`` gives the name."""
    query_tables, documents = tables_of(queries, columns), tables_of(corpus, columns)
    judged = qrels_tables(qrels, columns)

    def read(writer: CollectionWriter) -> None:
        read_corpus(writer, documents, columns)
        read_queries(writer, query_tables, columns)
        read_qrels(writer, judged, columns, on_unknown)

    states = [[t.state() for t in query_tables], [t.state() for t in documents]]
    state = ["separate", states, {s: [t.state() for t in tables] for s, tables in judged.items()}]
    name = name_of(source)
    return _Plan(name, str(source) if isinstance(source, str | Path) else name, state, read)
