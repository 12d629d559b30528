"""Which candidates are relevant, as somebody found out: labels or verdicts of an audit, or complete judgements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from foils.audit.judges.people import Labels as Sheet
from foils.core.collection import Collection
from foils.core.errors import DataError
from foils.core.packing import pack, unpack
from foils.core.pairs import Pairs

QRELS = "qrels:"
SAMPLE, SHEET = "sample.parquet", "labels.csv"
_COLUMNS = ("query_id", "doc_id", "stratum", "weight", "verdict")
_REMEDY = "foils audit NEG -o DIR makes DIR/labels.csv to fill in; foils audit NEG --judge … -o DIR asks a judge."

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Labels:
    """Labelled pairs, one row each, sorted by query, then document.

    Attributes:
        query: int32 (n,), rows in the collection.
        doc: int32 (n,).
        relevance: float64 (n,), 0 to 1: 1 relevant, so a false negative if it is mined; between them where annotators
            disagree or are unsure.
        weight: float64 (n,), above 0: how many candidates a labelled one stands for.
        complete: whether what is not listed of these queries was judged, too, and is irrelevant.
        name: what reports call it.
    """

    query: NDArray[np.int32]
    doc: NDArray[np.int32]
    relevance: NDArray[np.float64]
    weight: NDArray[np.float64]
    complete: bool
    name: str

    def on(self, pairs: Pairs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Relevance and weight of some pairs, float64 (n,) each; weight 0 for what nobody labelled."""
        at = Pairs.build(self.query, self.doc).find(pairs)
        known = at >= 0
        # `build` sorts by query, stably: the rows are in this order already.
        relevance, weight = np.zeros(len(pairs)), np.zeros(len(pairs))
        relevance[known], weight[known] = self.relevance[at[known]], self.weight[at[known]]
        if self.complete:
            weight[~known] = np.isin(pairs.query[~known], self.query)
        return relevance, weight


def labels_of(labels: str | Path, data: Collection) -> Labels:
    """Labels by name.

    ``qrels:SPLIT`` takes a split for completely judged: a document with a grade above 0 is relevant, any other is not.
    A folder is that of an audit: its labels.csv if anybody filled it in, else the judge's verdicts in sample.parquet. A
    CSV file is such a sheet (see `foils.audit.judges.people.Labels`), whose several labels of a pair become their
    mean. Where the sample of the audit stands beside it, what each row stands for comes from there, scaled by stratum
    for rows that have no label; without it all labels weigh the same.

    Raises:
        DataError: no such split or file; no label in it; what `Labels` and the sample refuse.
    """
    text = str(labels)
    if text.startswith(QRELS):
        known = data.positives(text.removeprefix(QRELS))
        ones = np.ones(len(known))
        return Labels(known.query, known.doc, ones, ones, complete=True, name=text)
    path = Path(labels)
    sheet = path / SHEET if path.is_dir() else path
    sample = sheet.with_name(SAMPLE)
    if sheet.is_file() and len(said := Sheet(sheet, data)):
        query, doc = said.pairs()
        share = said.judge(query, doc).probability.astype(np.float64)
        weight = _Sample(sample, data).weights(query, doc) if sample.is_file() else np.ones(len(query))
        return Labels(query, doc, share, weight, complete=False, name=text)
    if not path.is_dir():
        raise DataError("has no label." if path.exists() else "no such file.", file=path, remedy=_REMEDY)
    if not sample.is_file():
        raise DataError(f"is no folder of an audit: it has no {SAMPLE}.", file=path, remedy=_REMEDY)
    return _Sample(sample, data).verdicts(text)


class _Sample:
    """The sample of an audit: what each of its rows stands for, and the judge's verdict."""

    def __init__(self, path: Path, data: Collection) -> None:
        try:
            table = pq.read_table(path, columns=list(_COLUMNS))
        except (OSError, KeyError, pa.ArrowException) as error:
            raise DataError(f"is no sample of an audit ({error}).", file=path, remedy=_REMEDY) from None
        query_rows = data.queries.rows_of(table["query_id"].to_pylist())
        doc_rows = data.corpus.rows_of(table["doc_id"].to_pylist())
        if len(query_rows) and min(query_rows.min(), doc_rows.min()) < 0:
            remedy = "Give the collection that the audit was of."
            raise DataError(f"names queries or documents that are not in {data.name!r}.", file=path, remedy=remedy)
        self.path = path
        order = np.argsort(pack(query_rows, doc_rows), kind="stable")
        self.key = pack(query_rows, doc_rows)[order]
        self.stratum = table["stratum"].to_numpy()[order]
        self.weight = table["weight"].to_numpy().astype(np.float64)[order]
        self.verdict = table["verdict"].fill_null(-1).to_numpy()[order]

    def weights(self, query: NDArray[np.int32], doc: NDArray[np.int32]) -> Floats:
        """What each labelled row stands for: those of a stratum together for all of it; 1 for rows of no sample."""
        at = np.minimum(np.searchsorted(self.key, pack(query, doc)), max(0, len(self.key) - 1))
        drawn = self.key[at] == pack(query, doc) if len(self.key) else np.zeros(len(query), bool)
        strata, place = np.unique(self.stratum, return_inverse=True)
        total = np.bincount(place, self.weight, minlength=len(strata))
        labelled = np.bincount(place[at[drawn]], self.weight[at[drawn]], minlength=len(strata))
        scale = total / np.maximum(labelled, 1e-300)
        found = np.ones(len(query))
        found[drawn] = self.weight[at[drawn]] * scale[place[at[drawn]]]
        return found

    def verdicts(self, name: str) -> Labels:
        """The rows that have a verdict."""
        known = self.verdict >= 0
        if not known.any():
            raise DataError("has no verdict, and the sheet beside it no label.", file=self.path, remedy=_REMEDY)
        query, doc = unpack(self.key[known])
        share = self.verdict[known].astype(np.float64)
        return Labels(query, doc, share, self.weights(query, doc), complete=False, name=name)
