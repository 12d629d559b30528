"""`transfer`: models on tasks, against the model that they started from, with alarms where one has become worse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foils.adapters.models import load_encoder
from foils.core.cache import cache_root
from foils.core.errors import SpecError
from foils.evaluate.retrieval import encodes
from foils.evaluate.scores import finite
from foils.evaluate.transfer.answer import Answer, Versus, against, corrected
from foils.evaluate.transfer.reading import read_tasks
from foils.evaluate.transfer.tasks import How, Task

Progress = Callable[[str, int, int], None]
KIND, VERSION = "foils transfer", 1


@dataclass(frozen=True, eq=False)
class Transfer:
    """What models achieve on tasks.

    Attributes:
        tasks: in the order given.
        answers: by system, then task.
        spans: 95 % intervals likewise; None where nothing says how sure a value is.
        versus: comparison with the start model likewise; none of it for itself.
        baseline: the start model, or None.
    """

    tasks: Sequence[Task]
    answers: Mapping[str, Mapping[str, Answer]]
    spans: Mapping[str, Mapping[str, tuple[float, float] | None]]
    versus: Mapping[str, Mapping[str, Versus]]
    baseline: str | None

    @property
    def regressions(self) -> list[tuple[str, str]]:
        """(system, task) where a system is worse than the start model, at a p below .05 corrected for the tasks."""
        pairs = ((system, task, v) for system, found in self.versus.items() for task, v in found.items())
        return [(system, task) for system, task, v in pairs if v.verdict == "worse"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        scores = {name: [self._score(name, task) for task in self.tasks] for name in self.answers}
        systems = [
            {"system": name, "baseline": name == self.baseline, "scores": found} for name, found in scores.items()
        ]
        return {
            "kind": KIND,
            "version": VERSION,
            "baseline": self.baseline,
            "tasks": [
                {"task": task.key, "name": task.name, "kind": task.kind, "measure": task.measure, "items": len(task)}
                for task in self.tasks
            ],
            "systems": systems,
            "regressions": [{"system": system, "task": task} for system, task in self.regressions],
        }

    def _score(self, system: str, task: Task) -> dict[str, Any]:
        span = self.spans[system][task.key]
        versus = self.versus.get(system, {}).get(task.key)
        return {
            "task": task.key,
            "value": finite(self.answers[system][task.key].value),
            "low": None if span is None else finite(span[0]),
            "high": None if span is None else finite(span[1]),
            "versus": None if versus is None else versus.to_dict(),
        }


def transfer(
    tasks: Sequence[Task | str | Path],
    systems: Mapping[str, Any],
    *,
    baseline: str | None = None,
    how: How | None = None,
    progress: Progress | None = None,
) -> Transfer:
    """Measure models on other tasks than the one they were trained for.

    Args:
        tasks: what `read_task` takes, or tasks.
        systems: name -> bi-encoder, as `foils.adapters.models.load_encoder` takes it.
        baseline: the name of the one that the others started from, or None.
        how: resamples, seed and cache; by default the usual cache is used.
        progress: called with (what, done, total).

    Returns:
        Values with 95 % intervals, paired comparisons with the start model, and regressions. All models have the same
        resamples, probes and experiments. P-values are corrected (Holm) for the number of tasks.

    Raises:
        SpecError: no task, no system, a system without vectors, or a baseline that is none of them.
        DataError: a file that makes no task.
        ModelError: a system that is no bi-encoder.
        MissingExtra: scikit-learn is not installed.
    """
    given = [task for task in tasks if isinstance(task, Task)]
    found = [*given, *read_tasks([task for task in tasks if not isinstance(task, Task)])]
    if not found or not systems:
        raise SpecError("give at least one task and one model.")
    if baseline is not None and baseline not in systems:
        raise SpecError(f"baseline {baseline!r} is none of the models: {', '.join(map(repr, systems))}.")
    for name, system in systems.items():
        if not encodes(system):
            raise SpecError(
                f"{name}: only encoders have vectors to measure on tasks; {system!r} is none. Leave it out."
            )
    how = how or How(cache=cache_root() / "vectors")
    encoders = {name: load_encoder(system) for name, system in systems.items()}
    answers: dict[str, dict[str, Answer]] = {name: {} for name in encoders}
    done, total = 0, len(encoders) * len(found)
    for task in found:
        for name, encoder in encoders.items():
            if progress is not None:
                progress(f"{task.key}: {name}", done, total)
            answers[name][task.key] = task.answer(encoder, how)
            done += 1
    if progress is not None:
        progress("tasks", total, total)
    spans = {
        name: {key: answer.span(rounds=how.rounds, seed=how.seed) for key, answer in column.items()}
        for name, column in answers.items()
    }
    versus = {
        name: corrected(
            {
                key: against(answer, answers[baseline][key], rounds=how.rounds, seed=how.seed)
                for key, answer in column.items()
            }
        )
        for name, column in answers.items()
        if baseline is not None and name != baseline
    }
    return Transfer(found, answers, spans, versus, baseline)
