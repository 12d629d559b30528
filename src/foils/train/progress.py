"""How far a run has come: a bar where there is a terminal, else a line in the log now and then."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from transformers import (
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from foils.train.curve import curve_of
from foils.train.dev import METRIC
from foils.train.journal import BEGUN, write_line

log = logging.getLogger(__name__)


def show_progress(trainer: Any) -> None:
    """A bar where there is a terminal, else a line in the log now and then; and the journal."""
    trainer.add_callback(Journal())
    trainer.remove_callback(PrinterCallback)
    if trainer.pop_callback(ProgressCallback) is not None:
        trainer.add_callback(Bar())
    else:
        trainer.add_callback(Lines())


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


class Journal(TrainerCallback):  # type: ignore[misc]
    """Writes what is logged into the journal of the run as it happens; see `foils.train.journal`."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Which step this process goes on from, and what was logged until then."""
        if state.is_world_process_zero:
            write_line(Path(args.output_dir), {BEGUN: state.global_step, "steps": state.max_steps})

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The newest entry of the log."""
        if state.is_world_process_zero and state.log_history:
            write_line(Path(args.output_dir), state.log_history[-1])


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
