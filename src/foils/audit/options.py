"""What an audit may be told besides the negatives and the judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from foils.audit.estimators import LEVEL, quantile
from foils.core.errors import SpecError

if TYPE_CHECKING:
    from foils.audit.judges.llm import LLMOptions

BUDGET = 300  # 200 to 400 labels spread over the windows of ranks


@dataclass(frozen=True)
class Options:
    """How to audit.

    Attributes:
        budget: negatives to judge; 300 by default, and all where qrels judge, who cost nothing.
        dropped: items to judge besides, of what each step of the pipeline took out; 0: steps are not compared.
        seed: of the sample.
        level: of the intervals, above 0 and below 1.
        by: score column for bands, difficulty and proxies; the latest by default.
        split: of a file of another tool, whose qrels its positives are; ``train`` by default.
        format: layout of such a file; told by its columns.
        complete: whether documents that qrels do not list were looked at and found irrelevant.
        controls: known positives, and as many random documents, that a model must tell apart before it is believed.
        examples: false negatives to show.
        dry_run: ask nobody; say what would be judged, and what it would cost.
        cache: folder for scores and verdicts; ``$FOILS_CACHE`` or ``~/.cache/foils`` by default.
        progress: called with (what, done, total).
        llm: how to ask language models, where one judges.

    Raises:
        SpecError: a number out of its bounds.
    """

    budget: int | None = None
    dropped: int = 60
    seed: int = 0
    level: float = LEVEL
    by: str | None = None
    split: str | None = None
    format: str | None = None
    complete: bool = False
    controls: int = 50
    examples: int = 5
    dry_run: bool = False
    cache: Path | None = None
    progress: Callable[[str, int, int], None] | None = field(default=None, compare=False)
    llm: LLMOptions | None = None

    def __post_init__(self) -> None:
        quantile(self.level)
        for name, value, least in (
            ("budget", self.budget, 10),
            ("dropped", self.dropped, 0),
            ("controls", self.controls, 0),
            ("examples", self.examples, 0),
        ):
            if value is not None and value < least:
                raise SpecError(f"{name}={value}: it must be at least {least}.")
