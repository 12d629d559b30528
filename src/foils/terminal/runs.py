"""A training run as a person sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from foils.phase import Trained
from foils.terminal.layout import columns
from foils.terminal.negatives import mined
from foils.train.dev import METRIC
from foils.train.probing import sentences
from foils.train.run import NEVER

if TYPE_CHECKING:
    from foils.store import Negatives
    from foils.teach import Teacher
    from foils.train.run import Run


def trained(result: Trained) -> RenderableType:
    """A run: its phases if it has several, what was mined, the dev curve, and where the model is."""
    phases = result.run.record.get("phases")
    before = [] if phases is None else [_phases(phases), Text(f"phases in {result.run.out / 'phases'}"), Text("")]
    return Group(*before, *_before(result.mined), *_run(result.run))


def taught(teacher: Teacher, found: Negatives | None) -> RenderableType:
    """A teacher: what was mined for it, the dev curve, what its probabilities are worth, and where the model is."""
    lines = [*_before(found), *_run(teacher)]
    calibration = teacher.calibration
    if calibration is None:
        return Group(*lines, Text("not calibrated: no held-out queries told positives from negatives", style="yellow"))
    report = calibration.report
    text = (
        f"probabilities: among {calibration.population}; calibration error {report['ece_before']:.3f} before, "
        f"{report['ece_after']:.3f} after, on {report['pairs']:,} pairs of {report['queries']:,} held-out queries"
    )
    return Group(*lines, Text(text))


def _before(found: Negatives | None) -> list[RenderableType]:
    return [] if found is None else [mined(found.manifest, str(found.path)), Text("")]


def _run(run: Run) -> list[RenderableType]:
    parts: list[RenderableType] = []
    names = [name for name in (run.curve[0] if run.curve else {}) if name != "step"]
    if names:
        grid = columns("step", *(f"dev {name}" for name in names), "", right=range(len(names) + 1))
        for point in run.curve:
            marks = "taken" if point["step"] == run.best_step else ""
            grid.add_row(f"{point['step']:,}", *(f"{point[name]:.4f}" for name in names), marks)
        parts.append(grid)
    if "tasks" in run.record:
        parts += [Text(""), _tasks(run.record["tasks"], run.best_step)]
    seen = run.record.get("health") or ()
    if seen and not any(step.get("negatives", 1) for step in seen):
        idle = "no step had a negative, so the loss was 0 and nothing was learnt: look at contrast and batch size"
        parts.append(Text(idle, style="yellow"))
    if NEVER in run.record:
        parts.append(Text(run.record[NEVER], style="yellow"))
    finished = " (was finished already)" if run.found_finished else ""
    parts += [Text(text, style="yellow" if wrong else "") for text, wrong in sentences(run.record)]
    parts += breaches(run.record)
    return [*parts, Text(f"{run.steps:,} steps{finished}; model in {run.model}")]


def _tasks(points: Sequence[Mapping[str, float]], taken: int) -> RenderableType:
    """Other tasks, a row each: at the start, in the model that was taken, and at its worst."""
    grid = columns("other task", "at the start", "taken", "lowest", "at step", right=range(1, 5))
    for name in [name for name in points[0] if name != "step"]:
        by_step = {int(point["step"]): point[name] for point in points}
        worst = min(by_step, key=lambda step: by_step[step])
        shown = [f"{by_step[step]:.4f}" if step in by_step else "" for step in (0, taken, worst)]
        grid.add_row(Text(name), *shown, f"{worst:,}")
    return grid


def breaches(record: Mapping[str, Any]) -> list[RenderableType]:
    """A line for each time that a run did not keep a bound of its guard; none if it always did."""
    from foils.train.guard.record import BREACHES, described, went

    found = record.get(BREACHES, [])
    return [Text(f"step {entry['step']:,}: {described(entry)}: {went(entry)}", style="yellow") for entry in found]


def _phases(listed: Sequence[Mapping[str, Any]]) -> RenderableType:
    grid = columns("phase", "negatives", "steps", "dev", "seconds", "folder", right=range(1, 5))
    for phase in listed:
        measured = [f"{value:.4f}" for name, value in phase.items() if name == METRIC]
        negatives = f"{phase['counts']['negatives']:,}" if "counts" in phase else ""
        steps = f"{phase['steps']:,}" if "steps" in phase else "given"
        seconds = f"{phase['seconds']:,.0f}" if "seconds" in phase else ""
        grid.add_row(phase["name"], negatives, steps, *(measured or [""]), seconds, escape(_folder(phase)))
    return grid


def _folder(phase: Mapping[str, Any]) -> str:
    # In 80 columns there is no room for the whole path.
    return str(phase["model"]) if phase.get("given") else str(phase["model"]).split("/")[1]
