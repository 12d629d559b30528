"""Arrow columns of exported rows: texts and ids by row, and lists of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from foils.core.texts import Texts
from foils.export.units import Ints, Units


def marks(units: Units, place: Ints, offsets: Ints, label: NDArray[np.int8], scored: bool) -> dict[str, pa.ListArray]:
    """The column that says what each listed document is: its score, or its label."""
    return {"scores" if scored else "labels": ragged(pa.array(units.score[place] if scored else label), offsets)}


def texts(source: Texts, rows: NDArray[np.integer], absent: NDArray[np.bool_] | None = None) -> pa.Array:
    """Texts by row; null where ``absent``."""
    return strings(source.texts, rows, absent)


def abreast(
    source: Texts, rows: NDArray[np.integer], names: list[str], absent: NDArray[np.bool_] | None = None
) -> dict[str, pa.Array]:
    """The texts of a matrix of rows, a column for each name."""
    flat = texts(source, rows.ravel(order="F"), None if absent is None else absent.ravel(order="F"))
    return {name: flat.slice(i * len(rows), len(rows)) for i, name in enumerate(names)}


def strings(
    lookup: Callable[[NDArray[np.integer]], list[str]],
    rows: NDArray[np.integer],
    absent: NDArray[np.bool_] | None = None,
) -> pa.Array:
    """What ``lookup`` says of each row; null where ``absent``."""
    # Each distinct text passes through Python once; Arrow repeats it.
    distinct, at = np.unique(rows, return_inverse=True)
    return pa.array(lookup(distinct), pa.string()).take(pa.array(at.reshape(-1), mask=absent))


def ragged(values: pa.Array, offsets: Ints) -> pa.ListArray:
    """Lists of the values between consecutive offsets."""
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def structs(columns: dict[str, pa.Array], units: Units, place: Ints, offsets: Ints, scored: bool) -> pa.ListArray:
    """Lists of objects with the given fields, and ``score``."""
    fields = {**columns, **({"score": pa.array(units.score[place])} if scored else {})}
    return ragged(pa.StructArray.from_arrays(list(fields.values()), list(fields)), offsets)


def lists(matrix: NDArray[np.float32], absent: NDArray[np.bool_] | None = None) -> pa.ListArray:
    """A list for each row of a matrix; null where ``absent``."""
    values = pa.array(matrix.reshape(-1), mask=None if absent is None else absent.reshape(-1))
    return ragged(values, np.arange(len(matrix) + 1) * matrix.shape[1])
