"""`Mining`: everything that it takes to mine again with other weights of the student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.precision import Precision
from foils.adapters.protocols import Encoder, Reranker
from foils.core.collection import Collection
from foils.core.spec import full
from foils.mine import Miner
from foils.stages.stage import Stage


@dataclass(frozen=True, eq=False)
class Mining:
    """How the negatives of a run were mined, so that it can be done again.

    Attributes:
        pipeline: with its schedules; each generation takes their numbers at its own progress.
        models: those that stay as they are, by name; every other bi-encoder that the pipeline names is the student.
        given: what was loaded as ``models``, for a second process that has to load them, too.
        seed: of every draw.
        miner: cache, progress and policies.
        precision: that the student computes in when it mines.
        first: folder of generation 0, to compare the first new one with; None for the run's own.
    """

    pipeline: Stage
    models: Mapping[str, Encoder | Reranker] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    miner: Miner = field(default_factory=Miner)
    precision: Precision = "auto"
    first: Path | None = None

    @property
    def students(self) -> tuple[str, ...]:
        """The names in the pipeline that mean the student."""
        return tuple(name for name in self.pipeline.encoders() if name not in self.models)

    def queries(self, data: Collection, split: str) -> NDArray[np.int32]:
        """Rows of the queries that are mined for, ascending."""
        return self.miner.rows(data, split)

    def settings(self) -> dict[str, Any]:
        """What decides the negatives besides the weights of the student."""
        return {
            "pipeline": full(self.pipeline),
            "seed": self.seed,
            "precision": self.precision,
            "without_positives": self.miner.without_positives,
            "leaks": self.miner.leaks,
            "models": {name: _identity(model) for name, model in self.models.items()},
        }


def _identity(model: Any) -> list[str]:
    if hasattr(model, "encode"):
        return [model.fingerprint("query"), model.fingerprint("document")]
    return [model.fingerprint]
