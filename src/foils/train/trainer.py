"""``train(data, spec, model, out=…) -> Run``: train a retriever on positives and mined negatives.

It stands on sentence-transformers' trainer (and through it on the Hugging Face Trainer): checkpoints, mixed precision,
several processes and logging integrations are theirs. Ours are the batch, the contrast, the loss and the bookkeeping.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from foils.core.collection import Collection
from foils.core.errors import need
from foils.train.guard.record import BREACHES, check_same, described, fell, refusal, went
from foils.train.guard.values import fallen
from foils.train.job import TrainSpec, prepare
from foils.train.options import TrainOptions
from foils.train.run import Run, agree, read_record
from foils.train.student import open_student

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from foils.adapters.sentence import SentenceEncoder

log = logging.getLogger(__name__)


def train(
    data: Collection,
    spec: TrainSpec,
    model: str | Path | SentenceTransformer | SentenceEncoder,
    *,
    out: str | Path,
    seed: int = 0,
    options: TrainOptions | None = None,
) -> Run:
    """Train a bi-encoder and keep the weights that are best on dev queries.

    Each distinct query and document of a batch is encoded once. Given the same arguments, machine and number of
    processes the result is the same. The same call after a crash or a kill continues from the newest complete
    checkpoint and ends with the weights that an uninterrupted run would have; on a finished run it trains nothing.

    When a bound of the guard is not kept, the run goes back to its last good checkpoint and goes on with the fallback
    (`foils.train.guard`); a process that is killed meanwhile ends there as well.

    Started by ``torchrun`` or ``accelerate launch``, the processes share each epoch; each contrasts within its own
    batch, or with the documents of all under `Gathered`.

    Args:
        data: the collection.
        spec: contrast, loss, batches and mined negatives.
        model: what `foils.adapters.models.load_encoder` takes, or a loaded model (which is copied, not changed).
        out: the run folder; receives ``run.json`` and ``model/``, a plain sentence-transformers model.
        seed: of the order of rows, the turns of negatives and the dropout.
        options: how long, how fast and how precisely.

    Raises:
        StoreError: ``out`` holds something else, or a run of other settings.
        DataError: there is nothing to train on.
        PipelineError: the contrast has a filter that cannot work in training.
        ModelError: the model cannot be loaded or trained.
        BreachError: a bound of the guard was not kept, and there is no fallback, or it did not help.
        MissingExtra: sentence-transformers or what its trainer needs is not installed.
    """
    for module in ("torch", "sentence_transformers", "accelerate", "datasets"):
        need(module, "st")
    from foils.train import loop
    from foils.train.guard.turn import Breached

    folder, wanted = Path(out), options or TrainOptions()
    spec.columns()
    if spec.fallback is not None:
        fallen(spec)
    record = read_record(folder)
    with loop.isolated():
        place = loop.placement(wanted.precision, folder)
        while True:
            job = prepare(data, spec, open_student(model), wanted, seed=seed, place=place)
            if record is not None:
                agree(folder, record, job.settings())
                if record["status"] == "finished":
                    return Run(folder, record, found_finished=True)
            entry = fell(record)
            if entry is not None:
                check_same(folder, entry, spec)
                after = prepare(data, fallen(spec), open_student(model), wanted, seed=seed, place=place)
                job = replace(after, asked=spec, back=int(entry["back"]), good=int(entry["generation"]))
            try:
                return loop.run(job, place)
            except Breached:
                record = read_record(folder) or {}
            said = record[BREACHES][-1]
            if place.rank == 0:
                log.warning("step %s: %s: %s", f"{said['step']:,}", described(said), went(said))
            if said["fallback"] is None:
                raise refusal(folder, said, entry is not None)
