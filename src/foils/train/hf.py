"""The trainer and the dev evaluator: our parts of sentence-transformers' training loop.

Importing this module imports PyTorch and sentence-transformers; `foils.train.trainer` does so when a run begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.base.evaluation import BaseEvaluator
from sentence_transformers.util import batch_to_device

from foils.adapters import exact
from foils.adapters.protocols import Encoder, Kind
from foils.core.collection import Collection
from foils.evaluate.transfer import How, Task
from foils.train.batches import Plan
from foils.train.curve import TASK
from foils.train.dev import DEPTH, Dev, look
from foils.train.feeding import Feeder
from foils.train.guard.turn import take_over
from foils.train.health import trend
from foils.train.student import Student


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


class FoilsTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """sentence-transformers' trainer with our batches; ``plan`` and ``feeder`` must be set before it trains."""

    plan: Plan
    feeder: Feeder
    turned = False  # whether the checkpoint to begin with was written before the fallback took over
    forgets = False  # whether what the objective remembers there is of no use
    norm: Any = 0.0  # of the last gradient

    def get_batch_sampler(self, dataset: Any, *args: Any, **kwargs: Any) -> Plan:
        """The planned batches, whatever the arguments say."""
        return self.plan

    def collect_features(self, inputs: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """What `Objective` takes."""
        watched = self.loss.watching or self.loss.tally is not None
        features, ids = self.feeder(inputs["row"].cpu().numpy(), watched=watched)
        device = self.args.device
        return [batch_to_device(part, device) for part in features], batch_to_device(ids, device)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """With the loss goes what the objective has to report, under ``foils/``."""
        if "loss" in logs:
            figures = self.loss.report()
            figures |= trend(figures, self.state.log_history)
            logs = {**logs, **{f"foils/{name}": value for name, value in figures.items()}}
        super().log(logs, start_time)

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        self.norm = super()._get_grad_norm(*args, **kwargs)
        return self.norm

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and self.turned:
            take_over(self.optimizer, self.lr_scheduler, Path(checkpoint), self.args.learning_rate)
        else:
            super()._load_optimizer_and_scheduler(checkpoint)

    def feed(self, rows: NDArray[np.int32], kind: Kind) -> dict[str, Any]:
        """Features of other rows of the collection, on the model's device."""
        features: dict[str, Any] = batch_to_device(self.feeder.features(rows, kind), self.args.device)
        return features

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
    """nDCG@10 and MRR@10 of the current weights on the dev queries, by exact search.

    Args:
        data: the collection.
        encoder: the current weights.
        dev: what is measured.
        docs: vectors of all documents where those stand; None to encode them each time.
        tasks: measured as well, under ``task/NAME``.
    """

    def __init__(
        self,
        data: Collection,
        encoder: Encoder,
        dev: Dev,
        docs: NDArray[np.float32] | None = None,
        tasks: Sequence[Task] = (),
    ) -> None:
        super().__init__()
        self.data, self.encoder, self.dev, self.docs, self.tasks = data, encoder, dev, docs, tasks

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Encode, search, measure; see `foils.train.dev.look`."""
        queries = self.encoder.encode(self.data.queries.texts(self.dev.queries), "query")
        if self.docs is None:
            docs = self.encoder.encode(self.data.corpus.texts(self.dev.docs), "document")
        else:
            docs = np.asarray(self.docs[self.dev.docs])
        found, _ = exact.search(queries, docs, DEPTH)
        rows = np.where(found >= 0, self.dev.docs[np.maximum(found, 0)], -1).astype(np.int32)
        # No intervals: the fewest resamples will do.
        others = {f"{TASK}{task.key}": task.answer(self.encoder, How(rounds=1)).value for task in self.tasks}
        return {**look(rows, self.dev.relevant), **others}
