"""One training run from its first step, or from where it was cut off, to the model on disk."""

from __future__ import annotations

import logging
import os
import random
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainingArguments
from sentence_transformers.util import get_device_name
from transformers.utils import logging as hf_logging

from foils.core.cache import publish
from foils.core.errors import SpecError
from foils.train import checkpoints, generations, journal
from foils.train.cached import CachedObjective
from foils.train.card import model_card
from foils.train.curve import Curve, best_step, curve_of, exhausted, spans_of, tasks_of
from foils.train.feeding import Feeder, Numbers
from foils.train.guard.callback import Watchman
from foils.train.guard.turn import Breached, kept, turn
from foils.train.guard.values import remembers
from foils.train.hf import DevEvaluator, FoilsTrainer, freeze_unused
from foils.train.influence import Tally
from foils.train.influence import finish as write_influence
from foils.train.job import Job, Place
from foils.train.objective import Objective
from foils.train.options import Precision
from foils.train.probing import PROBE, probed
from foils.train.processes import wait
from foils.train.progress import show_progress
from foils.train.refresh.callback import Refresher
from foils.train.refresh.never import never
from foils.train.refresh.rollback import settle
from foils.train.run import MODEL, NEVER, Run, finish_record, read_record, start_record
from foils.train.schedule import Schedule
from foils.train.work import Work

log = logging.getLogger(__name__)
_LOGGERS = ("transformers", "sentence_transformers", "accelerate", "datasets")


@contextmanager
def isolated() -> Iterator[None]:
    """Leave the random states, log levels, bars and warning filters of the process as they were found.

    The Hugging Face Trainer seeds the global generators and is noisy about things that are meant here.
    """
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    bars = hf_logging.is_progress_bar_enabled()
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the state that the Trainer sets
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            hf_logging.disable_progress_bar()
            for name in _LOGGERS:
                logging.getLogger(name).setLevel(logging.ERROR)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
            if bars:
                hf_logging.enable_progress_bar()
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def placement(precision: Precision, out: Path) -> Place:
    """Where this process runs, as the launcher and the hardware say.

    Raises:
        SpecError: half precision without a GPU.
    """
    device = get_device_name()
    on_cpu = device == "cpu" or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    if precision == "fp16" and on_cpu:
        raise SpecError("precision='fp16' needs a GPU, and there is none. Use 'float32' or 'bf16'.")
    if precision == "auto":
        bf16 = not on_cpu and device.startswith("cuda") and torch.cuda.is_bf16_supported()
        precision = "bf16" if bf16 else "float32"
    return Place(out, on_cpu, precision, int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0")))


@contextmanager
def _threads(job: Job, place: Place) -> Iterator[None]:
    # The steps of a static model are so short that a second thread saves a tenth of the time on an idle machine, and
    # costs several times that where other processes want the core.
    before = torch.get_num_threads()
    try:
        if job.student.kind == "static" and place.on_cpu:
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Craft:
    """What differs between kinds of models.

    Attributes:
        arguments: class of the trainer's arguments.
        trainer: makes the trainer, of (job, arguments, place).
        write: writes the final model into an empty folder, of (job, model, folder, dev curve, step taken).
        keep: checkpoints to keep besides the newest and the best one, of (job, log).
        ended: what every process does when the last step is done, of (job, place, trainer).
        remarks: what the record of a finished run is to say besides, of the job.
        begins: what the record of a run that begins is to say besides, of the job.
    """

    arguments: Callable[..., Any]
    trainer: Callable[[Any, Any, Place], Any]
    write: Callable[[Any, Any, Path, Curve, int], None]
    keep: Callable[[Any, Sequence[dict[str, Any]]], set[int]] = lambda job, history: set()
    ended: Callable[[Any, Place, Any], None] = lambda job, place, trainer: None
    remarks: Callable[[Any], dict[str, Any]] = lambda job: {}
    begins: Callable[[Any], dict[str, Any]] = lambda job: {}


def run(job: Job, place: Place) -> Run:
    """Train what is left to train, then publish the best weights.

    Raises:
        Breached: a bound of the guard was not kept; it is recorded, and what has to be put aside is.
    """
    with _threads(job, place):
        try:
            craft = Craft(SentenceTransformerTrainingArguments, _trainer, _write, _keep, _ended, _remarks, _begins)
            return carry_out(job, place, craft)
        except Breached as found:
            if place.rank == 0 and found.breach is not None:
                turn(job, found.breach)
            wait()
            raise


def _keep(job: Job, history: Sequence[dict[str, Any]]) -> set[int]:
    return set() if job.spec.fallback is None else kept(job.out, history)


def _ended(job: Job, place: Place, trainer: FoilsTrainer) -> None:
    if trainer.loss.tally is not None:
        write_influence(job, place, trainer.loss.tally)


def _begins(job: Job) -> dict[str, Any]:
    found = probed(job, "start")
    return {} if found is None else {PROBE: [found]}


def _remarks(job: Job) -> dict[str, Any]:
    record = read_record(job.out) or {}
    # By now the student has the weights that were taken.
    found, said = probed(job, "end"), never(job)
    probes = {} if found is None else {PROBE: [*record.get(PROBE, ()), found]}
    return {**({} if said is None else {NEVER: said}), **probes}


def carry_out(job: Work, place: Place, craft: Craft) -> Run:
    """Begin or continue a run and bring it to its end; nothing of it is lost that a complete checkpoint has.

    Raises:
        StoreError: the disk is full, or the folder cannot be written to.
    """
    with checkpoints.writing(job.out):
        return _carried_out(job, place, craft)


def _carried_out(job: Work, place: Place, craft: Craft) -> Run:
    args = _arguments(job, place, craft)
    wait()  # every process has read the folder before the first one writes to it
    begun, first = time.monotonic(), place.rank == 0
    if first and read_record(job.out) is None:
        job.out.mkdir(parents=True, exist_ok=True)
        start_record(
            job.out, {"settings": job.settings(), "counts": job.counts(), "notes": job.notes, **craft.begins(job)}
        )
    if first:
        settle(job.out)
    wait()
    newest = checkpoints.newest(job.out)
    wait()
    if first and newest is not None:
        history = checkpoints.history(newest)
        stay = {checkpoints.step_of(newest), best_step(curve_of(history)) or 0, *craft.keep(job, history)}
        checkpoints.prune(job.out, {*stay, *generations.needed(job.out)})
    elif first:
        checkpoints.prune(job.out, ())
    args.eval_on_start = newest is None and job.dev is not None
    trainer = craft.trainer(job, args, place)
    wait()
    if newest is not None and not trainer.forgets:
        checkpoints.recall(newest, trainer.loss, place.rank)
    if newest is None or not _trained_out(job, newest):
        try:
            trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
        except Breached:
            # What was opened for the steps is closed: writers of logs, a process that mines.
            trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)
            raise
    wait()
    craft.ended(job, place, trainer)
    if first:
        _publish(job, trainer, craft, resumed=newest is not None, seconds=time.monotonic() - begun)
    wait()
    return Run(job.out, read_record(job.out) or {})


def _trained_out(job: Work, newest: Path) -> bool:
    done = checkpoints.step_of(newest) >= job.steps
    return done or exhausted(curve_of(checkpoints.history(newest)), job.options.patience)


def _arguments(job: Work, place: Place, craft: Craft) -> Any:
    options = job.options
    args = craft.arguments(
        output_dir=str(job.out),
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.gradient_accumulation,
        max_steps=job.steps,
        learning_rate=options.learning_rate,
        warmup_steps=int(np.ceil(options.warmup * job.steps)),
        seed=job.plan.seed,
        bf16=options.precision == "bf16",
        fp16=options.precision == "fp16",
        # Looks at dev and checkpoints are asked for by `Schedule`, which also decides what is kept.
        eval_strategy="no",
        save_strategy="no",
        logging_steps=max(1, min(50, job.steps // 20)),
        report_to=_integrations(options.report_to) or "none",
        disable_tqdm=not sys.stderr.isatty(),
        use_cpu=place.on_cpu,
        ddp_backend="gloo" if place.on_cpu and place.processes > 1 else None,
        # Not with a forward pass for each side: PyTorch counts a weight twice. See `freeze_unused`.
        ddp_find_unused_parameters=False,
    )
    if args.n_gpu > 1:
        # Without a launcher the Trainer would split a batch over the GPUs, and with it the contrast.
        args._n_gpu = 1
    return args


def _integrations(names: tuple[str, ...]) -> list[str]:
    from transformers.integrations import get_reporting_integration_callbacks

    try:
        for callback in get_reporting_integration_callbacks([name for name in names if name not in ("none", "all")]):
            callback()
    except (ValueError, RuntimeError, ImportError) as error:  # unknown, or its package is missing
        raise SpecError(f"report_to={names!r}: {error} Name another, or leave report_to out.") from None
    return list(names)


def _trainer(job: Job, args: SentenceTransformerTrainingArguments, place: Place) -> FoilsTrainer:
    student, options = job.student, job.options
    if args.world_size > 1:
        freeze_unused(student)
    feeder = Feeder(job)
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(options.precision)
    parts = (job.spec.contrast, job.spec.loss)
    whole = Objective if options.mini_batch is None else partial(CachedObjective, mini_batch=options.mini_batch)
    objective = whole(student, *parts, guides=job.guides, half=half, site=job.site(place))
    objective.tally = Tally() if job.spec.influence else None
    encoder = student.encoder(options.max_length)
    trainer = FoilsTrainer(
        model=student.model,
        args=args,
        train_dataset=Dataset.from_dict({"row": np.arange(len(job.plan.rows))}),
        loss=objective,
        evaluator=None if job.dev is None else DevEvaluator(job.data, encoder, job.dev, job.docs, job.spec.tasks),
        data_collator=Numbers(),
    )
    trainer.plan, trainer.feeder, objective.feed = job.plan, feeder, trainer.feed
    newest = checkpoints.newest(job.out)
    trainer.turned = job.asked is not None and newest is not None and checkpoints.step_of(newest) <= job.back
    trainer.forgets = job.asked is not None and trainer.turned and not remembers(job.asked, job.spec)
    if job.spec.mining is not None:
        refresher = Refresher(job, place, isolated)
        refresher.resume(newest)
        refresher.tell = trainer.log
        trainer.add_callback(refresher)  # before `Schedule`, which marks checkpoints as complete
    trainer.add_callback(
        Schedule(
            job.out,
            job.plan,
            objective,
            job.updates_per_epoch,
            job.evaluate_every,
            job.save_every,
            options.patience,
            partial(_keep, job),
        )
    )
    trainer.add_callback(Watchman(job.spec.guard, job.back, trainer))
    show_progress(trainer)
    return trainer


def _publish(job: Work, trainer: Any, craft: Craft, *, resumed: bool, seconds: float) -> None:
    """Write the best weights as a plain model, complete the record, and remove the checkpoints."""
    last = checkpoints.newest(job.out)
    assert last is not None, "the last step is always saved"
    history = checkpoints.history(last)
    curve = curve_of(history)
    best = best_step(curve) or checkpoints.step_of(last)
    model = trainer.restore(checkpoints.folder_of(job.out, best))
    publish(job.out / MODEL, lambda folder: craft.write(job, model, folder, curve, best))
    losses = [{"step": entry["step"], "loss": entry["loss"]} for entry in history if "loss" in entry]
    prefix = "foils/"
    seen = [
        {"step": entry["step"], **{k.removeprefix(prefix): v for k, v in entry.items() if k.startswith(prefix)}}
        for entry in history
        if "loss" in entry
    ]
    outcome = {"steps": checkpoints.step_of(last), "best_step": best, "curve": curve, "losses": losses, "health": seen}
    other, spans = tasks_of(history), spans_of(history)
    outcome |= {"tasks": other} if other else {}
    outcome |= {"spans": spans} if spans else {}
    finish_record(job.out, {**outcome, **craft.remarks(job), "resumed": resumed, "seconds": round(seconds, 1)})
    journal.remove(job.out)
    checkpoints.prune(job.out, generations.needed(job.out))
    shutil.rmtree(job.out / "eval", ignore_errors=True)


def _write(job: Job, model: Any, folder: Path, curve: Curve, best: int) -> None:
    model.save_pretrained(str(folder), create_model_card=False)
    (folder / "README.md").write_text(model_card(job, curve, best), encoding="utf-8")
