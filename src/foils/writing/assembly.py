"""From the drafts of all parts to a shard: what sees all of them, ids, rows, and the files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from foils.core.collection import WRITTEN, Collection
from foils.core.links import ROLES, Links
from foils.core.packing import pack
from foils.core.pairs import Pairs
from foils.core.text import FirstSeen, keys_of, normalised, shown
from foils.core.texts_writer import DocumentWriter, QueryWriter, TextBlock
from foils.writing.author import Desk
from foils.writing.check import Check
from foils.writing.corpus_pass import copied
from foils.writing.drafts import VALUE, Drafts, final_schema, tally_of

PREFIX = "written:"
QRELS = pa.schema([("query", pa.int32()), ("doc", pa.int32())])
_COPIES = "copy: the text of a document"
_ASKED = "copy: the text of a query"
_AGAIN = "repeated: written for this query already"
_QUERY_AGAIN = "repeated: written already"


class Texts:
    """The texts of drafts by number, from an Arrow file."""

    def __init__(self, path: Path, rows: NDArray[np.int64]) -> None:
        self._table, self._rows = pa.ipc.open_file(pa.memory_map(str(path))).read_all(), rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: Any) -> Any:
        text: str = self._table["text"][int(self._rows[place])].as_py()
        return text


class Assembly:
    """All drafts of a finished staging: numbers in memory, texts on disk.

    Args:
        staging: with all its parts.
        under: the collection that they were written for.
        desk: for checks that read the whole corpus.
        checks: all checks.
    """

    def __init__(self, staging: Drafts, under: Collection, desk: Desk, checks: Sequence[Check]) -> None:
        self.staging, self.under, self.desk, self.checks = staging, under, desk, checks
        self._read()

    def _read(self) -> None:
        numbers: dict[str, list[NDArray[Any]]] = {name: [] for name in ("query", "doc", "edited", "alive")}
        words: dict[str, list[str]] = {"role": [], "kind": [], "id": []}
        keys = []
        with pa.ipc.new_file(str(self._aside), pa.schema([("text", pa.large_string())])) as file:
            for table in self.staging.parts():
                texts = list(map(shown, table["title"].to_pylist(), table["text"].to_pylist()))
                file.write_table(pa.table({"text": pa.array(texts, pa.large_string())}))
                folded = list(map(normalised, texts))
                keys.append(keys_of(folded))
                words["id"] += [PREFIX + hashlib.blake2b(text.encode(), digest_size=8).hexdigest() for text in folded]
                for name in ("role", "kind"):
                    words[name] += table[name].to_pylist()
                for name in ("query", "doc"):
                    numbers[name].append(table[name].to_numpy())
                numbers["edited"].append(pc.list_value_length(table["edits"]).to_numpy() > 0)
                numbers["alive"].append(table["reason"].is_null().to_numpy())
                self.desk.tally.update(tally_of(table))
        query, doc, edited, alive = (np.concatenate([np.zeros(0, np.int32), *parts]) for parts in numbers.values())
        self.query, self.doc, self.edited, self.alive = query, doc, edited.astype(bool), alive.astype(bool)
        self.keys = np.concatenate([np.zeros(0, np.uint64), *keys])
        self.role, self.kind, self.ids = (np.array(part, object) for part in words.values())
        self.is_query = np.array([role == "query" for role in words["role"]], bool)
        self.late: dict[int, str] = {}  # reasons that only all drafts together, or the whole corpus, could give
        self.values: dict[str, NDArray[np.float64]] = {}

    @property
    def _aside(self) -> Path:
        return self.staging.folder / "texts.arrow"

    def run(self) -> None:
        """Reject what copies or repeats something, then what the checks of the whole corpus find."""
        self._copies()
        self._repeats()
        for check in self.checks:
            if check.whole:
                self._whole(check)

    def _reject(self, places: NDArray[np.int64], reason: str) -> None:
        self.alive[places] = False
        self.late.update(dict.fromkeys(places.tolist(), reason))

    def _copies(self) -> None:
        sides = ((~self.is_query, self.under.base.corpus, _COPIES), (self.is_query, self.under.queries, _ASKED))
        for of, texts, reason in sides:
            places = np.flatnonzero(of & self.alive)
            tell = partial(self.desk.tell, f"looking for {reason.removeprefix('copy: ')}")
            found = copied(texts, self.keys[places], tell)
            self._reject(places[found], reason)

    def _repeats(self) -> None:
        """One draft of each text for a query; one of each text among written queries."""
        for of, reason in ((~self.is_query, _AGAIN), (self.is_query, _QUERY_AGAIN)):
            places = np.flatnonzero(of & self.alive)
            owner = np.zeros(len(places), np.int64) if reason == _QUERY_AGAIN else self.query[places]
            both = np.stack([owner.astype(np.uint64), self.keys[places]], axis=1)
            first = np.unique(both, axis=0, return_index=True)[1]
            again = np.setdiff1d(np.arange(len(places)), first)
            self._reject(places[again], reason)

    def _whole(self, check: Check) -> None:
        places = np.flatnonzero(self.alive & ~self.is_query & ~self.edited)
        # Equal texts for several queries are compared once.
        _, first, back = np.unique(self.keys[places], return_index=True, return_inverse=True)
        found = check.compare(Texts(self._aside, places[first]), self.desk)[back]  # type: ignore[arg-type]
        values = self.values[check.name] = np.full(len(self.keys), np.nan)
        values[places] = found
        bad = places[~np.isnan(found) & ~check.passes(found)]
        for place in bad.tolist():
            self._reject(np.array([place]), f"{check.name}: {check.why(float(values[place]))}")

    def tables(self) -> Iterator[pa.Table]:
        """The parts as they are kept in ``drafts.parquet``."""
        names = [check.name for check in self.checks]
        start = 0
        for table in self.staging.parts():
            rows = np.arange(start, start + len(table))
            start += len(table)
            said = zip(rows.tolist(), table["reason"].to_pylist(), strict=True)
            reason = [self.late.get(row, text) for row, text in said]
            alive = self.alive[rows]
            columns = {name: table[name] for name in table.column_names if name not in ("query", "doc")}
            for name, values in self.values.items():
                columns[VALUE + name] = pa.array(values[rows], mask=np.isnan(values[rows]))
            columns["accepted"], columns["reason"] = pa.array(alive), pa.array(reason, pa.string())
            columns["id"] = pa.array(self.ids[rows], pa.string(), mask=~alive)
            yield pa.table({name: columns[name] for name in final_schema(names).names}, schema=final_schema(names))

    def write(self, author: str) -> dict[str, Any]:
        """Write all files but the header into the staging folder; returns what the header says of them."""
        folder = self.staging.folder
        names = [check.name for check in self.checks]
        documents = DocumentWriter(folder / "corpus.arrow", first=len(self.under.corpus))
        queries = QueryWriter(folder / "queries.arrow", first=len(self.under.queries))
        known_docs, known_queries = FirstSeen(), FirstSeen()
        rows = np.full(len(self.keys), -1, np.int64)
        start = 0
        with pq.ParquetWriter(folder / "drafts.parquet", final_schema(names), compression="zstd") as file:
            for table in self.tables():
                file.write_table(table)
                places = np.arange(start, start + len(table))
                start += len(table)
                for writer, seen, side, of in (
                    (documents, known_docs, self.under.corpus, ~self.is_query[places]),
                    (queries, known_queries, self.under.queries, self.is_query[places]),
                ):
                    chosen = np.flatnonzero(of & self.alive[places])
                    block = _block(table, chosen, author)
                    below = side.rows_of(block.ids)
                    number = keys_of(block.ids)
                    new = np.flatnonzero((below < 0) & (seen.find(number) < 0))
                    new = np.sort(new[np.unique(number[new], return_index=True)[1]])
                    if len(new):
                        seen.first(number[new], writer.append(block.take(new)))
                    rows[places[chosen]] = np.where(below >= 0, below, seen.find(number))
        links, qrels = self._links(rows), self._qrels(rows)
        links.write(folder / "written.arrow")
        with pa.ipc.new_file(str(folder / "qrels.arrow"), QRELS) as out:
            out.write_table(pa.table([pa.array(qrels.query), pa.array(qrels.doc)], schema=QRELS))
        made = {"documents": documents.rows - len(self.under.corpus), "queries": queries.rows - len(self.under.queries)}
        corpus, asked = documents.close(), queries.close()
        self._aside.unlink()
        digest = hashlib.blake2b(f"{self.under.fingerprint}{corpus}{asked}".encode(), digest_size=16)
        digest.update((documents.metadata_fingerprint + queries.metadata_fingerprint).encode())
        for column in (
            links.query,
            links.doc,
            links.source,
            links.role,
            links.edited,
            links.kind,
            qrels.query,
            qrels.doc,
        ):
            digest.update(np.ascontiguousarray(column).tobytes())
        digest.update(json.dumps(links.kinds).encode())
        own = {"corpus": corpus, "queries": asked, "written_queries": bool(made["queries"])}
        return {"fingerprint": digest.hexdigest(), **own, "report": {**made, WRITTEN: len(links)}}

    def _links(self, rows: NDArray[np.int64]) -> Links:
        places = np.flatnonzero(self.alive & ~self.is_query)
        places = places[np.lexsort((rows[places], self.query[places]))]
        kinds = tuple(sorted(set(self.kind[places].tolist())))
        return Links(
            self.query[places].astype(np.int32),
            rows[places].astype(np.int32),
            self.doc[places].astype(np.int32),
            np.array([ROLES.index(role) for role in self.role[places]], np.int8),
            self.edited[places],
            np.array([kinds.index(kind) for kind in self.kind[places]], np.int32),
            kinds,
        )

    def _qrels(self, rows: NDArray[np.int64]) -> Pairs:
        """Of each written query its document; of a paraphrase, all positives of the query that it says again."""
        places = np.flatnonzero(self.alive & self.is_query)
        query, doc = [rows[places]], [self.doc[places].astype(np.int64)]
        again = places[self.query[places] >= 0]
        known = self.desk.data.positives(self.desk.split)
        for place in again.tolist():
            positives = known.doc[slice(*np.searchsorted(known.query, [self.query[place], self.query[place] + 1]))]
            query.append(np.full(len(positives), rows[place]))
            doc.append(positives.astype(np.int64))
        distinct = np.unique(pack(np.concatenate(query), np.concatenate(doc)))
        return Pairs.build(distinct >> 32, distinct & 0xFFFFFFFF)


def _block(table: pa.Table, rows: NDArray[np.int64], author: str) -> TextBlock:
    part: list[Mapping[str, Any]] = table.take(pa.array(rows)).to_pylist()

    def metadata(row: Mapping[str, Any]) -> str:
        told = {"author": author, "kind": row["kind"], "role": row["role"], "query": row["query_id"]}
        return json.dumps({WRITTEN: {**told, "source": row["doc_id"]}}, ensure_ascii=False)

    ids, titles, texts = ([row[name] for row in part] for name in ("id", "title", "text"))
    return TextBlock("drafts.parquet", range(1, len(part) + 1), ids, titles, texts, list(map(metadata, part)))
