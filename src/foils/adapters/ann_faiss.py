"""FAISS: proximity graph and inverted lists (Douze et al. 2024, arXiv:2401.08281).

Determinism: k-means starts from FAISS's fixed seed on a sample that is drawn here (keyed by row), the cells of a query
are found by `foils.adapters.ann_cells`, so they do not depend on the batch, and graphs are built by one thread, as
FAISS's parallel insertion is a race. Searches run in parallel, each query by itself.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.ann_cells import Cells
from foils.adapters.ann_index import Approximate, Done
from foils.adapters.ann_settings import Hnsw, IvfFlat, IvfPq
from foils.core.errors import need
from foils.core.reservoir import sample

_FILE = "index.faiss"
_CHUNK = 1 << 16  # vectors read at a time
_PER_CELL = 64  # training vectors a cell; FAISS wants 39 to 256
_PER_CODE = 64  # training vectors a centroid of the product quantiser


def library() -> Any:
    """The module ``faiss``.

    On macOS its wheel and torch's bring an OpenMP runtime each, and two of them in one process crash as soon as both
    start threads; so there FAISS keeps to one thread. On Linux both share libgomp's behaviour: ``OMP_NUM_THREADS`` sets
    the threads of either.
    """
    faiss = need("faiss", "faiss")
    if sys.platform == "darwin" and "torch" in sys.modules:
        faiss.omp_set_num_threads(1)
    return faiss


@contextmanager
def _one_thread(faiss: Any) -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


class _Faiss(Approximate):
    """An index in one file, memory-mapped when it is loaded."""

    _index: Any

    _folder: Path | None = None  # where it is mapped from; such lists can be neither changed nor written

    def _save(self, folder: Path) -> None:
        if self._folder is None:
            library().write_index(self._index, str(folder / _FILE))
        else:
            shutil.copyfile(self._folder / _FILE, folder / _FILE)

    def _parts(self, rows: NDArray[np.int32]) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            yield part, np.ascontiguousarray(self.docs[part], np.float32)


class HnswIndex(_Faiss):
    """`Hnsw`. FAISS cannot remove from a graph, so an update rebuilds it (faster than re-linking most of it)."""

    settings: Hnsw

    def _build(self) -> None:
        faiss = library()
        self._folder = None
        index = faiss.IndexHNSWFlat(self.docs.shape[1], self.settings.m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.settings.ef_construction
        with _one_thread(faiss):
            for _, vectors in self._parts(self.rows):
                index.add(vectors)
        self._index = index

    def _load(self, folder: Path) -> None:
        faiss, self._folder = library(), folder
        # Older versions cannot map a graph.
        self._index = faiss.read_index(str(folder / _FILE), getattr(faiss, "IO_FLAG_MMAP_IFC", 0))

    def _propose(self, queries: NDArray[np.float32], fetch: int) -> NDArray[np.int64]:
        effort = library().SearchParametersHNSW(efSearch=max(fetch, self.settings.ef_search))
        places: NDArray[np.int64] = self._index.search(queries, fetch, params=effort)[1]
        return np.where(places >= 0, self.rows[np.maximum(places, 0)], -1)

    def _update(self, changed: NDArray[np.int32], gone: NDArray[np.int32], before: NDArray[np.int32]) -> Done:
        return self._rebuilt()


class _Cells(_Faiss):
    """Inverted lists over k-means cells; FAISS keeps the row numbers."""

    settings: IvfFlat | IvfPq

    def _empty(self, faiss: Any) -> Any:
        """The untrained index."""
        raise NotImplementedError

    def _build(self) -> None:
        faiss = library()
        self._index, self._folder = self._empty(faiss), None
        self._index.cp.min_points_per_centroid = 1  # silences advice on stderr
        if len(self.rows):
            self._index.train(self._training_vectors())
            self._add(self.rows)
        self._centroids()

    def _training_vectors(self) -> NDArray[np.float32]:
        codes = 1 << getattr(self.settings, "nbits", 0)
        wanted = max(_PER_CELL * self.settings.nlist, _PER_CODE * codes)
        chosen = self.rows[sample(self.rows.astype(np.uint64), wanted, seed=0, stream="k-means")]
        if len(chosen) < codes:  # FAISS refuses to train on fewer
            chosen = np.resize(chosen, codes)
        return np.ascontiguousarray(self.docs[chosen], np.float32)

    def _add(self, rows: NDArray[np.int32]) -> None:
        for part, vectors in self._parts(rows):
            self._index.add_with_ids(vectors, part.astype(np.int64))

    def _centroids(self) -> None:
        found = self._index.quantizer.reconstruct_n(0, self._index.nlist) if self._index.is_trained else None
        self._cells = None if found is None else Cells(found)

    def _load(self, folder: Path) -> None:
        faiss = library()
        self._index, self._folder = faiss.read_index(str(folder / _FILE), faiss.IO_FLAG_MMAP), folder
        self._centroids()

    def _propose(self, queries: NDArray[np.float32], fetch: int) -> NDArray[np.int64]:
        assert self._cells is not None  # `search` asks only if there are rows
        cells, closeness = self._cells.nearest(queries, self.settings.nprobe)
        self._index.nprobe = self.settings.nprobe
        found: NDArray[np.int64] = self._index.search_preassigned(queries, fetch, cells, closeness)[1]
        return found


class IvfFlatIndex(_Cells):
    """`IvfFlat`. An update takes old entries out and adds the new vectors to the old cells.

    Under small drift old cells are as good as new ones; after a new training of the model, build anew.
    """

    settings: IvfFlat

    def _empty(self, faiss: Any) -> Any:
        dim, ip = self.docs.shape[1], faiss.METRIC_INNER_PRODUCT
        return faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, self.settings.nlist, ip)

    def _update(self, changed: NDArray[np.int32], gone: NDArray[np.int32], before: NDArray[np.int32]) -> Done:
        if not self._index.is_trained:
            return self._rebuilt()
        if self._folder is not None:
            self._index, self._folder = library().read_index(str(self._folder / _FILE)), None
        self._index.remove_ids(gone.astype(np.int64))
        self._add(changed)
        return "re-added"


class IvfPqIndex(_Cells):
    """`IvfPq`. An update rebuilds: codebooks of residuals age faster than cells, and training is most of a build."""

    settings: IvfPq

    def _empty(self, faiss: Any) -> Any:
        s, dim, ip = self.settings, self.docs.shape[1], faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexIVFPQ(faiss.IndexFlatIP(dim), dim, s.nlist, s.m, s.nbits, ip)
        index.pq.cp.min_points_per_centroid, index.pq.cp.max_points_per_centroid = 1, _PER_CODE
        return index

    def _update(self, changed: NDArray[np.int32], gone: NDArray[np.int32], before: NDArray[np.int32]) -> Done:
        return self._rebuilt()
