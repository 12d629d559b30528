"""Drafts on disk: the columns of ``drafts.parquet``, and the parts that it is made of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from foils.core.atomic import replacing
from foils.core.collection import SHARD, Collection
from foils.staging import Staging, storing
from foils.writing.draft import Draft

_TALLY = "foils.tally"
VALUE = "check."  # what the columns of values begin with
EDIT = pa.struct([("start", pa.int32()), ("end", pa.int32()), ("before", pa.string()), ("after", pa.string())])
_WORDS = [("role", pa.string()), ("kind", pa.string()), ("query_id", pa.string()), ("doc_id", pa.string())]
_TEXTS = [("title", pa.large_string()), ("text", pa.large_string())]
_ROWS = [("query", pa.int32()), ("doc", pa.int32())]
_HOW = [("edits", pa.list_(EDIT)), ("made", pa.string())]


def part_schema(names: Sequence[str]) -> pa.Schema:
    """Columns of a part: the reason against each draft (null for none), values of the checks, and the draft."""
    values = [(VALUE + name, pa.float64()) for name in names]
    return pa.schema([("reason", pa.string()), *_WORDS, *_TEXTS, *values, *_HOW, *_ROWS])


def final_schema(names: Sequence[str]) -> pa.Schema:
    """Columns of ``drafts.parquet``: those of the parts, and whether each was accepted and the id that it has then."""
    values = [(VALUE + name, pa.float64()) for name in names]
    head = [("accepted", pa.bool_()), ("reason", pa.string()), ("id", pa.string())]
    return pa.schema([*head, *_WORDS, *_TEXTS, *values, *_HOW])


def part_table(
    drafts: Sequence[Draft],
    reasons: Sequence[str | None],
    values: Mapping[str, NDArray[np.float64]],
    data: Collection,
    tally: Mapping[str, int],
) -> pa.Table:
    """Drafts as the columns of a part, with what the author counted besides."""
    query = np.array([-1 if draft.query is None else draft.query for draft in drafts], np.int32)
    doc = np.array([draft.doc for draft in drafts], np.int32)
    asked = data.queries.id_list(np.maximum(query, 0)) if len(drafts) else []
    columns: dict[str, Any] = {
        "reason": list(reasons),
        "role": [draft.role for draft in drafts],
        "kind": [draft.kind for draft in drafts],
        "query_id": [name if row >= 0 else None for name, row in zip(asked, query.tolist(), strict=True)],
        "doc_id": data.corpus.id_list(doc),
        "title": [draft.title for draft in drafts],
        "text": [draft.text for draft in drafts],
        **{VALUE + name: pa.array(found, mask=np.isnan(found)) for name, found in values.items()},
        "edits": [[vars(edit) for edit in draft.edits] for draft in drafts],
        "made": [json.dumps(dict(draft.made), ensure_ascii=False, sort_keys=True, default=str) for draft in drafts],
        "query": query,
        "doc": doc,
    }
    made = pa.table(columns, schema=part_schema(list(values)))
    return made.replace_schema_metadata({_TALLY: json.dumps(dict(tally), sort_keys=True)})


def tally_of(part: pa.Table) -> dict[str, int]:
    """What the author counted while it wrote a part."""
    counts: dict[str, int] = json.loads((part.schema.metadata or {}).get(_TALLY.encode(), b"{}"))
    return counts


class Drafts(Staging):
    """A shard in the making; see `foils.staging.Staging`."""

    doing = "writing"
    header = SHARD

    def write(self, number: int, table: pa.Table) -> None:
        """Write a part; it appears complete or not at all."""
        with storing(self.out), replacing(self._part(number)) as partial:
            pq.write_table(table, partial, compression="zstd")

    def finish(self, header: Mapping[str, Any]) -> None:
        """Put the shard in its place; the parts are in its ``drafts.parquet`` now."""
        shutil.rmtree(self.folder / "parts")
        self.place(header)

    def parts(self) -> Iterator[pa.Table]:
        """The finished parts in order, whole."""
        for part in self._parts():
            yield pq.read_table(part)


def read(path: str | Path, rejected: bool = True) -> pa.Table:
    """The drafts of a shard as an Arrow table; without the rejected ones if they are not wanted."""
    table = pq.read_table(Path(path) / "drafts.parquet")
    return table if rejected else table.filter(table["accepted"])
