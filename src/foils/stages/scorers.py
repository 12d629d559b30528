"""Scorers: another model's opinion of the candidates, as a column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foils.core.spec import declare
from foils.stages.context import Context
from foils.stages.writers import Scorer, check_model_name


class _Named(Scorer):
    """The score of a model that has a name, as a column of that name."""

    encoder: str

    def check(self) -> None:
        """The name must not mean something else."""
        check_model_name(self)

    @property
    def column(self) -> str:
        """The model's name."""
        return self.encoder


@declare
class BiEncoder(_Named):
    """Inner product of query and document vectors under a named bi-encoder. Score column: its name."""

    encoder: str  # name of the bi-encoder

    def score(self, query: NDArray[np.int32], doc: NDArray[np.int32], ctx: Context) -> NDArray[np.float32]:
        """Inner products."""
        return ctx.similarity(self.encoder, query, doc)


@declare
class CrossEncoder(_Named):
    """Score of a named cross-encoder for each (query, document) text, positives included.

    Whether it is a probability or a logit is the model's matter (``Reranker.scale``); absolute bounds such as
    RocketQA's 0.1 and 0.9 mean probabilities. Distillation wants log-odds, whose differences say more near 0 and 1:
    ``scale='logit'``. Each distinct pair is scored once and remembered on disk. Score column: its name.
    """

    encoder: str  # name of the cross-encoder
    scale: Literal["own", "logit"] = "own"  # the model's own scale, or log-odds
    crosses = True

    def score(self, query: NDArray[np.int32], doc: NDArray[np.int32], ctx: Context) -> NDArray[np.float32]:
        """All pairs of the block in one queue, longest first."""
        return ctx.reranked(self.encoder, query, doc, logits=self.scale == "logit")

    def origin(self, model: Callable[[str], object]) -> str:
        """Probabilities and log-odds of one model do not compare."""
        made = super().origin(model)
        return made if self.scale == "own" else f"{made} as log-odds"
