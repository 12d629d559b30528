"""`Shard`: a collection and, after it, texts that were written for it.

On disk a folder: ``shard.json``, ``corpus.arrow`` and ``queries.arrow`` (the written texts, with the columns of a
collection's own), ``qrels.arrow`` (of the written queries), ``written.arrow`` (which document was written for which
query, see `foils.core.links.Links`) and ``drafts.parquet`` (all that was proposed). The collection that it was
written for, which may be a shard itself, is not copied: its rows are the same rows here, and what was written follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foils.core.atomic import replacing
from foils.core.cache import cache_root
from foils.core.collection import HEADER, SHARD, WRITTEN, Collection, find, read_header
from foils.core.errors import DataError
from foils.core.links import Links
from foils.core.pairs import Pairs, union
from foils.core.texts import mapped

KIND = "foils shard"
_FILES = ("corpus.arrow", "queries.arrow", "qrels.arrow", "written.arrow")


class Shard(Collection):
    """A collection together with what was written for it: see `Collection`, and `foils write`.

    Attributes:
        under: what it was written for: a collection, or another shard.
    """

    def __init__(self, path: Path, parts: Mapping[str, tuple[str, NDArray[np.int32] | None]] | None = None) -> None:
        header = self._header = read_header(path, SHARD)
        self.path = path.absolute()
        for name in _FILES:
            if not (path / name).is_file():
                raise DataError(f"the shard is incomplete: it has no {name}.", file=path, remedy="Write it again.")
        self.name: str = header["name"]
        self.under = _under(header["base"], path)
        self.corpus = self.under.corpus.followed(self.path / "corpus.arrow", header["corpus"])
        self.queries = self.under.queries.followed(self.path / "queries.arrow", header["queries"])
        more = {f"written_{side}": header["report"][side] for side in ("documents", "queries")}
        below = self.under.report
        self.report = {**below, **{name: below.get(name, 0) + count for name, count in more.items()}}
        own = (WRITTEN,) if header["written_queries"] else ()
        self._divide(dict.fromkeys((*self.under.splits, *own)), parts)

    @cached_property
    def base(self) -> Collection:
        """What is searched and evaluated on: the collection without what was written, with the splits of this view."""
        base = self.under.base
        if not self._is_view:
            return base
        parts = {name: (part.base, part.rows) for name, part in self._parts.items() if part.base in base.splits}
        return type(base)(base.path, parts)

    @cached_property
    def written(self) -> Links:
        """Which documents were written for which queries, here and below."""
        return self.under.written + Links.read(self.path / "written.arrow")

    def _read(self, kind: str, split: str) -> Pairs:
        part = self._part(split)
        below = part.base in self.under.splits
        pairs = self.under._read(kind, part.base) if below else Pairs.empty()
        if part.base == WRITTEN and kind != "given":
            table = mapped(self.path / "qrels.arrow")
            query, doc = (table.column(name).to_numpy() for name in ("query", "doc"))
            grade = np.ones(len(query), np.float32)
            own = Pairs.build(query, doc, grade > 0, scores={"grade": grade})
            pairs = union([pairs, own]) if below else own
        return pairs if part.rows is None else pairs.take(np.isin(pairs.query, part.rows))


def _under(base: Mapping[str, str], shard: Path) -> Collection:
    """The collection that a shard was written for: where it was, else from the cache."""
    place = Path(base["path"])
    if any((place / name).is_file() for name in (HEADER, SHARD)):
        found = Collection.open(place)
        if found.fingerprint == base["fingerprint"]:
            return found
    try:
        return find(base["fingerprint"], base["name"])
    except DataError:
        raise DataError(
            f"the collection {base['name']!r} that it was written for is neither at {place} nor in the cache.",
            file=shard,
            remedy="Load that collection again, such as with foils inspect; its content must be what it was.",
        ) from None


def remember(shard: Collection) -> None:
    """Let `foils.core.collection.find` find a shard by its fingerprint, wherever it is."""
    with replacing(cache_root() / "shards" / shard.fingerprint) as partial:
        partial.write_text(str(shard.path.absolute()), encoding="utf-8")
