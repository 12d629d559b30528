"""Vectors of a side of a collection on disk: made once, memory-mapped, resumable by chunk.

The key is made of everything that the vectors depend on: the encoder's fingerprint (its weights, not its name), the
texts, the rows and the size of a chunk; so new weights never get old vectors. Chunks are fixed, and a chunk is encoded
with one call, so an interrupted run continues to the bytes that an uninterrupted one would have written.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.encoding import checked
from foils.adapters.precomputed import Precomputed
from foils.adapters.protocols import UNCACHED, Encoder, Kind, Readable
from foils.core.cache import publish
from foils.core.errors import StoreError

CHUNK = 2048  # texts; what a kill loses at most
_FORMAT = 1
_DATA, _DONE, _META = "vectors.npy", "done", "meta.json"

Progress = Callable[[int, int], None]


def vectors(
    encoder: Encoder,
    texts: Readable,
    kind: Kind,
    *,
    cache: Path,
    rows: NDArray[np.int32] | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """The vectors of ``texts``, encoded now or found in the cache.

    Args:
        encoder: a bi-encoder, or `Precomputed` vectors, which are passed through.
        texts: one side of a collection; only a chunk of its texts is in memory at a time.
        kind: which prompt the encoder uses.
        cache: folder for vectors.
        rows: int32, the rows wanted, in this order; all by default.
        progress: called with (rows done, rows in total) after each chunk.

    Returns:
        float32 (rows, dim), read-only, memory-mapped.

    Raises:
        ModelError: a vector that is not finite or not of the encoder's dimension.
        StoreError: files in the cache that somebody changed.
    """
    if rows is not None and np.array_equal(rows, np.arange(len(texts))):
        rows = None
    if isinstance(encoder, Precomputed):
        return encoder.take(kind, len(texts), rows)
    job = _Job(encoder, texts, kind, np.arange(len(texts), dtype=np.int32) if rows is None else rows, progress)
    fingerprint = encoder.fingerprint(kind)
    if fingerprint.startswith(UNCACHED):
        return job.aside(cache)
    made_of = {
        "format": _FORMAT,
        "encoder": fingerprint,
        "kind": kind,
        "texts": texts.fingerprint,
        "rows": "all" if rows is None else hashlib.sha256(rows.astype("<i4").tobytes()).hexdigest(),
        "shape": [len(job.rows), encoder.dim],
        "chunk": CHUNK,
    }
    key = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]
    folder = publish(cache / key, partial(_prepare, {**made_of, "name": encoder.name}))
    return job.finish(folder)


class _Job:
    """The encoding of some rows, chunk by chunk."""

    def __init__(
        self, encoder: Encoder, texts: Readable, kind: Kind, rows: NDArray[np.int32], progress: Progress | None
    ) -> None:
        self.encoder, self.texts, self.kind, self.rows, self.progress = encoder, texts, kind, rows, progress

    def finish(self, folder: Path) -> NDArray[np.float32]:
        """Encode the chunks that the folder lacks, and map it."""
        shape = (len(self.rows), self.encoder.dim)
        mapped = _mapped(folder, shape)
        missing = np.flatnonzero(np.fromfile(folder / _DONE, np.uint8) == 0)
        if not len(missing):
            return mapped
        with (folder / _DATA).open("r+b") as data, (folder / _DONE).open("r+b") as done:
            for chunk, block in self._chunks(missing):
                data.seek(mapped.offset + chunk * CHUNK * shape[1] * 4)
                data.write(np.ascontiguousarray(block).data)
                _to_disk(data)
                done.seek(chunk)  # only now is the chunk there
                done.write(b"\1")
                _to_disk(done)
        return _mapped(folder, shape)

    def aside(self, folder: Path) -> NDArray[np.float32]:
        """Encode everything into a file that goes when the array does."""
        shape = (len(self.rows), self.encoder.dim)
        if not all(shape):
            return np.zeros(shape, np.float32)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            array = np.memmap(file, np.float32, "w+", shape=shape)
        for chunk, block in self._chunks(np.arange(-(-shape[0] // CHUNK))):
            array[chunk * CHUNK : chunk * CHUNK + len(block)] = block
        array.flags.writeable = False
        return array

    def _chunks(self, wanted: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        finished = len(self.rows) - sum(len(self._rows(chunk)) for chunk in wanted.tolist())
        self._tell(finished)
        for chunk in wanted.tolist():
            texts = self.texts.texts(self._rows(chunk))
            found = self.encoder.encode(texts, self.kind)
            yield chunk, checked(found, texts, self.encoder.dim, self.encoder.name, self.kind)
            finished += len(texts)
            self._tell(finished)

    def _rows(self, chunk: int) -> NDArray[np.int32]:
        return self.rows[chunk * CHUNK : (chunk + 1) * CHUNK]

    def _tell(self, finished: int) -> None:
        if self.progress is not None:
            self.progress(finished, len(self.rows))


def _prepare(meta: Mapping[str, Any], folder: Path) -> None:
    """An empty store: the files in their final size, no chunk done."""
    (folder / _META).write_text(json.dumps(meta, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    shape = tuple(meta["shape"])
    np.lib.format.open_memmap(folder / _DATA, mode="w+", dtype=np.float32, shape=shape).flush()
    (folder / _DONE).write_bytes(bytes(-(-shape[0] // CHUNK)))


def _mapped(folder: Path, shape: tuple[int, int]) -> np.memmap[Any, np.dtype[np.float32]]:
    try:
        array = np.lib.format.open_memmap(folder / _DATA, mode="r")
        if array.shape == shape and (folder / _DONE).stat().st_size == -(-shape[0] // CHUNK):
            return array
        fault = f"an array of shape {array.shape}, expected {shape}"
    except (OSError, ValueError) as error:
        fault = str(error)
    raise StoreError(f"{folder}: stored vectors that foils did not leave so ({fault}). Delete the folder.")


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
