"""A training run as a person sees it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from foils.follow import Trained
from foils.terminal.layout import columns
from foils.terminal.negatives import mined


def trained(result: Trained) -> RenderableType:
    """A run: what was mined, the dev curve, and where the model is."""
    run = result.run
    parts: list[RenderableType] = []
    if result.mined is not None:
        parts += [mined(result.mined.manifest, str(result.mined.path)), Text("")]
    names = [name for name in (run.curve[0] if run.curve else {}) if name != "step"]
    if names:
        grid = columns("step", *(f"dev {name}" for name in names), "", right=range(len(names) + 1))
        for point in run.curve:
            marks = "taken" if point["step"] == run.best_step else ""
            grid.add_row(f"{point['step']:,}", *(f"{point[name]:.4f}" for name in names), marks)
        parts.append(grid)
    finished = " (was finished already)" if run.found_finished else ""
    return Group(*parts, Text(f"{run.steps:,} steps{finished}; model in {run.model}"))
