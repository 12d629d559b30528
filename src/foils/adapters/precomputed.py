"""Vectors that somebody has already made, row for row with the collection."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from foils.adapters.protocols import Kind
from foils.core.errors import DataError, ModelError

FILES: dict[Kind, str] = {"query": "queries.npy", "document": "corpus.npy"}
_STEP = 1 << 20  # elements looked at at a time


class Precomputed:
    """An encoder whose vectors are given: row i of an array belongs to row i of the collection's side.

    Scores are inner products: normalise the vectors if cosine is meant.

    Args:
        queries: (queries, dim) finite, memory-mapped or not; None if not needed.
        corpus: (documents, dim) finite; None if not needed.
        name: how messages call it.

    Raises:
        DataError: no array, wrong shapes, unlike dimensions.
        ModelError: NaN or infinite vectors.
    """

    def __init__(
        self, queries: NDArray[Any] | None = None, corpus: NDArray[Any] | None = None, name: str = "vectors"
    ) -> None:
        self.name = name
        given: dict[Kind, NDArray[Any] | None] = {"query": queries, "document": corpus}
        self._arrays = {kind: array for kind, array in given.items() if array is not None}
        for kind, array in self._arrays.items():
            _check(array, kind, name)
        dims = {array.shape[1] for array in self._arrays.values()}
        if len(dims) != 1:
            found = f"{' and '.join(map(str, sorted(dims)))} dimensions" if dims else "no vectors"
            raise DataError(f"{name}: {found}.", remedy="Give query and document vectors of one length.")
        self.dim = int(dims.pop())
        self._fingerprints: dict[Kind, str] = {}

    @classmethod
    def open(cls, folder: str | Path) -> Precomputed:
        """Memory-map ``queries.npy`` and ``corpus.npy``; one of them may be missing.

        Raises:
            DataError: no such folder, neither file, or a file that is no numeric ``.npy`` array.
        """
        folder = Path(folder)
        paths = {kind: folder / file for kind, file in FILES.items() if (folder / file).is_file()}
        if not paths:
            remedy = "Save the arrays with numpy.save, rows in the order of the collection."
            raise DataError("neither queries.npy nor corpus.npy is here.", file=folder, remedy=remedy)
        arrays = {kind: _mapped(path) for kind, path in paths.items()}
        return cls(arrays.get("query"), arrays.get("document"), name=f"vectors:{folder}")

    def take(self, kind: Kind, count: int, rows: NDArray[np.int32] | None) -> NDArray[np.float32]:
        """The vectors of some rows of a side that has ``count`` rows, float32; all rows by default.

        Raises:
            DataError: the array is missing, or is not of ``count`` rows.
        """
        array = self._array(kind)
        if len(array) != count:
            side = "queries" if kind == "query" else "documents"
            message = f"{self.name}: {len(array):,} {kind} vectors for {count:,} {side}."
            raise DataError(message, remedy="Vectors must be row for row with the collection.")
        return np.asarray(array if rows is None else array[rows], np.float32)

    def fingerprint(self, kind: Kind) -> str:
        """Digest of the array, read once."""
        if kind not in self._fingerprints:
            array = self._array(kind)
            digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
            step = max(1, _STEP // self.dim)
            for start in range(0, len(array), step):
                digest.update(np.ascontiguousarray(array[start : start + step]).data)
            self._fingerprints[kind] = f"precomputed:{digest.hexdigest()}"
        return self._fingerprints[kind]

    def encode(self, texts: Sequence[str], kind: Kind) -> NoReturn:
        """Impossible: there is no model.

        Raises:
            ModelError: always.
        """
        raise ModelError(f"{self.name} holds finished vectors and cannot encode {kind} texts. Name a model instead.")

    def _array(self, kind: Kind) -> NDArray[Any]:
        if kind not in self._arrays:
            message = f"{self.name}: there are no {kind} vectors."
            raise DataError(message, remedy=f"Add {FILES[kind]}, or pass the array.")
        return self._arrays[kind]


def _mapped(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise DataError(f"is no numeric array ({error}).", file=path, remedy="Save it with numpy.save.") from None
    return array


def _check(array: NDArray[Any], kind: Kind, name: str) -> None:
    if array.ndim != 2 or not array.shape[1] or array.dtype.kind != "f":
        message = f"{name}: the {kind} array is {array.dtype} of shape {array.shape}."
        raise DataError(message, remedy="Expected floating-point numbers of shape (rows, dimensions).")
    step = max(1, _STEP // array.shape[1])
    for start in range(0, len(array), step):
        finite = np.isfinite(np.asarray(array[start : start + step], np.float32)).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise ModelError(f"{name}: {kind} vector {row} is NaN or infinite as float32. Encode again.")
