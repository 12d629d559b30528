"""`Feeder`: from the numbers of training rows to what a step takes: features and layout.

The data loader hands out numbers only, and may be a batch ahead; what a batch holds is looked up when its turn comes.
So negatives that were mined anew are used from the very next step on, in a run that is resumed there just the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.protocols import Kind
from foils.core.pairs import POSITIVE
from foils.train.batch import Layout, lay_out, tensors
from foils.train.job import Job
from foils.train.reading import Reader
from foils.train.rows import Saved
from foils.train.towers import Standing


class Numbers:
    """The collator: numbers of training rows as a tensor."""

    valid_label_columns: Sequence[str] = ()

    def __call__(self, items: Sequence[Mapping[str, int]]) -> dict[str, Any]:
        """``row``, int64 (B,)."""
        import torch

        return {"row": torch.tensor([item["row"] for item in items], dtype=torch.int64)}


class Feeder:
    """Reads texts and lays out batches for a run.

    Args:
        job: the run.
    """

    def __init__(self, job: Job) -> None:
        self.plan, self.limit = job.plan, job.options.negatives_per_row
        self.readers: dict[Kind, Reader | Standing] = {
            "query": Reader(job.student, job.data.queries, "query", job.options.max_length),
            "document": Reader(job.student, job.data.corpus, "document", job.options.max_length)
            if job.docs is None
            else Standing(job.docs),
        }

    def __call__(
        self, chosen: NDArray[np.int64], *, watched: bool = False
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Features of the distinct queries and of the distinct documents, and the layout as tensors, on the CPU.

        Args:
            chosen: numbers of training rows, (B,).
            watched: whether the raw ranks of the negatives are wanted, too.
        """
        layout = lay_out(self.plan.rows, chosen, self.plan.epoch, self.limit)
        features = [self.features(layout.queries, "query"), self.features(layout.docs, "document")]
        ids = {**tensors(layout), "saved": self._looked_up(layout, self.plan.rows.saved)}
        return features, {**ids, "ranks": self._looked_up(layout, self.plan.rows.ranks)} if watched else ids

    def features(self, rows: NDArray[np.int32], kind: Kind) -> dict[str, Any]:
        """Features of the texts in some rows of the collection, on the CPU."""
        return self.readers[kind].features(rows)

    def _looked_up(self, layout: Layout, columns: Mapping[str, Saved]) -> dict[str, Any]:
        import torch

        queries, wanted = layout.queries[layout.at], layout.own | (layout.label == POSITIVE)
        return {name: torch.from_numpy(column.of(queries, layout.docs, wanted)) for name, column in columns.items()}
