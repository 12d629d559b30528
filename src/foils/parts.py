"""The columns of a part of mined negatives: external ids, label, sources, ranks, scores, and why dropped."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from foils.core import segments
from foils.core.collection import Collection
from foils.core.pairs import Pairs
from foils.core.texts import Texts

SCORE, RANK = "score.", "rank."  # what the columns of scores and of ranks begin with
_ROWS = "foils.rows"  # key of the documents' rows in a part's metadata


@dataclass(frozen=True)
class Step:
    """One stage of the pipeline as the manifest remembers it."""

    number: int
    family: str
    text: str
    judges: bool = False

    @property
    def code(self) -> int:
        """What ``Pairs.dropped`` says of rows that this step took out."""
        return self.number if self.judges else -self.number

    @property
    def reason(self) -> str:
        """What the column ``dropped`` says of them."""
        return f"{self.number}: {self.text}"


def part_table(pairs: Pairs, known: Pairs, data: Collection, steps: list[Step]) -> pa.Table:
    """Pairs as the columns of a part: external ids, label, sources, ranks, scores, and why dropped.

    Args:
        pairs: rows of the part.
        known: the positives that the qrels gave.
        data: the collection, for the ids.
        steps: the stages, for the reasons.
    """
    docs, codes = segments.distinct(pairs.doc)
    columns: dict[str, pa.Array] = {
        "query": _ids(data.queries, *segments.distinct(pairs.query)),
        "doc": _ids(data.corpus, docs, codes),
        "label": pa.array(pairs.label),
        "source": _sources(pairs, known.find(pairs) >= 0),
        "dropped": _reasons(pairs.dropped, steps),
    }
    for name in sorted(pairs.ranks):
        columns[RANK + name] = pa.array(pairs.ranks[name], mask=pairs.ranks[name] == 0)
    for name in sorted(pairs.scores):
        columns[SCORE + name] = pa.array(pairs.scores[name], mask=np.isnan(pairs.scores[name]))
    return pa.table(columns).replace_schema_metadata({_ROWS: _packed(docs)})


def named(prefix: str, columns: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Name and column of each score, or of each rank."""
    return ((column.removeprefix(prefix), column) for column in columns if column.startswith(prefix))


def _ids(texts: Texts, distinct: NDArray[np.int64], codes: NDArray[np.int32]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes), texts.id_array(distinct))


def doc_rows(table: pa.Table, texts: Texts) -> NDArray[np.int32]:
    """The rows of the documents in the dictionary of a part's column ``doc``, -1 where an id is unknown.

    A part remembers the rows it was made from. They are tried first: to compare ids is many times faster than to look
    them up, and if one differs, all are looked up.
    """
    ids = table["doc"].combine_chunks().dictionary
    rows = _unpacked((table.schema.metadata or {}).get(_ROWS.encode()))
    if len(ids) == len(rows) and (not len(rows) or int(rows[-1]) < len(texts)) and texts.id_array(rows).equals(ids):
        return rows
    return texts.rows_of(ids.to_pylist())


def _packed(ascending: NDArray[np.int64]) -> str:
    gaps = np.diff(ascending, prepend=0).astype("<u4")
    planes = np.ascontiguousarray(gaps.view(np.uint8).reshape(-1, 4).T)  # high bytes, mostly 0, side by side
    return base64.b64encode(zlib.compress(planes.tobytes(), 1)).decode()


def _unpacked(text: bytes | None) -> NDArray[np.int32]:
    if text is None:
        return np.zeros(0, np.int32)
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(4, -1)
    gaps = np.ascontiguousarray(planes.T).view("<u4").ravel()
    return np.cumsum(gaps, dtype=np.int64).astype(np.int32)


def _sources(pairs: Pairs, known: NDArray[np.bool_]) -> pa.DictionaryArray:
    # Sources are few, so their combinations are bits of a small number.
    names = ["qrels", *sorted(pairs.ranks)]
    bits = known.astype(np.int64)
    for place, name in enumerate(names[1:], start=1):
        bits |= (pairs.ranks[name] > 0).astype(np.int64) << place
    distinct, codes = segments.distinct(bits)
    words = ["+".join(name for place, name in enumerate(names) if value >> place & 1) for value in distinct]
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(words, pa.string()))


def _reasons(dropped: NDArray[np.int16], steps: list[Step]) -> pa.DictionaryArray:
    numbers, codes = segments.distinct(np.abs(dropped))
    words = ["" if number == 0 else steps[number - 1].reason for number in numbers.tolist()]
    alive = int(0 in numbers)
    indices = pa.array(codes - np.int32(alive), mask=dropped == 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(words[alive:], pa.string()))
