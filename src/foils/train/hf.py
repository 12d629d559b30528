"""Our parts of the Hugging Face training loop: collator, objective, trainer, schedule and dev evaluator.

Importing this module imports PyTorch and sentence-transformers; `foils.train.trainer` does so when a run begins.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.util import batch_to_device
from torch import Tensor, nn
from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from foils.adapters import exact
from foils.adapters.protocols import Encoder, Kind
from foils.core.collection import Collection
from foils.train import checkpoints
from foils.train.batch import batch_of, lay_out, tensors
from foils.train.batches import Plan
from foils.train.contrast import Contrast
from foils.train.curve import best_step, curve_of, exhausted
from foils.train.dev import DEPTH, METRIC, Dev, measures
from foils.train.job import Job
from foils.train.losses import Loss
from foils.train.reading import Reader
from foils.train.student import Similarity, Student

log = logging.getLogger(__name__)


def similarity(queries: Tensor, docs: Tensor, how: Similarity) -> Tensor:
    """Similarity of all queries with all documents, float32 (U, M), also under mixed precision.

    Args:
        queries: vectors (U, d) of any floating dtype.
        docs: vectors (M, d).
        how: the model's own similarity.
    """
    with torch.autocast(device_type=queries.device.type, enabled=False):
        q, d = queries.float(), docs.float()
        if how == "cosine":
            q, d = nn.functional.normalize(q, dim=1), nn.functional.normalize(d, dim=1)
        return q @ d.T


class Objective(nn.Module):
    """From features to one number: encode, compare, contrast, lose, average over the rows.

    It holds the model under the name ``model``, where sentence-transformers puts the wrapped one for several devices.
    """

    def __init__(self, student: Student, contrast: Contrast, loss: Loss) -> None:
        super().__init__()
        self.model = student.model
        self.how, self.dim = student.similarity, student.model.truncate_dim
        self.contrast, self.loss = contrast, loss

    def forward(self, features: Sequence[dict[str, Any]], ids: Mapping[str, Any]) -> Tensor:
        """The mean loss of a batch.

        Args:
            features: of the distinct queries and of the distinct documents.
            ids: the layout; see `foils.train.batch`.
        """
        queries, docs = self._vectors(*features)
        batch = batch_of(ids, similarity(queries[:, : self.dim], docs[:, : self.dim], self.how))
        return self.loss(batch, self.contrast.allowed(batch)).mean()

    def _vectors(self, queries: dict[str, Any], docs: dict[str, Any]) -> Sequence[Tensor]:
        if queries.keys() != {"input_ids", "offsets"}:
            return [self.model(part)["sentence_embedding"] for part in (queries, docs)]
        # A static model has no padding that would be wasted, and every pass makes a gradient as large as the model.
        both = {
            "input_ids": torch.cat((queries["input_ids"], docs["input_ids"])),
            "offsets": torch.cat((queries["offsets"], docs["offsets"] + len(queries["input_ids"]))),
        }
        vectors: Tensor = self.model(both)["sentence_embedding"]
        return vectors[: len(queries["offsets"])], vectors[len(queries["offsets"]) :]


def freeze_unused(student: Student) -> None:
    """Take out of training the weights that no vector depends on, such as a pooling head that is not used.

    They would not change anyway, but several processes wait for everybody's gradient of every weight.
    """
    model = student.model
    kinds: tuple[Kind, ...] = ("query", "document")
    features = [batch_to_device(student.features(["a text"], kind, None), model.device) for kind in kinds]
    total = sum(model(part)["sentence_embedding"].sum() for part in features)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for weight, gradient in zip(weights, torch.autograd.grad(total, weights, allow_unused=True), strict=True):
        weight.requires_grad_(gradient is not None)


class Collator:
    """Turns row numbers into what a step needs."""

    valid_label_columns: Sequence[str] = ()

    def __init__(self, job: Job) -> None:
        self.plan, self.limit, self.guides = job.plan, job.options.negatives_per_row, job.guides
        self.queries = Reader(job.student, job.data.queries, "query", job.options.max_length)
        self.documents = Reader(job.student, job.data.corpus, "document", job.options.max_length)

    def __call__(self, items: Sequence[Mapping[str, int]]) -> dict[str, Any]:
        """Features of the distinct queries and documents, the layout, and what the guides say of it."""
        chosen = np.array([item["row"] for item in items], dtype=np.int64)
        layout = lay_out(self.plan.rows, chosen, self.plan.epoch, self.limit)
        said = {name: torch.from_numpy(guide.score(layout.queries, layout.docs)) for name, guide in self.guides.items()}
        return {
            "query": self.queries.features(layout.queries),
            "document": self.documents.features(layout.docs),
            "ids": {**tensors(layout), **({"guides": said} if said else {})},
        }


class FoilsTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """sentence-transformers' trainer with our batches; ``plan`` must be set before it trains."""

    plan: Plan

    def get_batch_sampler(self, dataset: Any, *args: Any, **kwargs: Any) -> Plan:
        """The planned batches, whatever the arguments say."""
        return self.plan

    def collect_features(self, inputs: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
        """What `Objective` takes."""
        return [inputs["query"], inputs["document"]], inputs["ids"]

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """No generated model card: it would describe a table of row numbers, and asks the model hub on every save."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # As the base class, without the model card (see above) and without pickled arguments (run.json has them).
        self.model.save_pretrained(output_dir or self.args.output_dir, create_model_card=False)

    def restore(self, checkpoint: Path) -> SentenceTransformer:
        """The model with the weights of a checkpoint."""
        self._load_from_checkpoint(str(checkpoint))
        return self.model


class DevEvaluator(BaseEvaluator):  # type: ignore[misc]
    """nDCG@10 and MRR@10 of the current weights on the dev queries, by exact search."""

    def __init__(self, data: Collection, encoder: Encoder, dev: Dev) -> None:
        super().__init__()
        self.data, self.encoder, self.dev = data, encoder, dev

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Encode, search, measure; see `foils.train.dev.measures`."""
        queries = self.encoder.encode(self.data.queries.texts(self.dev.queries), "query")
        docs = self.encoder.encode(self.data.corpus.texts(self.dev.docs), "document")
        found, _ = exact.search(queries, docs, DEPTH)
        rows = np.where(found >= 0, self.dev.docs[np.maximum(found, 0)], -1).astype(np.int32)
        return measures(rows, self.dev.relevant)


@dataclass
class Schedule(TrainerCallback):  # type: ignore[misc]
    """When to look at dev, when to save, when to stop, and which checkpoints to keep: the best and the newest.

    Attributes:
        out: the run folder.
        plan: told the epoch before each one begins.
        updates_per_epoch: optimiser steps of an epoch.
        evaluate_every: steps between two looks at dev; None for no dev.
        save_every: steps between two checkpoints.
        patience: looks without improvement before it stops; None for never.
    """

    out: Path
    plan: Plan
    updates_per_epoch: int
    evaluate_every: int | None
    save_every: int
    patience: int | None

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the epoch from the step count: with several processes, a resumed data loader forgets to."""
        self.plan.set_epoch(state.global_step // self.updates_per_epoch)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The last step is always looked at and saved."""
        last = state.global_step >= state.max_steps
        if self.evaluate_every is not None:
            control.should_evaluate = last or state.global_step % self.evaluate_every == 0
        control.should_save = last or state.global_step % self.save_every == 0

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save what is the best so far; stop when patience is at its end."""
        curve = curve_of(state.log_history)
        if state.global_step and best_step(curve) == state.global_step:
            control.should_save = True
        if exhausted(curve, self.patience):
            control.should_save = control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Mark the checkpoint as complete when every process has written its part; then remove older ones."""
        wait()
        if state.is_world_process_zero:
            checkpoints.mark(checkpoints.folder_of(self.out, state.global_step))
            best = best_step(curve_of(state.log_history))
            checkpoints.prune(self.out, {state.global_step, best or state.global_step})


class Bar(ProgressCallback):  # type: ignore[misc]
    """The progress bar with the loss beside it; the original writes every log entry to standard output."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show the loss, and the dev measures when there are new ones."""
        shown = {name: f"{value:.3f}" for name, value in (logs or {}).items() if name == "loss" or "@" in name}
        if state.is_world_process_zero and self.training_bar is not None and shown:
            self.training_bar.set_postfix(shown)


class Lines(TrainerCallback):  # type: ignore[misc]
    """Where there is no terminal for a bar, a line in the log now and then: steps, time left, what dev says."""

    def __init__(self, seconds: float = 15.0) -> None:
        self.seconds = seconds
        self._began = self._said = time.monotonic()
        self._first: int | None = None

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Log if it is time to."""
        now = time.monotonic()
        if self._first is None:
            # The first step of this process; a continued run does not begin at 0.
            self._first, self._began, self._said = state.global_step, now, now
        done = state.global_step - self._first
        if state.is_world_process_zero and done and now - self._said >= self.seconds:
            self._said = now
            left = round((now - self._began) * (state.max_steps - state.global_step) / done)
            curve = curve_of(state.log_history)
            dev = f"; dev {METRIC} {curve[-1][METRIC]:.3f}" if curve else ""
            text = "training: %s of %s steps, about %d:%02d left%s"
            log.info(text, f"{state.global_step:,}", f"{state.max_steps:,}", left // 60, left % 60, dev)


def wait() -> None:
    """Wait for all processes, if there are several."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
