"""`Collection`: corpus, queries and qrels. Documents and queries are row numbers; ids exist only at the border.

On disk a collection is a folder: ``corpus.arrow`` and ``queries.arrow`` (id, title, text, metadata as JSON, key, length
and, for documents, same), ``qrels.arrow`` (split, query, doc, grade), ``given.arrow`` (split, query, doc) where the
source came with negatives, ``aliases.arrow`` (id, row) where queries were merged, and ``collection.json``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foils.core import noise
from foils.core.cache import cache_root
from foils.core.errors import DataError
from foils.core.links import Links
from foils.core.pairs import Pairs
from foils.core.ragged import expand
from foils.core.text import did_you_mean
from foils.core.texts import Texts, mapped

__all__ = ["FORMAT", "HEADER", "Collection", "Texts", "family", "strongest"]

FORMAT = 1
HEADER = "collection.json"
SHARD = "shard.json"  # header of a folder of texts that were written for a collection
WRITTEN = "written"  # the split of queries that were written, not asked


class _Part(NamedTuple):
    """A split of a view: these queries of a split on disk (all of them for None)."""

    base: str
    rows: NDArray[np.int32] | None


def family(split: str) -> str:
    """What a split is for: ``train_sparse`` and ``train`` are views of the same queries, ``validation`` is ``dev``.

    Queries that were written (`WRITTEN`) are for training.

    >>> family("train_sparse"), family("Valid.2024"), family("written")
    ('train', 'dev', 'train')
    """
    first = split.replace("-", "_").replace(".", "_").split("_")[0].casefold()
    if split == WRITTEN:
        return "train"
    return "dev" if first in ("val", "valid", "validation") else first


def strongest(query: NDArray[Any], doc: NDArray[Any], grade: NDArray[Any]) -> NDArray[np.int64]:
    """Rows that keep one of each (query, doc), the highest grade; ordered by query, then doc."""
    order = np.lexsort((-grade, doc, query))
    repeated = np.zeros(len(order), bool)
    repeated[1:] = (np.diff(query[order]) == 0) & (np.diff(doc[order]) == 0)
    return order[~repeated]


class Collection:
    """A test collection in TREC's sense, memory-mapped. Made by `foils.load`; see `open` for a converted folder.

    Attributes:
        path: the folder.
        name: short name, from the source.
        corpus: the documents.
        queries: the queries; texts that are the same when normalised are one query.
        report: what was found and done on import, with counts.
        fingerprint: of everything in it: texts, ids, metadata, qrels, given negatives (and the splits of a view).
    """

    def __init__(self, path: Path, parts: Mapping[str, tuple[str, NDArray[np.int32] | None]] | None = None) -> None:
        self.path = path
        header = self._header = read_header(path, HEADER)
        aliases = path / "aliases.arrow"
        self.name: str = header["name"]
        self.corpus = Texts(path / "corpus.arrow", header["corpus"])
        self.queries = Texts(path / "queries.arrow", header["queries"], aliases if aliases.exists() else None)
        self.report: dict[str, Any] = header["report"]
        self._divide(header["splits"], parts)

    def _divide(self, splits: Iterable[str], parts: Mapping[str, tuple[str, NDArray[np.int32] | None]] | None) -> None:
        """Remember the splits: those on disk, or those of a view."""
        self._is_view = parts is not None
        self._parts = {s: _Part(*p) for s, p in (parts or {s: (s, None) for s in splits}).items()}
        self._cached: dict[tuple[str, str], Pairs] = {}

    @classmethod
    def open(cls, path: str | Path) -> Collection:
        """Open a converted collection, or a shard of written texts, without reading its texts.

        Raises:
            DataError: the folder is neither, or of another format.
        """
        folder = Path(path)
        if (folder / SHARD).is_file():
            from foils.core.shards import Shard  # which is a collection

            return Shard(folder)
        return Collection(folder)

    def __reduce__(self) -> tuple[Callable[..., Collection], tuple[Any, ...]]:
        return type(self), (self.path, dict(self._parts) if self._is_view else None)

    def __repr__(self) -> str:
        sizes = f"{len(self.corpus):,} documents, {len(self.queries):,} queries"
        return f"Collection({self.name!r}: {sizes}; {', '.join(self.splits)})"

    @property
    def base(self) -> Collection:
        """What is searched and evaluated on: the collection without what was written for it; itself where nothing was.

        Rows of the base are the same rows here: what was written follows after them.
        """
        return self

    @property
    def written(self) -> Links:
        """Which texts were written for which queries; none here."""
        return Links.nothing()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self._parts)

    @property
    def same(self) -> NDArray[np.int32]:
        """For each document, the first row with the same normalised text, int32 (documents,)."""
        return self.corpus.same

    @cached_property
    def copies(self) -> int:
        """How many documents repeat the normalised text of an earlier one."""
        return int((self.same != np.arange(len(self.same))).sum())

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest of everything in the collection; another one for a view with other splits."""
        if not self._is_view:
            return str(self._header["fingerprint"])
        digest = hashlib.blake2b(self._header["fingerprint"].encode(), digest_size=16)
        for split, part in self._parts.items():
            digest.update(f"\0{split}\0{part.base}\0".encode())
            digest.update(b"all" if part.rows is None else part.rows.astype("<i4").tobytes())
        return digest.hexdigest()

    def qrels(self, split: str) -> Pairs:
        """The judgements of a split as they were given, sorted by query, then document.

        Label 1 where the grade is above 0, else 0; ``scores['grade']`` is the grade.

        Raises:
            DataError: there is no such split.
        """
        return self._once("qrels", split, lambda: self._read("qrels", split))

    def positives(self, split: str) -> Pairs:
        """The positives of a split, closed over documents with the same normalised text; label 1, with their grade."""
        return self._once("positives", split, lambda: self.closed(self._read("positives", split)))

    def given(self, split: str) -> Pairs:
        """The negatives that the source itself gave for the queries of a split; label 0. Empty if it gave none.

        Known positives are not among them, in any split: ``report['given_negatives_that_are_positives']`` counts those.
        """
        return self._once("given", split, lambda: self._read("given", split))

    def query_rows(self, split: str) -> NDArray[np.int32]:
        """Queries with at least one positive in the split, ascending, int32 (queries,)."""
        return self.positives(split).queries

    @property
    def unjudged(self) -> NDArray[np.int32]:
        """Queries without a positive in any split, ascending, int32."""
        judged = [self.query_rows(split) for split in self.splits]
        return np.setdiff1d(np.arange(len(self.queries), dtype=np.int32), np.concatenate(judged))

    def leaks(self, a: str, b: str) -> NDArray[np.int32]:
        """Queries with a positive in both splits, int32: the same normalised text in train and test is a leak."""
        return np.intersect1d(self.query_rows(a), self.query_rows(b))

    def held_out(self, split: str) -> tuple[str, ...]:
        """The splits whose queries must stay unseen when ``split`` is worked on: all but its own family and training's.

        Raises:
            DataError: there is no such split.
        """
        self._part(split)
        return tuple(other for other in self.splits if family(other) not in ("train", family(split)))

    def closed(self, pairs: Pairs) -> Pairs:
        """Add to graded pairs all documents whose normalised text is that of a document in them, with its grade.

        Args:
            pairs: with a score column ``grade``; of the rows for one (query, doc) the highest grade stays.
        """
        order, starts, counts = self._linked
        leader = self.same[pairs.doc]
        size = counts[leader]
        if len(size) and size.max() > 1:
            row, place = expand(starts[leader], size)
            query, grade, label = pairs.query[row], pairs.scores["grade"][row], pairs.label[row]
            doc = order[place]
            keep = strongest(query, doc, grade)
            return Pairs.build(query[keep], doc[keep], label[keep], scores={"grade": grade[keep]})
        return pairs

    def holdout(self, split: str, share: float, seed: int = 0) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Divide the queries of a split by a hash of their ids.

        Args:
            split: name of a split.
            share: expected share of the second part, in [0, 1].
            seed: another seed, another division.

        Returns:
            Rows of the queries that stay and of those held out, both ascending, int32.
        """
        rows = self.query_rows(split)
        draw = noise.uniform(seed, "holdout", self.queries.keys[rows], np.zeros(len(rows), np.uint64))
        return rows[draw >= share], rows[draw < share]

    def subset(self, splits: Mapping[str, tuple[str, ArrayLike]]) -> Collection:
        """The same documents and queries (rows stay what they are) with other splits.

        Args:
            splits: for each new split, a split of this collection and the query rows to take from it.

        Raises:
            DataError: there is no such split.

        ``train, dev = data.holdout("train", 0.1); data.subset({"train": ("train", train), "dev": ("train", dev)})``
        """
        parts: dict[str, tuple[str, NDArray[np.int32] | None]] = {}
        for name, (base, rows) in splits.items():
            part = self._part(base)
            chosen = np.unique(np.asarray(rows, dtype=np.int32))
            parts[name] = (part.base, chosen if part.rows is None else np.intersect1d(chosen, part.rows))
        return type(self)(self.path, parts)

    @cached_property
    def _linked(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Documents ordered by ``same``, where each first row's group starts in that order, and its size."""
        counts = np.bincount(self.same, minlength=len(self.corpus)).astype(np.int64)
        return np.argsort(self.same, kind="stable"), np.cumsum(counts) - counts, counts

    def _part(self, split: str) -> _Part:
        if split not in self._parts:
            have = ", ".join(repr(name) for name in self.splits) or "none"
            guess = did_you_mean(split, self.splits)
            raise DataError(f"no split {split!r} in {self.name!r}; there is: {have}.{guess}")
        return self._parts[split]

    def _once(self, kind: str, split: str, make: Callable[[], Pairs]) -> Pairs:
        if (kind, split) not in self._cached:
            self._cached[kind, split] = make()
        return self._cached[kind, split]

    def _read(self, kind: str, split: str) -> Pairs:
        part = self._part(split)
        if kind == "given":
            pairs = self._read_given(part.base)
        else:
            start, stop = self._header["splits"][part.base]
            table = mapped(self.path / "qrels.arrow").slice(start, stop - start)
            query, doc, grade = (table.column(name).to_numpy() for name in ("query", "doc", "grade"))
            pairs = Pairs.build(query, doc, grade > 0, scores={"grade": grade})
            if kind == "positives":
                pairs = pairs.take(pairs.label == 1)
        return pairs if part.rows is None else pairs.take(np.isin(pairs.query, part.rows))

    def _read_given(self, base: str) -> Pairs:
        if base not in self._header["given"]:
            return Pairs.empty()
        start, stop = self._header["given"][base]
        table = mapped(self.path / "given.arrow").slice(start, stop - start)
        return Pairs.build(table.column("query").to_numpy(), table.column("doc").to_numpy())


def read_header(path: Path, name: str) -> dict[str, Any]:
    """What a folder says of itself.

    Args:
        path: the folder.
        name: of the file: ``HEADER``, or ``SHARD``.

    Raises:
        DataError: there is no such file, or it is not ours, or of another format.
    """
    remedy = "Give foils.load the source that it was made from, or the folder of a BEIR collection."
    try:
        header: dict[str, Any] = json.loads((path / name).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"not a converted collection: it has no {name}.", file=path, remedy=remedy) from None
    except ValueError as error:
        again = "Remove the folder and load again."
        raise DataError(f"not JSON ({error}).", file=path / name, remedy=again) from None
    if header.get("format") != FORMAT:
        message = f"format {header.get('format')!r}; this version of foils reads format {FORMAT}."
        raise DataError(message, file=path / name, remedy=remedy)
    return header


def find(fingerprint: str, name: str) -> Collection:
    """The converted collection with that fingerprint, from the cache.

    Args:
        fingerprint: see `Collection.fingerprint`.
        name: for the message if it is not there.

    Shards of written texts stay where they were written; the cache knows where that is.

    Raises:
        DataError: it is not in the cache (any more).
    """
    for header in sorted((cache_root() / "collections").glob(f"*/{HEADER}")):
        if json.loads(header.read_text(encoding="utf-8")).get("fingerprint") == fingerprint:
            return Collection.open(header.parent)
    known = cache_root() / "shards" / fingerprint
    if known.is_file():
        place = Path(known.read_text(encoding="utf-8"))
        if (place / SHARD).is_file() and (found := Collection.open(place)).fingerprint == fingerprint:
            return found
    raise DataError(f"the collection {name!r} is not in the cache.", remedy="Name it with --data.")
