"""`Refresher`: takes up new generations at step boundaries, and has them made where training waits for them."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from foils.core.cache import publish
from foils.train import checkpoints, generations
from foils.train.job import Job, Place
from foils.train.refresh import watch
from foils.train.refresh.making import Maker
from foils.train.refresh.never import never_due
from foils.train.refresh.rollback import skipped
from foils.train.refresh.values import Alongside
from foils.train.rows import renewed
from foils.train.run import GENERATIONS

log = logging.getLogger(__name__)
_LOOK = 0.2  # seconds between two looks for what another process makes


class Refresher(TrainerCallback):  # type: ignore[misc]
    """Changes the negatives of a run between two steps.

    Which generation is in use is part of every checkpoint. Where training waits (`Every`, `At`), generation N is made
    from the checkpoint of its step, before the next step; a run that is continued there makes it or finds it made. So a
    run that was killed at any moment ends as one that was not.

    Args:
        job: the run; its plan's rows are changed.
        place: where this process runs.
        isolated: keeps random states of the process as they are while it mines.

    Attributes:
        used: the generation in use.
        tell: logs numbers through the Trainer; set by whoever makes the Trainer.
    """

    def __init__(self, job: Job, place: Place, isolated: Callable[[], Any]) -> None:
        spec = job.spec
        assert spec.mining is not None, "checked when the job was prepared"
        self.job, self.place, self.isolated = job, place, isolated
        self.refresh, self.first = spec.refresh, job.plan.rows
        self.chunks = (job.asked or spec).refresh.chunks
        self.maker = Maker(job.out, job.data, spec.split, spec.mining, spec.refresh, job.steps)
        self.due = self.refresh.due(job.steps, job.updates_per_epoch)
        self.skipped = skipped(job.out)
        self.miner: subprocess.Popen[bytes] | None = None
        self.used, self.step = 0, 0
        self.tell: Callable[[dict[str, float]], None] = lambda numbers: None

    def resume(self, checkpoint: Path | None) -> None:
        """Take up what was in use when a checkpoint was written."""
        number = generations.used_at(checkpoint)
        if number:
            self._take_up(number)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write what is in use into the checkpoint."""
        if state.is_world_process_zero:
            folder = checkpoints.folder_of(self.job.out, state.global_step)
            checkpoints.write_json(folder / generations.MEMORY, {"generation": self.used})

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Have a checkpoint written where one is mined with."""
        if state.global_step in self.due:
            control.should_save = True
            if self.place.rank == 0 and self.miner is not None:
                self._start()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Change to a newer generation, if it is time or there is one."""
        step = state.global_step
        if self._turned(step):
            self._wait_for(self.used + 1, step)
            self._change(self.used + 1, step)
        if self.refresh.waits:
            if step in self.due and step > self.step and step not in self.skipped:
                self._wait_for(self.used + 1, step)
                self._change(self.used + 1, step)
            return
        number = self._newest(args.device, step)
        if number > self.used:
            self._change(number, step)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say if it will never be time; write down what the second process needs, and start it."""
        said = never_due(self.job)
        if said is not None and self.place.rank == 0:
            log.warning("%s", said)
        if not self.refresh.waits and self.place.rank == 0:
            watch.write_order(self.maker)
            self._start()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the second process; what it was at would come too late."""
        if self.miner is not None:
            self.miner.terminate()
            self.miner.wait()
        if self.place.rank == 0 and (self.refresh.waits or self.miner is not None):
            generations.tidy(self.job.out)

    def _turned(self, step: int) -> bool:
        """Whether a fallback that mines otherwise takes over here, and has not mined yet."""
        job = self.job
        mines = job.asked is not None and job.asked.fallback is not None and job.asked.fallback.mining is not None
        return mines and step == job.back and self.used == job.good

    def _start(self) -> None:
        """Start the second process, or start it again if it has ended."""
        if not isinstance(self.refresh, Alongside) or self.refresh.miner == "elsewhere":
            return
        if self.miner is not None and self.miner.poll():
            where = self.job.out / GENERATIONS / "miner.log"
            log.warning("the process that mines ended with status %s; see %s", self.miner.returncode, where)
        if self.miner is None or self.miner.poll() is not None:
            self.miner = watch.start(self.job.out)

    def _newest(self, device: Any, step: int) -> int:
        """The newest complete generation of weights that this training has had, the same for all processes."""
        out, found = self.job.out, self.used
        if self.place.rank == 0:
            newer = [number for number in generations.complete(out) if number > found]
            found = max([found, *(n for n in newer if generations.figures_of(out, n)["step"] <= step)])
        number = torch.tensor(found)
        if self.place.processes > 1:
            number = number.to(device)
            torch.distributed.broadcast(number, 0)
        return int(number)

    def _wait_for(self, number: int, step: int) -> None:
        """Make a generation, or wait until the process that makes it has done so."""
        if self.place.rank == 0:
            with self.isolated():
                self.maker.make(number, step, self._weights(step))
        while number not in generations.complete(self.job.out):
            # Not at a barrier: those give up after some minutes, and mining may take hours.
            time.sleep(_LOOK)

    def _weights(self, step: int) -> Path:
        if step:
            return checkpoints.folder_of(self.job.out, step)

        def write(folder: Path) -> None:
            self.job.student.model.save_pretrained(str(folder), create_model_card=False)

        return publish(self.job.out / GENERATIONS / ".start", write)

    def _change(self, number: int, step: int) -> None:
        self._take_up(number)
        figures = generations.figures_of(self.job.out, number)
        staleness = step - figures["step"]
        numbers = {"generation": number, "staleness": staleness, "mining_seconds": figures["seconds"]}
        numbers |= {name: figures[name] for name in figures if "@" in name or name in ("rbo", "churn", "hub")}
        numbers |= {f"mix/{kind}": told["share"] for kind, told in figures.get("mix", {}).items()}
        self.tell({f"foils/{name}": float(value) for name, value in numbers.items()})
        if self.place.rank == 0:
            generations.note(self.job.out, {**figures, "used_from": step, "staleness": staleness})
            agreed = f", overlap@10 {figures['overlap@10']:.2f}" if "overlap@10" in figures else ""
            log.info(
                "step %s: generation %d of negatives, mined in %.0f s%s",
                f"{step:,}",
                number,
                figures["seconds"],
                agreed,
            )

    def _take_up(self, number: int) -> None:
        spec, out = self.job.spec, self.job.out
        assert spec.mining is not None
        queries = spec.mining.queries(self.job.data, spec.split)
        pairs = generations.in_use(out, number, self.chunks, self.job.data, queries, spec.negatives)
        self.job.plan.rows = renewed(self.first, self.job.data, pairs, self.job.plan.seed)
        self.used, self.step = number, int(generations.figures_of(out, number)["step"])
