"""Two towers: queries by weights that are trained, documents by weights that stand.

ADORE and LTRe search the corpus anew in every step. That is only affordable because document vectors never change: they
are made once, and training, dev and the index that serves in the end all use those. What comes out is one
sentence-transformers model whose `Router` holds both towers.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.protocols import Encoder
from foils.adapters.routes import side
from foils.adapters.sentence import SentenceEncoder
from foils.adapters.vectors import vectors
from foils.core.collection import Collection
from foils.core.errors import ModelError, PipelineError
from foils.train.batch import STUDENT
from foils.train.contrasts import Contrast
from foils.train.student import Student

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Towers:
    """What is trained, and the documents' vectors if those stand.

    Attributes:
        student: the model that is trained.
        docs: float32 (n, d), vectors of all documents by its document side, memory-mapped; None where they are trained.
    """

    student: Student
    docs: NDArray[np.float32] | None = None


def towers(
    student: Student, contrast: Contrast, models: Mapping[str, Encoder], data: Collection, cache: Path
) -> Towers:
    """The student as its contrast wants it trained.

    Args:
        student: at its start weights.
        contrast: says through `Contrast.frozen` whose document vectors stand; in most cases nobody's.
        models: other models by name.
        data: whose documents.
        cache: folder for vectors.

    Raises:
        PipelineError: two contrasts want vectors of different models.
        ModelError: the documents' model cannot stand beside the student.
    """
    names = contrast.frozen()
    if not names:
        return Towers(student)
    if len(names) > 1:
        listed = " and ".join(map(repr, names))
        raise PipelineError(f"{contrast!r}: documents cannot be the vectors of {listed} at once. Name one encoder.")
    if names[0] not in (STUDENT, *models):
        raise PipelineError(f"{contrast!r}: no model {names[0]!r} was given. Pass --encoder {names[0]}=MODEL.")
    both = beside(student, models.get(names[0]))
    return Towers(both, vectors(both.encoder(None), data.corpus, "document", cache=cache, progress=_tell))


def beside(student: Student, documents: Encoder | None = None) -> Student:
    """A student with a tower for each side: its own weights for queries, to be trained, and frozen ones for documents.

    Args:
        student: at its start weights; its query side is copied.
        documents: whose document side it is; the student's own by default.

    Raises:
        ModelError: not a sentence-transformers model, or one whose vectors do not compare with the student's.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    mine = student.encoder(None)
    theirs = mine if documents is None else documents
    if not isinstance(theirs, SentenceEncoder) or theirs.runner != "torch":
        raise ModelError(
            f"{theirs.name}: the trained model keeps its documents' model beside it, so that must be a "
            f"sentence-transformers model, run by PyTorch."
        )
    for what, own, other in (
        ("dimensions", mine.dim, theirs.dim),
        ("similarity", student.similarity, theirs.model.similarity_fn_name),
    ):
        if own != other:
            raise ModelError(
                f"{theirs.name}: {what} {other}, and the student has {own}; their vectors do not compare. "
                "Give a student that was made for these documents, or its own start weights."
            )
    own, others = student.model, side(theirs.model, "document")
    frozen = [part.requires_grad_(False) for part in copy.deepcopy(list(others))]
    trained = copy.deepcopy(list(side(own, "query")))
    prompt = theirs.prompt("document") or ""
    names = ("document", "passage", "corpus")
    cut = mine.dim if own.truncate_dim or theirs.model.truncate_dim else None
    model = SentenceTransformer(
        modules=[Router.for_query_document(trained, frozen)],
        device=str(own.device),
        prompts=own.prompts | {name: prompt for name in names if name in own.prompts},
        default_prompt_name=own.default_prompt_name,
        similarity_fn_name=own.similarity_fn_name,
        truncate_dim=cut,
    )
    return replace(student, model=model)


def embed(model: Any, features: Mapping[str, Any]) -> Tensor:
    """The vectors of a set of features, as the model makes them, or as they are if the features are vectors already."""
    found = features.get("sentence_embedding")
    made: Tensor = model(dict(features))["sentence_embedding"] if found is None else found
    return made


class Standing:
    """In the place of a reader of documents: their vectors, which are all that a step needs of them.

    Args:
        docs: vectors of all documents, float32 (n, d).
    """

    def __init__(self, docs: NDArray[np.float32]) -> None:
        self.docs = docs

    def features(self, rows: NDArray[np.int32]) -> dict[str, Any]:
        """The vectors in these rows; see `embed`."""
        import torch

        return {"sentence_embedding": torch.from_numpy(np.array(self.docs[rows], np.float32))}


def _tell(done: int, total: int) -> None:
    if done < total:
        log.info("encoding the documents: %s of %s texts", f"{done:,}", f"{total:,}")
