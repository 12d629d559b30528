"""``teach(data, negatives, base, out=…) -> Teacher``: train a cross-encoder on positives and mined negatives."""

from __future__ import annotations

from pathlib import Path

from foils.adapters.calibration import Calibration
from foils.core.collection import Collection
from foils.core.errors import need
from foils.core.pairs import Pairs
from foils.store import Negatives
from foils.teach.options import TeachOptions
from foils.train.run import Run, agree, read_record


class Teacher(Run):
    """A finished teacher: ``model/`` is a plain sentence-transformers cross-encoder with a ``calibration.json``.

    ``--encoder teacher=OUT`` and `foils.adapters.models.load_reranker` take the run folder as well as ``model/``.
    """

    @property
    def calibration(self) -> Calibration | None:
        """How its logits become probabilities; None if no queries were held out to learn that from."""
        return Calibration.read(self.model)


def teach(
    data: Collection,
    negatives: Negatives | Pairs,
    base: str | Path,
    *,
    out: str | Path,
    seed: int = 0,
    options: TeachOptions | None = None,
    split: str | None = None,
) -> Teacher:
    """Train a cross-encoder on positives and mined negatives, and keep the weights that are best on held-out queries.

    RocketQA's step 2 (Qu et al. 2021, arXiv:2010.08191, section 4.1): each positive against 4 mined negatives. Queries
    without a negative are left out. The queries held out are those that `foils.train.train` would hold out under the
    same seed: the split ``dev`` if there are candidates for it, else a share of the training queries by a hash of their
    ids. A checkpoint is measured by how well it ranks their positives among their candidates (nDCG@10). In the end its
    logits z become probabilities ``σ(a·z + b)``, fitted on the held-out queries' pairs, in the proportion of positives
    and negatives that it was trained on (`foils.adapters.calibration`).

    Given the same arguments and machine the result is the same. The same call after a crash or a kill continues from
    the newest complete checkpoint and ends with the weights that an uninterrupted run would have; on a finished run it
    trains nothing.

    Args:
        data: the collection.
        negatives: mined pairs: label 0 is a negative, label 1 a positive.
        base: a transformer to build on, to which a new head is added (``minilm``, or folder or hub name of a bi-encoder
            or a language model), or a cross-encoder to train further.
        out: the run folder; receives ``run.json`` and ``model/``.
        seed: of the new head, the order of rows, the turns of negatives, the dropout and who is held out.
        options: how long and how fast, with which loss.
        split: whose positives count; that of the negatives by default, ``train`` for pairs.

    Raises:
        StoreError: ``out`` holds something else, or a run of other settings.
        DataError: there is nothing to train on.
        ModelError: the base cannot be loaded, or no cross-encoder can be made of it (a static model).
        MissingExtra: sentence-transformers or what its trainer needs is not installed.
    """
    for module in ("torch", "sentence_transformers", "accelerate", "datasets"):
        need(module, "st")
    from foils.teach import loop
    from foils.teach.job import prepare
    from foils.train.loop import isolated, placement

    folder, wanted = Path(out), options or TeachOptions()
    if isinstance(negatives, Negatives):
        split = split or str(negatives.manifest["split"])
        negatives = negatives.kept(data)
    record = read_record(folder)
    with isolated():
        place = placement(wanted.precision, folder)
        job = prepare(data, negatives, base, options=wanted, seed=seed, split=split or "train", place=place)
        if record is not None:
            agree(folder, record, job.settings())
            if record["status"] == "finished":
                return Teacher(folder, record, found_finished=True)
        run = loop.run(job, place)
        return Teacher(run.out, run.record)
