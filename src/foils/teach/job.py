"""`TeachJob`: a teacher's training with everything settled, before the first step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.weights import fingerprint as fingerprint_of_weights
from foils.core.collection import Collection
from foils.core.errors import DataError, PipelineError
from foils.core.pairs import CANDIDATE, Pairs
from foils.teach.base import open_base
from foils.teach.dev import Candidates, candidates
from foils.teach.options import JOINT, TeachOptions
from foils.train.batches import Ground, Plan, Shuffled
from foils.train.dev import divide
from foils.train.job import Place
from foils.train.rows import Rows, fingerprint, make_rows
from foils.train.work import Work

Queries = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class TeachJob(Work):
    """Everything that is settled before the first step of a teacher; see `foils.train.work.Work` for the rest.

    Attributes:
        data: the collection.
        model: the ``CrossEncoder``, at its start weights.
        start: what decides the weights besides: split, negatives, fingerprint of the start weights.
    """

    data: Collection
    model: Any
    dev: Candidates | None
    options: TeachOptions
    start: dict[str, Any]

    def settings(self) -> dict[str, Any]:
        """What decides the resulting weights; a run is only continued with the same."""
        return {
            "kind": "teacher",
            "data": self.data.fingerprint,
            **self.start,
            "seed": self.plan.seed,
            "processes": self.plan.processes,
            "options": self.options.record(),
        }


def prepare(
    data: Collection,
    negatives: Pairs,
    base: str | Path,
    *,
    options: TeachOptions,
    seed: int,
    split: str,
    place: Place,
) -> TeachJob:
    """Load the base, divide the queries, lay out the rows and plan the batches.

    Raises:
        DataError: no query to train on has a negative.
        PipelineError: the loss reads a column that the negatives do not have.
        ModelError: the base cannot be loaded or made a cross-encoder.
    """
    settled = options.settled(precision=place.precision)
    stay, held, dev_split = _divided(data, negatives, split, settled, seed)
    columns = (settled.student,) if settled.loss == JOINT else ()
    if columns and settled.student not in negatives.scores:
        have = ", ".join(map(repr, negatives.scores)) or "none"
        raise PipelineError(
            f"loss='joint': the negatives have no score column {settled.student!r}; they have: {have}. Mine with "
            f"Dense({settled.student!r}, …), or name the column of the student's scores: --set student=NAME."
        )
    rows = make_rows(data, split, queries=stay, negatives=negatives, seed=seed, columns=columns)
    plan = Plan(Shuffled(), Ground(rows, settled.batch_size or 1, seed, place.processes))
    model = open_base(base, settled, seed)
    start = {
        "split": split,
        "negatives": fingerprint(negatives, columns),
        "model": fingerprint_of_weights(model, {"max_length": str(model.max_seq_length)}),
    }
    dev = None
    if len(held):
        dev = candidates(data, make_rows(data, dev_split, queries=held, negatives=negatives, seed=seed), settled)
    return TeachJob(
        plan=plan,
        dev=dev,
        options=settled,
        out=place.out,
        notes={"base": str(base)},
        data=data,
        model=model,
        start=start,
    )


def _divided(
    data: Collection, negatives: Pairs, split: str, options: TeachOptions, seed: int
) -> tuple[Queries, Queries, str]:
    """Queries with negatives to train on and to hold out, and the split whose qrels measure the latter."""
    asked = np.unique(negatives.query[negatives.label == CANDIDATE])
    stay, held, dev_split = divide(data, split, options, seed)
    if not len(np.intersect1d(held, asked)) and options.dev_share and dev_split != split:
        # Negatives were mined for the training queries alone.
        training = np.intersect1d(stay, asked)
        stay, held = data.holdout(split, options.dev_share, seed)
        stay, held, dev_split = np.intersect1d(stay, training), np.intersect1d(held, training), split
    stay, held = np.intersect1d(stay, asked), np.intersect1d(held, asked)
    if not len(stay):
        raise DataError(
            f"no query of split {split!r} of {data.name!r} to train on has a negative.",
            remedy="Mine negatives for this split of this collection; hold out fewer queries (dev_share).",
        )
    return stay, held, dev_split


def pairs_of(
    rows: Rows, chosen: NDArray[np.integer], epoch: int, limit: int | None
) -> tuple[Queries, Queries, NDArray[np.int64]]:
    """The pairs of training rows: each row's positive, then its negatives of that epoch.

    Returns:
        int32 queries and documents, int64 place in ``chosen``, (pairs,) each, rows one after the other; the first pair
        of a row is its positive.
    """
    docs, owner = rows.draw(chosen, epoch, limit)
    places = np.concatenate((np.arange(len(chosen), dtype=np.int64), owner))
    all_docs = np.concatenate((rows.doc[chosen], docs))
    order = np.argsort(places, kind="stable")
    return rows.query[chosen][places[order]], all_docs[order], places[order]
