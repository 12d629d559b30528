"""ScaNN: partition tree, anisotropic codes, reordering with whole vectors.

Determinism (tested, not promised by the library): training runs on one thread, from k-means++ centres; ScaNN would
re-seed partitions of fewer than 50 documents from the system's randomness, so that limit is 1 here. Searches run in
parallel; batches of fewer than 16 queries take another path through partitions, so short ones are filled up. Linux
wheels only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.ann_index import Approximate, Done
from foils.adapters.ann_settings import Scann
from foils.core.errors import need

_CODED = 64  # documents from which codes can be trained: 16 centroids a block, and a few for each
_TRAINING = 100_000
_BATCH = 64  # queries a thread takes; fewer than 16 are searched differently


def _library() -> Any:
    return need("scann.scann_ops.py.scann_ops_pybind", "scann")


class ScannIndex(Approximate):
    """`Scann`. An update upserts and deletes, then rebalances, which is ScaNN's word for training anew.

    Upserting everything without that loses recall (.38 instead of .46 where a fresh index has .46).
    """

    settings: Scann

    def _build(self) -> None:
        if not len(self.rows):
            return
        s, n = self.settings, len(self.rows)
        vectors = np.ascontiguousarray(self.docs[self.rows], np.float32)
        plan = _library().builder(vectors, min(s.fetch, n), "dot_product").set_n_training_threads(1)
        if n < _CODED:
            plan = plan.score_brute_force()
        else:
            leaves, search, training = min(s.leaves, n), min(s.search, n), min(n, _TRAINING)
            plan = plan.tree(leaves, search, training, min_partition_size=1, random_init=False)
            plan = plan.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(min(s.reorder, n))
        self._searcher = plan.build(docids=self.rows.tolist())
        self._places = self.rows

    def _save(self, folder: Path) -> None:
        if len(self.rows):
            # Without the searcher's own ids, which it would pickle.
            self._searcher.searcher.serialize(str(folder), True)
            np.save(folder / "places.npy", self._places)

    def _load(self, folder: Path) -> None:
        if len(self.rows):
            self._places = np.load(folder / "places.npy", allow_pickle=False)
            self._searcher = _library().load_searcher(str(folder))
            self._searcher.docids = self._places.tolist()
            self._searcher.docid_to_id = {row: place for place, row in enumerate(self._searcher.docids)}

    def _propose(self, queries: NDArray[np.float32], fetch: int) -> NDArray[np.int64]:
        s, n = self.settings, len(self.rows)
        # Directly, as the wrapper maps ids one by one in Python.
        filled = np.zeros((-(-len(queries) // _BATCH) * _BATCH, queries.shape[1]), np.float32)
        filled[: len(queries)] = queries
        places, distances = self._searcher.searcher.search_batched(
            filled, fetch, min(s.reorder, n), min(s.search, n), True, _BATCH
        )
        places, distances = places[: len(queries)], distances[: len(queries)]
        # What was not found is place 0 at distance NaN.
        return np.where(np.isnan(distances), -1, self._places[places.astype(np.int64)]).astype(np.int64)

    def _update(self, changed: NDArray[np.int32], gone: NDArray[np.int32], before: NDArray[np.int32]) -> Done:
        if min(len(before), len(self.rows)) < _CODED:
            return self._rebuilt()
        removed = np.setdiff1d(gone, changed)
        if len(removed):
            self._searcher.delete(removed.tolist())
        if len(changed):
            self._searcher.upsert(changed.tolist(), np.ascontiguousarray(self.docs[changed], np.float32), 256)
        self._searcher.rebalance()
        self._places = np.array(self._searcher.docids, np.int32)
        return "rebalanced"
