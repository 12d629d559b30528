"""The columns of a part of mined negatives: external ids, label, sources, ranks, scores, and why dropped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from foils.core import segments
from foils.core.collection import Collection
from foils.core.pairs import Pairs
from foils.core.texts import Texts


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
    columns: dict[str, pa.Array] = {
        "query": _ids(data.queries, pairs.query),
        "doc": _ids(data.corpus, pairs.doc),
        "label": pa.array(pairs.label),
        "source": _sources(pairs, known.find(pairs) >= 0),
        "dropped": _reasons(pairs.dropped, steps),
    }
    for name in sorted(pairs.ranks):
        columns[f"rank.{name}"] = pa.array(pairs.ranks[name], mask=pairs.ranks[name] == 0)
    for name in sorted(pairs.scores):
        columns[f"score.{name}"] = pa.array(pairs.scores[name], mask=np.isnan(pairs.scores[name]))
    return pa.table(columns)


def _ids(texts: Texts, rows: NDArray[np.int32]) -> pa.DictionaryArray:
    distinct, codes = segments.distinct(rows)
    return pa.DictionaryArray.from_arrays(pa.array(codes), texts.id_array(distinct))


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
