"""Studies: several ways of training side by side on one collection, with what they cost and what is luck."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foils.core.collection import Collection
    from foils.study.finished import Study
    from foils.study.options import StudyOptions

__all__ = ["Study", "StudyOptions", "compare", "read_study"]


def compare(
    data: Collection,
    recipes: Sequence[Any],
    model: str | Path,
    *,
    out: str | Path,
    options: StudyOptions | None = None,
) -> Study:
    """Train with several recipes from one start model and compare what comes out, with intervals and corrected tests.

    All arms have the start model, the training queries, the held-out dev queries, the seeds and the number of optimiser
    steps in common (phases of a recipe share them), and where several begin with one source, its candidates, which are
    searched once. The model before training is measured as the arm ``start``. Test queries decide nothing but the
    figures: no training, mining or checkpoint sees their judgements.

    Each training is a process of its own, so its peak memory is its own, and one that is killed takes no other with it.
    A study goes on where it was cut off and loses at most the training at hand; further recipes and seeds given for the
    same folder are added to what is there.

    Intervals and p-values are over queries and training seeds (`foils.evaluate.significance.over_seeds`), corrected
    (Holm) over the arms, measure by measure.

    Args:
        data: the collection.
        recipes: names or files of recipes, ``NAME=RECIPE``, recipes, or mappings with ``name`` and a recipe's values.
        model: the start model, by name or folder.
        out: the study's folder.
        options: seeds, budget, baseline, models of recipes, and the like; see `foils.study.StudyOptions`.

    Returns:
        The study; ``study.record`` is what ``study.json`` holds, ``study.advice`` what it says in sentences.

    Raises:
        SpecError: recipes, models or options that cannot be read or do not fit together.
        DataError: a split that is not there or without positives, or queries that are trained and measured on.
        StoreError: the folder holds something else, or the baseline could not be finished.
    """
    from foils.study.comparing import finish
    from foils.study.options import StudyOptions

    return finish(data, recipes, model, Path(out), options or StudyOptions())


def __getattr__(name: str) -> Any:
    if name == "Study":
        from foils.study.finished import Study

        return Study
    if name in ("StudyOptions", "read_study"):
        from foils.study import options

        return getattr(options, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
