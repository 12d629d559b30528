"""The qrels of the collection, or of a file, as a judge."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.audit.judges.protocol import IRRELEVANT, RELEVANT, UNKNOWN, JudgeKind, Rows, Verdicts
from foils.core.collection import Collection, strongest
from foils.core.errors import DataError
from foils.core.pairs import Pairs
from foils.core.trec import Unknown, qrels_lines


class Qrels:
    """Judges by judgements that are there: of the collection's splits, or of a qrels file.

    A document is relevant if its grade is above 0; documents with the same normalised text are judged alike. What the
    qrels do not list is *unknown*, a hole, unless they are said to be ``complete``: then it is irrelevant. Most qrels
    list relevant documents only, and are no judge of anything else.

    Args:
        data: the collection.
        names: splits, or one qrels file (``query-id, corpus-id, score`` or TREC's four columns); all splits if empty.
        complete: whether unlisted documents were found irrelevant. Such as Cranfield's, where all were looked at.

    Raises:
        DataError: no such split or file, a file that names no query or document of the collection, or incomplete qrels
            that call nothing irrelevant.
    """

    kind: JudgeKind = "qrels"

    def __init__(self, data: Collection, names: str = "", *, complete: bool = False) -> None:
        self.complete = complete
        parts = names.split(",") if names else list(data.splits)
        self.name = "qrels" + (f":{names}" if names else "")
        found = [self._read(data, part) for part in parts]
        self._listed = data.closed(_joined(found))
        self._asked = np.unique(self._listed.query)
        grades = self._listed.scores["grade"]
        self._counts = {"relevant": int((grades > 0).sum()), "irrelevant": int((grades <= 0).sum())}
        if not complete and not self._counts["irrelevant"]:
            raise DataError(
                f"the {self.name} of {data.name!r} call {self._counts['relevant']:,} documents relevant and none "
                "irrelevant, so all others are holes and no rate can be told.",
                remedy="If all other documents were looked at, pass --complete (Python: Qrels(complete=True)); else "
                "take another judge.",
            )

    @staticmethod
    def _read(data: Collection, name: str) -> Pairs:
        path = Path(name)
        if name not in data.splits and path.is_file():
            return _from_file(path, data)
        return data.qrels(name)

    @property
    def fingerprint(self) -> str:
        """Of the judgements."""
        digest = hashlib.blake2b(f"qrels/{self.complete}".encode(), digest_size=16)
        digest.update(self._listed.key.astype("<i8").tobytes())
        digest.update(self._listed.scores["grade"].astype("<f4").tobytes())
        return digest.hexdigest()

    def judge(self, query: Rows, doc: Rows) -> Verdicts:
        """What the qrels say; unknown for queries that they have no judgement of at all, even if complete."""
        wanted = Pairs(query, doc, np.zeros(len(query), np.int8))
        at = self._listed.find(wanted)
        rest = IRRELEVANT if self.complete else UNKNOWN
        said = np.full(len(query), rest, np.int8)
        said[~np.isin(query, self._asked)] = UNKNOWN
        grade: NDArray[np.float32] = self._listed.scores["grade"]
        said[at >= 0] = np.where(grade[at[at >= 0]] > 0, RELEVANT, IRRELEVANT)
        return Verdicts.of(said)

    def facts(self) -> Mapping[str, Any]:
        """How many judgements there are, and whether the rest counts as irrelevant."""
        return {"complete": self.complete, **self._counts}


def _from_file(path: Path, data: Collection) -> Pairs:
    query: list[NDArray[np.int32]] = []
    doc: list[NDArray[np.int32]] = []
    grade: list[NDArray[np.float32]] = []
    unknown = Unknown(path, "drop")
    for lines in qrels_lines(path):
        q, d = data.queries.rows_of(lines.query), data.corpus.rows_of(lines.doc)
        known = unknown.split(lines, q, d)
        query.append(q[known])
        doc.append(d[known])
        grade.append(np.asarray(lines.value, np.float32)[known])
    unknown.settle()
    if not query:
        raise DataError("has no judgements.", file=path, remedy="Write query-id, corpus-id and score, one pair a line.")
    return _graded(np.concatenate(query), np.concatenate(doc), np.concatenate(grade))


def _joined(parts: list[Pairs]) -> Pairs:
    columns = [(part.query, part.doc, part.scores["grade"]) for part in parts]
    query, doc, grade = (np.concatenate(column) for column in zip(*columns, strict=True))
    return _graded(query, doc, grade)


def _graded(query: NDArray[np.int32], doc: NDArray[np.int32], grade: NDArray[np.float32]) -> Pairs:
    keep = strongest(query, doc, grade)
    return Pairs.build(query[keep], doc[keep], grade[keep] > 0, scores={"grade": grade[keep]})
