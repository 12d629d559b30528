"""Which candidates are relevant, as somebody found out: labels or verdicts of an audit, or complete judgements."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from foils.audit.drawn import shares
from foils.audit.judges.people import Labels as Sheet
from foils.audit.judges.protocol import UNKNOWN, Verdicts
from foils.core.collection import Collection
from foils.core.draws import Draw
from foils.core.errors import DataError
from foils.core.packing import pack, unpack
from foils.core.pairs import Pairs

QRELS = "qrels:"
SAMPLE, SHEET, AUDIT = "sample.parquet", "labels.csv", "audit.json"
_COLUMNS = ("query_id", "doc_id", "stratum", "weight", "verdict", "probability", "step")
_REMEDY = "foils audit NEG -o DIR makes DIR/labels.csv to fill in; foils audit NEG --judge … -o DIR asks a judge."

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Drawn:
    """How an audit drew what is labelled.

    Attributes:
        draw: of its strata those that the sample has; parts are the steps that took candidates out.
        steps: the step of each part, 0 for negatives.
        stratum: place of each label's stratum in ``draw``, int64 (labels,); -1 for one of no stratum.
    """

    draw: Draw
    steps: tuple[int, ...]
    stratum: NDArray[np.int64]


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
        judge: who said so, as JSON values: "name", "kind" (see `foils.audit.judges.protocol.JudgeKind`; "unknown"), and
            "calibrated" where the judge says whether its probabilities are.
        missing: share of the audited candidates whose stratum has no label.
        drawn: how they were drawn, where they are of the sample of an audit.
    """

    query: NDArray[np.int32]
    doc: NDArray[np.int32]
    relevance: NDArray[np.float64]
    weight: NDArray[np.float64]
    complete: bool
    name: str
    judge: Mapping[str, Any] = field(default_factory=lambda: {"name": "", "kind": "unknown"})
    missing: float = 0.0
    drawn: Drawn | None = None

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
    A folder is that of an audit: its labels.csv if anybody filled it in, else what its judge said in sample.parquet, as
    the audit counts it: shares of people and of a consensus, verdicts of any other judge, whom audit.json names. A
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
        return Labels(known.query, known.doc, ones, ones, True, text, {"name": text, "kind": "qrels"})
    path = Path(labels)
    sheet = path / SHEET if path.is_dir() else path
    sample = sheet.with_name(SAMPLE)
    if sheet.is_file() and len(said := Sheet(sheet, data)):
        query, doc = said.pairs()
        share = said.judge(query, doc).probability.astype(np.float64)
        who = {"name": said.name, "kind": said.kind}
        if not sample.is_file():
            return Labels(query, doc, share, np.ones(len(query)), False, text, who)
        return _Sample(sample, data).labels(query, doc, share, text, who)
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
        self.step = table["step"].to_numpy().astype(np.int64)[order]
        verdict = table["verdict"].fill_null(UNKNOWN).to_numpy()[order]
        self.said = Verdicts.of(verdict, table["probability"].fill_null(np.nan).to_numpy()[order])

    def _places(self, query: NDArray[np.int32], doc: NDArray[np.int32]) -> NDArray[np.int64]:
        """Which rows of the sample these pairs are, -1 for none."""
        at = np.minimum(np.searchsorted(self.key, pack(query, doc)), max(0, len(self.key) - 1))
        drawn = self.key[at] == pack(query, doc) if len(self.key) else np.zeros(len(query), bool)
        return np.where(drawn, at, -1)

    def missing(self, query: NDArray[np.int32], doc: NDArray[np.int32]) -> float:
        """Share of what the sample stands for whose stratum has none of these labels."""
        at = self._places(query, doc)
        lost = ~np.isin(self.stratum, self.stratum[at[at >= 0]])
        return float(self.weight[lost].sum() / self.weight.sum()) if len(lost) else 0.0

    def weights(self, query: NDArray[np.int32], doc: NDArray[np.int32]) -> Floats:
        """What each labelled row stands for: those of a stratum together for all of it; 1 for rows of no sample."""
        at = self._places(query, doc)
        drawn = at >= 0
        strata, place = np.unique(self.stratum, return_inverse=True)
        total = np.bincount(place, self.weight, minlength=len(strata))
        labelled = np.bincount(place[at[drawn]], self.weight[at[drawn]], minlength=len(strata))
        scale = total / np.maximum(labelled, 1e-300)
        found = np.ones(len(query))
        found[drawn] = self.weight[at[drawn]] * scale[place[at[drawn]]]
        return found

    def verdicts(self, name: str) -> Labels:
        """The rows that have a verdict."""
        known = self.said.judged
        if not known.any():
            raise DataError("has no verdict, and the sheet beside it no label.", file=self.path, remedy=_REMEDY)
        query, doc = unpack(self.key[known])
        who = _judge(self.path.with_name(AUDIT))
        share = shares(self.said, who["kind"])[known]
        return self.labels(query, doc, share, name, who)

    def labels(
        self, query: NDArray[np.int32], doc: NDArray[np.int32], share: Floats, name: str, who: Mapping[str, Any]
    ) -> Labels:
        """Labels of these pairs, with what each stands for and how they were drawn."""
        how = self.drawn(query, doc)
        return Labels(query, doc, share, self.weights(query, doc), False, name, who, self.missing(query, doc), how)

    def drawn(self, query: NDArray[np.int32], doc: NDArray[np.int32]) -> Drawn:
        """The strata of the sample, and those of these pairs."""
        at = self._places(query, doc)
        strata, first, place = np.unique(self.stratum, return_index=True, return_inverse=True)
        size = np.rint(np.bincount(place, self.weight, minlength=len(strata))).astype(np.int64)
        count = np.bincount(place[at[at >= 0]], minlength=len(strata)).astype(np.int64)
        steps, part = np.unique(self.step[first], return_inverse=True)
        draw = Draw(size, count, part.astype(np.int64))
        return Drawn(draw, tuple(steps.tolist()), np.where(at >= 0, place[np.maximum(at, 0)], -1))


def _judge(path: Path) -> dict[str, Any]:
    """Who judged, by the report of the audit."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))["judge"] or {}
        return {
            "name": str(told.get("name", "")),
            "kind": str(told.get("kind", "unknown")),
            **({"calibrated": bool(told["calibrated"])} if "calibrated" in told else {}),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {"name": "", "kind": "unknown"}
