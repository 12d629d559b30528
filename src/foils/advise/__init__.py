"""Where to begin: a quick look at a collection, and the recipe that its figures speak for, with reasons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foils.advise.advice import Advice
    from foils.core.collection import Collection
    from foils.stages.context import Progress

__all__ = ["advise"]


def advise(
    data: Collection,
    model: Any = None,
    *,
    split: str = "train",
    source: str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Advice:
    """Look at a collection for about a minute and say which recipe to begin with, why, and what to run next.

    Looked at are sizes, labels, lengths and copies, and for 300 training queries where BM25 and the model put their
    positives before any training. What looks like a false negative is told as a proxy: no rate, and no judge was asked.
    Nothing of other splits is read but how many queries ``test`` has. The rules and what they rest on: docs/advise.md.

    Args:
        data: the collection.
        model: the model to be trained, as `foils.adapters.models.load_encoder` takes it; None to do without. Of a
            transformer about 2,000 documents are encoded, of a static model all.
        split: whose queries.
        source: how the commands are to name the collection; its name by default.
        seed: of the samples.
        progress: called with (what, done, total).

    Raises:
        DataError: there is no such split, or it has no positives.
        ModelError: the model cannot be loaded.
    """
    from foils.advise.advice import Advice
    from foils.advise.look import look

    found = look(data, model, split=split, seed=seed, progress=progress)
    return Advice.of(found, str(source or data.name))
