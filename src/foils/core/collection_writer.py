"""Write a collection folder from blocks of texts and judgements, and count what was found on the way."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from foils.core.collection import FORMAT, HEADER, Collection, family, strongest
from foils.core.errors import DataError
from foils.core.packing import pack
from foils.core.text import FirstSeen
from foils.core.texts import mapped
from foils.core.texts_writer import DocumentWriter, QueryWriter

Triple = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]

EXAMPLES = 5
COUNTS = (
    "repeated_query_rows",  # rows of pairs whose query (normalised, without an id) was on an earlier row
    "repeated_qrels",  # judgements of a (query, document) that was judged already; the highest grade stays
    "unknown_qrels",  # judgements of unknown ids that were dropped
    "given_negatives_that_are_positives",  # left out of the given negatives
    "documents_added_to_the_corpus",  # quoted in pairs, but not in the separate corpus
)


class CollectionWriter:
    """A collection in the making. Add documents and queries first, then judgements by row, then `finish`.

    Args:
        folder: empty folder to write into.
        by_body: see `DocumentWriter`.

    Attributes:
        counts: what readers dropped or added, by the names in ``COUNTS``; goes into the report.
    """

    def __init__(self, folder: Path, by_body: FirstSeen | None = None) -> None:
        self.folder = folder
        self.documents = DocumentWriter(folder / "corpus.arrow", by_body)
        self.queries = QueryWriter(folder / "queries.arrow")
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
        self._judged: dict[str, list[Triple]] = {}
        self._given: dict[str, list[Triple]] = {}

    def judge(self, split: str, query: ArrayLike, doc: ArrayLike, grade: ArrayLike) -> None:
        """Add judgements of a split: rows of queries and documents, and their grades; above 0 is relevant."""
        self._judged.setdefault(split, []).append(_triple(query, doc, grade))

    def give(self, split: str, query: ArrayLike, doc: ArrayLike) -> None:
        """Add negatives that the source gives for queries of a split."""
        self._given.setdefault(split, []).append(_triple(query, doc, np.zeros(np.shape(query))))

    def finish(self, name: str, source: str) -> None:
        """Write everything that is left.

        Args:
            name: short name of the collection.
            source: what was read; errors name it.

        Raises:
            DataError: no documents, no queries, or no query with a positive.
        """
        for side, rows in (("documents", self.documents.rows), ("queries", self.queries.rows)):
            if not rows:
                remedy = "Is it the right file, and complete?"
                raise DataError(f"there are no {side} in it.", file=source, remedy=remedy)
        corpus, queries = self.documents.close(), self.queries.close()
        self.queries.write_aliases(self.folder / "aliases.arrow")
        judged = {split: self._distinct(parts) for split, parts in self._judged.items()}
        if not any((grade > 0).any() for _, _, grade in judged.values()):
            remedy = "Give qrels with grades above 0, or pairs with positives."
            raise DataError("no query has a positive document.", file=source, remedy=remedy)
        given = self._without_positives(judged)
        splits = _write(self.folder / "qrels.arrow", judged)
        offered = _write(self.folder / "given.arrow", given) if given else {}
        digest = hashlib.blake2b(f"{corpus}{queries}{json.dumps([splits, offered])}".encode(), digest_size=16)
        digest.update((self.documents.metadata_fingerprint + self.queries.metadata_fingerprint).encode())
        for triple in (*judged.values(), *given.values()):
            for column in triple:
                digest.update(column.tobytes())
        report = self._report(judged, given)
        header = {
            "format": FORMAT,
            "name": name,
            "fingerprint": digest.hexdigest(),
            "corpus": corpus,
            "queries": queries,
            "splits": splits,
            "given": offered,
            "report": report,
        }
        self._save(header)
        report["leaks"] = _leaks(Collection.open(self.folder))
        self._save(header)

    def _save(self, header: dict[str, Any]) -> None:
        text = json.dumps(header, ensure_ascii=False, indent=1)
        (self.folder / HEADER).write_text(text + "\n", encoding="utf-8")

    def _distinct(self, parts: list[Triple]) -> Triple:
        query, doc, grade = (np.concatenate(column) for column in zip(*parts, strict=True))
        keep = strongest(query, doc, grade)
        self.counts["repeated_qrels"] += len(query) - len(keep)
        return query[keep], doc[keep], grade[keep]

    def _without_positives(self, judged: dict[str, Triple]) -> dict[str, Triple]:
        """The given negatives, once each, less those that are (or have the text of) a positive of their query."""
        if not self._given:
            return {}
        same: NDArray[np.int32] = mapped(self.folder / "corpus.arrow").column("same").to_numpy()

        def key(query: NDArray[np.int32], doc: NDArray[np.int32]) -> NDArray[np.int64]:
            return pack(query, same[doc])

        positive = np.unique(np.concatenate([key(q[g > 0], d[g > 0]) for q, d, g in judged.values()]))
        result = {}
        for split, parts in self._given.items():
            query, doc, grade = (np.concatenate(column) for column in zip(*parts, strict=True))
            rows = strongest(query, doc, grade)
            wrong = np.isin(key(query[rows], doc[rows]), positive)
            self.counts["given_negatives_that_are_positives"] += int(wrong.sum())
            rows = rows[~wrong]
            result[split] = (query[rows], doc[rows], grade[rows])
        return result

    def _report(self, judged: dict[str, Triple], given: dict[str, Triple]) -> dict[str, Any]:
        splits = {}
        with_positive = np.zeros(self.queries.rows, bool)
        for split, (query, _, grade) in judged.items():
            with_positive[query[grade > 0]] = True
            splits[split] = {
                "queries": len(np.unique(query[grade > 0])),
                "positives": int((grade > 0).sum()),
                "judged": len(query),
                "given_negatives": len(given[split][0]) if split in given else 0,
            }
        return {
            "documents": self.documents.rows,
            "queries": self.queries.rows,
            "splits": splits,
            "linked_documents": self.documents.linked,
            "empty_documents": self.documents.empty,
            "merged_queries": len(self.queries.aliases),
            "queries_without_positives": int((~with_positive).sum()),
            **self.counts,
        }


def _triple(query: ArrayLike, doc: ArrayLike, grade: ArrayLike) -> Triple:
    q: NDArray[np.int32] = np.asarray(query, dtype=np.int32)
    d: NDArray[np.int32] = np.asarray(doc, dtype=np.int32)
    g: NDArray[np.float32] = np.asarray(grade, dtype=np.float32)
    return q, d, g


def _write(path: Path, splits: dict[str, Triple]) -> dict[str, list[int]]:
    """Write the splits one after the other; returns the first and one past the last row of each."""
    schema = pa.schema([("split", pa.string()), ("query", pa.int32()), ("doc", pa.int32()), ("grade", pa.float32())])
    bounds, start = {}, 0
    with pa.ipc.new_file(str(path), schema) as file:
        for split, (query, doc, grade) in splits.items():
            name = pa.repeat(pa.scalar(split), len(query))
            arrays = [name, pa.array(query), pa.array(doc), pa.array(grade)]
            file.write_table(pa.table(arrays, schema=schema))
            bounds[split] = [start, start + len(query)]
            start += len(query)
    return bounds


def _leaks(data: Collection) -> list[dict[str, Any]]:
    leaks = []
    for a, b in itertools.combinations(data.splits, 2):
        if family(a) != family(b) and len(rows := data.leaks(a, b)):
            examples = data.queries.id_list(rows[:EXAMPLES])
            leaks.append({"splits": [a, b], "queries": len(rows), "examples": examples})
    return leaks
