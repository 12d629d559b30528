"""Vectors of a side of a collection on disk: made once, memory-mapped, resumable by chunk.

The key is made of everything that the vectors depend on: the encoder's fingerprint (its weights, not its name), the
texts, the rows and the size of a chunk; so new weights never get old vectors. Chunks are fixed, and a chunk is encoded
with one call, so an interrupted run continues to the bytes that an uninterrupted one would have written.

A text that the cache has a vector of by the same weights, for whatever collection, is not encoded again; see
`foils.adapters.known_vectors`. Its vector may differ in the last bits from one encoded among its new neighbours.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.encoding import checked
from foils.adapters.known_vectors import DATA, DONE, META, TEXTS, Digests, Known, digests, runs
from foils.adapters.precomputed import Precomputed
from foils.adapters.protocols import UNCACHED, Encoder, Kind, Readable
from foils.core.cache import publish
from foils.core.errors import StoreError

CHUNK = 2048  # texts; what a kill loses at most
_GROUP = 16  # chunks among which those texts are gathered that are not known, to be encoded together
_FORMAT = 1

Progress = Callable[[int, int], None]


def vectors(
    encoder: Encoder,
    texts: Readable,
    kind: Kind,
    *,
    cache: Path,
    rows: NDArray[np.int32] | None = None,
    progress: Progress | None = None,
    also: Sequence[Path] = (),
) -> NDArray[np.float32]:
    """The vectors of ``texts``, encoded now or found in the cache.

    Args:
        encoder: a bi-encoder, or `Precomputed` vectors, which are passed through.
        texts: one side of a collection; only a chunk of its texts is in memory at a time.
        kind: which prompt the encoder uses.
        cache: folder for vectors.
        rows: int32, the rows wanted, in this order; all by default.
        progress: called with (rows done, rows in total) after each chunk.
        also: further folders for vectors, to copy from only.

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
    return job.finish(folder, lambda: Known.find(made_of, (cache, *also), folder))


class _Job:
    """The encoding of some rows, chunk by chunk."""

    def __init__(
        self, encoder: Encoder, texts: Readable, kind: Kind, rows: NDArray[np.int32], progress: Progress | None
    ) -> None:
        self.encoder, self.texts, self.kind, self.rows, self.progress = encoder, texts, kind, rows, progress

    def finish(self, folder: Path, known: Callable[[], Known | None]) -> NDArray[np.float32]:
        """Copy or encode the chunks that the folder lacks, and map it."""
        shape = (len(self.rows), self.encoder.dim)
        mapped = _mapped(folder, shape)
        done = np.fromfile(folder / DONE, np.uint8) == 1
        if not done.all():
            with _Files(folder, mapped.offset, shape[1]) as files:
                self._fill(files, done, known())
        return _mapped(folder, shape)

    def aside(self, folder: Path) -> NDArray[np.float32]:
        """Encode everything into a file that goes when the array does."""
        shape = (len(self.rows), self.encoder.dim)
        if not all(shape):
            return np.zeros(shape, np.float32)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            array = np.memmap(file, np.float32, "w+", shape=shape)
        self._tell(0)
        for start in range(0, len(self.rows), CHUNK):
            stop = min(start + CHUNK, len(self.rows))
            array[start:stop] = self._encoded(np.arange(start, stop))[0]
            self._tell(stop)
        array.flags.writeable = False
        return array

    def _fill(self, files: _Files, done: NDArray[np.bool_], known: Known | None) -> None:
        finished = int(np.repeat(done, CHUNK)[: len(self.rows)].sum())
        self._tell(finished)
        for first in range(0, len(done), _GROUP):
            group = range(first, min(first + _GROUP, len(done)))
            if done[first : group.stop].all():
                continue
            # Of the whole group, so that a run that was killed in it goes on with the same calls.
            new = np.arange(first * CHUNK, min(group.stop * CHUNK, len(self.rows)))
            if known is not None:
                new, copied = self._copy(files, group, done, known)
                finished += copied
            left = np.bincount(new // CHUNK - first, minlength=len(group))
            files.mark([chunk for chunk in group if not done[chunk] and not left[chunk - first]], done)
            for start in range(0, len(new), CHUNK):
                part = new[start : start + CHUNK]
                left -= np.bincount(part // CHUNK - first, minlength=len(group))
                waiting = part[~done[part // CHUNK]]
                if len(waiting):
                    files.write(part, *self._encoded(part))
                    files.mark([chunk for chunk in group if not done[chunk] and not left[chunk - first]], done)
                    finished += len(waiting)
                    self._tell(finished)

    def _copy(self, files: _Files, group: range, done: NDArray[np.bool_], known: Known) -> tuple[NDArray[np.intp], int]:
        """Write what is known of a group; returns the positions of what is not, and how many rows were written."""
        new, copied = [], 0
        for chunk in group:
            made = digests(self.texts.texts(self._rows(chunk)))
            found, block = known.take(made)
            new.append(chunk * CHUNK + np.flatnonzero(~found))
            if not done[chunk]:
                # Not the gaps: another process that is at the same folder may have filled them.
                files.write(chunk * CHUNK + np.flatnonzero(found), block, made[found])
                copied += len(block)
        return np.concatenate(new), copied

    def _encoded(self, positions: NDArray[np.intp]) -> tuple[NDArray[np.float32], Digests]:
        texts = self.texts.texts(self.rows[positions])
        found = self.encoder.encode(texts, self.kind)
        return checked(found, texts, self.encoder.dim, self.encoder.name, self.kind), digests(texts)

    def _rows(self, chunk: int) -> NDArray[np.int32]:
        return self.rows[chunk * CHUNK : (chunk + 1) * CHUNK]

    def _tell(self, finished: int) -> None:
        if self.progress is not None:
            self.progress(finished, len(self.rows))


class _Files:
    """The files of a folder of vectors, to be written to.

    Args:
        folder: the folder.
        offset: bytes before the first vector.
        dim: of a vector.
    """

    def __init__(self, folder: Path, offset: int, dim: int) -> None:
        self.offset, self.dim = offset, dim
        self._data, self._done = (folder / DATA).open("r+b"), (folder / DONE).open("r+b")
        self._texts: Any = None
        if (folder / TEXTS).exists():  # not where it was begun by an earlier version
            self._texts = np.lib.format.open_memmap(folder / TEXTS, mode="r+")

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        self._data.close()
        self._done.close()

    def write(self, positions: NDArray[np.intp], block: NDArray[np.float32], texts: Digests) -> None:
        """Rows and the digests of their texts, at ascending positions."""
        for first, part in runs(positions):
            self._data.seek(self.offset + first * self.dim * 4)
            self._data.write(np.ascontiguousarray(block[part]).data)
        if self._texts is not None:
            self._texts[positions] = texts

    def mark(self, chunks: Sequence[int], done: NDArray[np.bool_]) -> None:
        """Declare that chunks are whole, here and in ``done``, once what was written is on the disk."""
        if not chunks:
            return
        _to_disk(self._data)
        if self._texts is not None:
            self._texts.flush()
        for chunk in chunks:
            self._done.seek(chunk)
            self._done.write(b"\1")
        _to_disk(self._done)
        done[list(chunks)] = True


def _prepare(meta: Mapping[str, Any], folder: Path) -> None:
    """An empty store: the files in their final size, no chunk done."""
    (folder / META).write_text(json.dumps(meta, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    shape = tuple(meta["shape"])
    np.lib.format.open_memmap(folder / DATA, mode="w+", dtype=np.float32, shape=shape).flush()
    np.lib.format.open_memmap(folder / TEXTS, mode="w+", dtype=np.uint64, shape=(shape[0], 2)).flush()
    (folder / DONE).write_bytes(bytes(-(-shape[0] // CHUNK)))


def _mapped(folder: Path, shape: tuple[int, int]) -> np.memmap[Any, np.dtype[np.float32]]:
    try:
        array = np.lib.format.open_memmap(folder / DATA, mode="r")
        if array.shape == shape and (folder / DONE).stat().st_size == -(-shape[0] // CHUNK):
            return array
        fault = f"an array of shape {array.shape}, expected {shape}"
    except (OSError, ValueError) as error:
        fault = str(error)
    raise StoreError(f"{folder}: stored vectors that foils did not leave so ({fault}). Delete the folder.")


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
