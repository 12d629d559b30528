"""A teacher's training: sentence-transformers' trainer for cross-encoders, with our rows, checkpoints, calibration."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.base.evaluation import BaseEvaluator

from foils.adapters.sentence import CrossEncoderScorer
from foils.teach.calibrating import calibrate
from foils.teach.card import model_card
from foils.teach.dev import Candidates
from foils.teach.job import TeachJob, pairs_of
from foils.teach.losses import POINTWISE, loss_of
from foils.teach.options import JOINT
from foils.train.curve import Curve
from foils.train.feeding import Numbers
from foils.train.job import Place
from foils.train.loop import Craft, carry_out
from foils.train.progress import show_progress
from foils.train.run import Run
from foils.train.schedule import Schedule

log = logging.getLogger(__name__)


def run(job: TeachJob, place: Place) -> Run:
    """Train what is left to train, then publish the best weights with their calibration."""
    return carry_out(job, place, Craft(CrossEncoderTrainingArguments, _trainer, _write))


class TeacherTrainer(CrossEncoderTrainer):  # type: ignore[misc]
    """sentence-transformers' trainer with our batches; ``job`` must be set before it trains."""

    job: TeachJob
    forgets = True  # its loss has nothing to remember, see `_Forgetful`

    def get_batch_sampler(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """The planned batches, whatever the arguments say."""
        return self.job.plan

    def collect_features(self, inputs: dict[str, Any]) -> tuple[list[Any], Any]:
        """Texts and labels of the pairs of some rows: flat for the pointwise loss, else as one list a row."""
        plan, options = self.job.plan, self.job.options
        chosen = inputs["row"].cpu().numpy()
        query, doc, owner = pairs_of(plan.rows, chosen, plan.epoch, options.negatives_per_row)
        queries, docs = self.job.data.queries.texts(query), self.job.data.corpus.texts(doc)
        first = np.diff(owner, prepend=-1) > 0
        if options.loss == POINTWISE:
            return [queries, docs], torch.from_numpy(first.astype(np.float32)).to(self.args.device)
        bounds = [*np.flatnonzero(first).tolist(), len(doc)]
        ends = list(pairwise(bounds))
        said = plan.rows.saved[options.student].at(query, doc) if options.loss == JOINT else first.astype(np.float32)
        labels = torch.from_numpy(said)
        return [[queries[a] for a, _ in ends], [docs[a:b] for a, b in ends]], [labels[a:b] for a, b in ends]

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """No generated model card: it would describe a table of row numbers, and asks the model hub on every save."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # As the base class, without the model card (see above) and without pickled arguments (run.json has them).
        self.model.save_pretrained(output_dir or self.args.output_dir, create_model_card=False)

    def restore(self, checkpoint: Path) -> CrossEncoder:
        """The model with the weights of a checkpoint."""
        self._load_from_checkpoint(str(checkpoint))
        return self.model


class RankingEvaluator(BaseEvaluator):  # type: ignore[misc]
    """nDCG@10 and MRR@10 of the held-out queries' candidates as the current weights rank them."""

    def __init__(self, dev: Candidates) -> None:
        super().__init__()
        self.dev = dev

    def __call__(
        self, model: CrossEncoder, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Score, rank, measure."""
        return self.dev.look(CrossEncoderScorer(model))


class _Forgetful:
    """What `Schedule` asks of an objective; a teacher's has nothing to remember besides the model."""

    def __init__(self) -> None:
        self.number, self.progress, self.watching = 0, 0.0, False

    def agree(self) -> None:
        """Nothing is shared."""

    def follow(self) -> None:
        """Nothing moves."""

    def memory(self) -> dict[str, Any]:
        """Nothing."""
        return {}


def _trainer(job: TeachJob, args: CrossEncoderTrainingArguments, place: Place) -> TeacherTrainer:
    trainer = TeacherTrainer(
        model=job.model,
        args=args,
        train_dataset=Dataset.from_dict({"row": np.arange(len(job.plan.rows))}),
        loss=loss_of(job.options, job.model),
        evaluator=None if job.dev is None else RankingEvaluator(job.dev),
        data_collator=Numbers(),
    )
    trainer.job = job
    times = (job.updates_per_epoch, job.evaluate_every, job.save_every, job.options.patience)
    trainer.add_callback(Schedule(job.out, job.plan, _Forgetful(), *times))
    show_progress(trainer)
    return trainer


def _write(job: TeachJob, model: CrossEncoder, folder: Path, curve: Curve, best: int) -> None:
    calibration = None if job.dev is None else calibrate(CrossEncoderScorer(model), job.dev, job.options)
    model.save_pretrained(str(folder), create_model_card=False)
    if calibration is not None:
        calibration.write(folder)
    else:
        unlike = "its logits do not tell the positives of held-out queries from negatives"
        log.warning("the teacher is not calibrated: %s.", "no queries are held out" if job.dev is None else unlike)
    (folder / "README.md").write_text(model_card(job, calibration, curve, best), encoding="utf-8")
