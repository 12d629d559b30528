"""`Student`: the model that is trained, with what it sees of a text."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from foils.adapters.models import load_encoder
from foils.adapters.protocols import Kind
from foils.adapters.routes import side
from foils.adapters.sentence import SentenceEncoder
from foils.core.errors import ModelError
from foils.train.options import ModelKind

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Similarity = Literal["cosine", "dot"]
_PROMPT_NAMES: dict[Kind, tuple[str, ...]] = {"query": (), "document": ("passage", "corpus")}


@dataclass(frozen=True, eq=False)
class Student:
    """A model of its own (nobody else's is changed) at its start weights.

    Attributes:
        model: the ``SentenceTransformer``; its ``prompts`` are those in use.
        kind: static (token embeddings) or transformer; defaults depend on it.
        fingerprint: of the start weights and all that vectors depend on.
    """

    model: SentenceTransformer
    kind: ModelKind
    fingerprint: str

    @property
    def similarity(self) -> Similarity:
        """The model's own similarity."""
        how: Similarity = self.model.similarity_fn_name
        return how

    def encoder(self, max_length: int | None) -> SentenceEncoder:
        """The current weights as an encoder that sees at most ``max_length`` tokens.

        Raises:
            ModelError: a limit for a model that reads texts of any length.
        """
        return SentenceEncoder(self.model, max_length=max_length)

    def features(self, texts: Sequence[str], kind: Kind, max_length: int | None) -> dict[str, Any]:
        """What the model's forward pass takes: tokens of the texts with the prompt of that kind, on the CPU."""
        limit = {}
        if max_length is not None:
            limit = {"max_length": min(max_length, side(self.model, kind).max_seq_length or max_length)}
        prompt = self.model.prompts.get(kind)
        features: dict[str, Any] = self.model.preprocess(list(texts), prompt=prompt, task=kind, **limit)
        return {**features, **self.route(kind)}

    def route(self, kind: Kind) -> dict[str, Any]:
        """What tells a model with a branch for each side which one is meant; no other has a use for it."""
        return {"task": kind} if any(type(part).__name__ == "Router" for part in self.model) else {}


def open_student(model: str | Path | SentenceTransformer | SentenceEncoder) -> Student:
    """Load or copy a model for training.

    Args:
        model: a name (see `foils.adapters.models.resolve`), a loaded model, or an encoder with prompts of its own,
            which the trained model will keep.

    Raises:
        ModelError: no such model, one that cannot be trained, or a similarity that is no inner product.
    """
    encoder = load_encoder(model)
    if not isinstance(encoder, SentenceEncoder):
        raise ModelError(
            f"{encoder.name}: only sentence-transformers models can be trained, not {type(encoder).__name__}."
        )
    own = encoder.model if isinstance(model, str | Path) else copy.deepcopy(encoder.model)
    if not any(weights.requires_grad for weights in own.parameters()):
        raise ModelError(f"{encoder.name}: the model has no weights that can be trained.")
    for kind, others in _PROMPT_NAMES.items():
        # Under every name that is looked for, so that the saved model uses it by itself.
        prompt = encoder.prompt(kind) or ""
        own.prompts.update({kind: prompt} | {name: prompt for name in others if name in own.prompts})
    weights = SentenceEncoder(own).fingerprint("document")
    if side(own, "query") is not own:
        weights = f"{SentenceEncoder(own).fingerprint('query')} {weights}"
    return Student(own, kind_of(own), weights)


def kind_of(model: SentenceTransformer) -> ModelKind:
    """Whether queries are read token by token, without a transformer."""
    return "static" if type(side(model, "query")[0]).__name__ == "StaticEmbedding" else "transformer"
