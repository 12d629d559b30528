"""The source probe of a training: do the student's vectors tell written negatives from mined ones? No PyTorch here."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from foils.adapters.protocols import Kind
from foils.core.errors import DataError
from foils.core.pairs import Pairs
from foils.evaluate.probe import ALARM, OTHERS, WRITTEN, members, tell_apart

if TYPE_CHECKING:
    from foils.train.job import Job
    from foils.train.rows import Rows

log = logging.getLogger(__name__)

PROBE = "probe"  # key of the record of a run
_SIZE = 600  # negatives that are encoded, at most

When = Literal["start", "end"]


def probed(job: Job, when: When) -> dict[str, Any] | None:
    """Tell the written negatives in use from the others by the student's current vectors.

    Args:
        job: the run; its plan's rows have the negatives in use.
        when: for the record.

    Returns:
        As `foils.evaluate.probe.Told.to_dict`, and ``when``; None where no negative is written, none is mined, or
        there are too few of either.
    """
    if WRITTEN not in job.plan.rows.ranks or len(job.plan.rows.ranks) < 2:
        return None
    pairs = _pairs(job.plan.rows)
    if WRITTEN not in members(pairs):
        return None
    encoder = job.student.encoder(job.options.max_length)

    def encode(rows: NDArray[np.int32], kind: Kind) -> NDArray[np.floating]:
        texts = job.data.queries if kind == "query" else job.data.corpus
        return encoder.encode(texts.texts(rows), kind)

    try:
        told = tell_apart(job.data, pairs, (WRITTEN, OTHERS), encode, size=_SIZE, seed=job.plan.seed)
    except DataError as error:
        log.info("no source probe: %s", error)
        return None
    return {"when": when, **told.to_dict()}


def sentences(record: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """What the probes of a run found, a sentence each, and whether it is alarming.

    Args:
        record: ``run.json``.
    """
    for entry in record.get(PROBE, ()):
        found, auc = entry["accuracy"], entry["auc"]["value"]
        text = (
            f"Source probe at the {entry['when']}: {entry['one']} negatives are told from {entry['other']} with "
            f"balanced accuracy {found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}], AUC {auc:.2f}"
        )
        if entry["alarm"]:
            text += f": above {ALARM}, so the model may learn to see the source instead of the answer"
        yield f"{text}.", bool(entry["alarm"])


def _pairs(rows: Rows) -> Pairs:
    """The negatives in use, with raw ranks by source."""
    query, doc = np.repeat(rows.queries, rows.negatives.sizes), rows.negatives.rows
    ranks = {name: np.nan_to_num(saved.at(query, doc)).astype(np.int32) for name, saved in rows.ranks.items()}
    return Pairs.build(query, doc, ranks=ranks)
