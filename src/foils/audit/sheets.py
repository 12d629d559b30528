"""The files of an audit: the sheet that people fill in, and the sample with its verdicts."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from foils.audit.drawn import Drawn, Judged
from foils.audit.judges.protocol import Verdicts
from foils.audit.judges.reading import NEEDED, read_rows
from foils.audit.population import Population
from foils.audit.texts import short, told
from foils.core.atomic import replacing
from foils.core.collection import Collection
from foils.core.errors import DataError

COLUMNS = ("query_id", "doc_id", "label", "annotator", "note", "query", "positive", "document")
_GIVEN = ("query_id", "doc_id", "query", "positive", "document")  # not written by people
_LONGEST = 4000  # characters of a text in the sheet

Ints = NDArray[np.int64]


def write_sheet(path: Path, found: Population, data: Collection, at: Ints) -> None:
    """Write the sample as a sheet to label, without scores, ranks or verdicts, which would sway whoever labels it.

    Rows stand in the order of the draw: whoever labels only the first of them has labelled a sample as well. Rows of a
    sheet that is there already in which somebody has written anything stay as they are, with columns of their own, and
    come first.

    Raises:
        DataError: another file stands there, it cannot be read as UTF-8, or not be written.
    """
    names, filled = _filled(path)
    done = {(row["query_id"], row["doc_id"]) for row in filled}
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys([*COLUMNS, *names])), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(filled)
    texts = told(found, data, at)
    for query_id, doc_id, *words in zip(*texts, strict=True):
        if (query_id, doc_id) not in done:
            query, document, positive = (short(word, _LONGEST) for word in words)
            row = {"query_id": query_id, "doc_id": doc_id, "query": query, "positive": positive, "document": document}
            writer.writerow(row)
    with replacing(path) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8")


def _filled(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The columns of the sheet that is there, and its rows in which somebody has written anything."""
    if not path.exists():
        return [], []
    names, listed = read_rows(path)
    if not set(NEEDED) <= set(names):
        remedy = "Give another folder, or move the file away."
        raise DataError("is there already and no sheet of labels.", file=path, remedy=remedy)
    own = [name for name in names if name not in _GIVEN]
    return names, [cells for _, cells in listed if any(cells[name].strip() for name in own)]


def write_sample(
    path: Path,
    found: Population,
    data: Collection,
    judged: Judged,
    sheet: Drawn,
    said: tuple[Verdicts | None, NDArray[np.float64] | None],
) -> None:
    """Write the sample: ids, stratum, weight, step (0: a negative), source, rank, score, and what the judges say.

    Args:
        path: Parquet file.
        found: the population.
        data: the collection, for the ids.
        judged: for the strata.
        sheet: the sample.
        said: verdicts of the judge, and what the cheap judge says, on the sample.
    """
    at, (verdicts, cheap) = sheet.at, said
    score = found.score[at]
    nothing = Verdicts.of(np.full(len(at), -1))
    good = nothing if verdicts is None else verdicts
    columns: dict[str, pa.Array] = {
        "query_id": pa.array(data.queries.id_list(found.query[at]), pa.string()),
        "doc_id": pa.array(data.corpus.id_list(found.doc[at]), pa.string()),
        "stratum": pa.array(judged.strata.of[at].astype(np.int32)),
        "weight": pa.array(sheet.weight),
        "step": pa.array(found.fate[at].astype(np.int16)),
        "source": pa.array([found.sources[i] for i in found.source[at].tolist()], pa.string()),
        "rank": pa.array(found.rank[at].astype(np.int32), mask=found.rank[at] == 0),
        "score": pa.array(score, mask=np.isnan(score)),
        "difficulty": pa.array(found.difficulty[at].astype(np.int32), mask=found.difficulty[at] == 0),
        "verdict": pa.array(good.verdict, mask=~good.judged),
        "probability": pa.array(good.probability, mask=np.isnan(good.probability)),
        "reason": pa.array(good.reasons, pa.string()) if good.reasons else pa.nulls(len(at), pa.string()),
    }
    if cheap is not None:
        columns["cheap"] = pa.array(cheap)
    with replacing(path) as partial:
        pq.write_table(pa.table(columns), partial, compression="zstd")
