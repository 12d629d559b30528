"""Tasks of MTEB through its own library, where it is installed and the task's data is on the machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from foils.adapters.protocols import Encoder
from foils.core.errors import DataError, ModelError, need
from foils.evaluate.transfer.answer import Answer
from foils.evaluate.transfer.tasks import How, Task


@dataclass(frozen=True, eq=False)
class MtebTask(Task):
    """The main score of an MTEB task.

    The library's results (2.26) are means, without a value for each item, and the repeats that it keeps of a
    classification differ in what is learnt from, not in what is measured: so there is no interval and no alarm.

    Attributes:
        task: what ``mteb.get_task`` gave.
    """

    kind: ClassVar[str] = "mteb"
    measure: ClassVar[str] = "main score"
    task: Any = field(repr=False)

    @classmethod
    def find(cls, name: str) -> Self:
        """A task by its name in MTEB.

        Raises:
            MissingExtra: mteb is not installed.
            DataError: there is no such task, or its data is not on this machine and cannot be fetched.
        """
        mteb = need("mteb", "mteb")
        try:
            task = mteb.get_task(name)
        except (KeyError, ValueError) as error:
            raise DataError(f"MTEB has no task {name!r}: {_first(error)}", remedy="See mteb.get_tasks().") from None
        try:
            task.load_data()
        except Exception as error:  # whatever its loaders and the hub's client raise
            remedy = "Load it once on a machine that reaches the hub, and copy the cache of data sets."
            raise DataError(f"the data of MTEB's {name} cannot be loaded: {_first(error)}", remedy=remedy) from error
        return cls(name, task)

    def __len__(self) -> int:
        return 0

    def answer(self, encoder: Encoder, how: How) -> Answer:
        """Its main score."""
        mteb = need("mteb", "mteb")
        model = getattr(encoder, "model", None)
        if model is None:
            raise ModelError(f"{encoder.name}: MTEB measures sentence-transformers models only.")
        result = mteb.evaluate(model, self.task, cache=None, overwrite_strategy="always")
        return Answer(float(result.task_results[0].get_score()))


def _first(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
