"""`Links`: which texts were written for which queries of a collection, and from what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from foils.core.texts import mapped

ROLES = ("negative", "positive")  # what a written document can be for its query
SCHEMA = pa.schema(
    [
        ("query", pa.int32()),
        ("doc", pa.int32()),
        ("source", pa.int32()),
        ("role", pa.int8()),
        ("edited", pa.bool_()),
        ("kind", pa.dictionary(pa.int32(), pa.string())),
    ]
)


@dataclass(frozen=True, eq=False)
class Links:
    """One row for each (query, written document), by query, then document.

    Attributes:
        query: int32 (n,), ascending.
        doc: int32 (n,), row of the written document.
        source: int32 (n,), row of the document that it was made from.
        role: int8 (n,), place in ``ROLES``.
        edited: bool (n,), whether it is the source with some words changed, and so nearly repeats it by design.
        kind: int32 (n,), place in ``kinds``.
        kinds: what was done, in words of the authors'.
    """

    query: NDArray[np.int32]
    doc: NDArray[np.int32]
    source: NDArray[np.int32]
    role: NDArray[np.int8]
    edited: NDArray[np.bool_]
    kind: NDArray[np.int32]
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.query)

    @classmethod
    def nothing(cls) -> Links:
        """No rows."""
        none = np.zeros(0, np.int32)
        return cls(none, none, none, np.zeros(0, np.int8), np.zeros(0, bool), none, ())

    @classmethod
    def read(cls, path: Path) -> Links:
        """The rows of an Arrow file of ``SCHEMA``."""
        table = mapped(path).combine_chunks()
        if not len(table):
            return cls.nothing()
        query, doc, source, role = (table.column(name).to_numpy() for name in ("query", "doc", "source", "role"))
        kind = table.column("kind").combine_chunks()
        edited = table.column("edited").to_numpy(zero_copy_only=False)
        return cls(query, doc, source, role, edited, kind.indices.to_numpy(), tuple(kind.dictionary.to_pylist()))

    def write(self, path: Path) -> None:
        """Write them as `read` reads them."""
        kind = pa.DictionaryArray.from_arrays(pa.array(self.kind, pa.int32()), pa.array(self.kinds, pa.string()))
        columns = [pa.array(values) for values in (self.query, self.doc, self.source, self.role, self.edited)]
        with pa.ipc.new_file(str(path), SCHEMA) as file:
            file.write_table(pa.table([*columns, kind], schema=SCHEMA))

    def __add__(self, other: Links) -> Links:
        """The rows of both."""
        kinds = tuple(dict.fromkeys((*self.kinds, *other.kinds)))
        place = np.array([kinds.index(kind) for kind in other.kinds], np.int32)
        order = np.lexsort((np.concatenate([self.doc, other.doc]), np.concatenate([self.query, other.query])))
        return Links(
            np.concatenate([self.query, other.query])[order],
            np.concatenate([self.doc, other.doc])[order],
            np.concatenate([self.source, other.source])[order],
            np.concatenate([self.role, other.role])[order],
            np.concatenate([self.edited, other.edited])[order],
            np.concatenate([self.kind, place[other.kind]]).astype(np.int32)[order],
            kinds,
        )

    def take(self, rows: slice | NDArray[np.bool_]) -> Links:
        """Some rows."""
        return Links(
            self.query[rows],
            self.doc[rows],
            self.source[rows],
            self.role[rows],
            self.edited[rows],
            self.kind[rows],
            self.kinds,
        )
