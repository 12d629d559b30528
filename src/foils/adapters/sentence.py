"""sentence-transformers models: bi-encoders (static ones included) and cross-encoders."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.calibration import Calibration
from foils.adapters.encoding import batches, checked
from foils.adapters.protocols import Kind, Scale
from foils.adapters.routes import side
from foils.adapters.streams import in_streams
from foils.adapters.tally import TALLY
from foils.adapters.weights import fingerprint
from foils.core.errors import ModelError, need

_BUDGET_CPU = 1024  # padded tokens a batch, one for each thread; larger batches leave the cache
_BUDGET_GPU = 32_768
_BUDGET_UNPADDED = 1 << 20  # characters
_NO_LIMIT = 1 << 30
_PROMPT_NAMES: dict[Kind, tuple[str, ...]] = {"query": ("query",), "document": ("document", "passage", "corpus")}


class SentenceEncoder:
    """A ``SentenceTransformer`` as an encoder.

    Vectors of a model whose similarity is cosine are divided by their length, so that the inner product is the
    similarity; those of a dot-product model are left as they are.

    Texts are encoded once each, in batches of like length (``batch_tokens`` padded tokens; set it to fit the device),
    on a CPU one batch on each thread that PyTorch may use. The same call gives the same bytes on the same machine; a
    vector may differ in its last bits when it is encoded among other texts.

    Args:
        model: a loaded model (`foils.adapters.models.load_encoder` takes names); not changed, and back in training mode
            after each call if it was in it.
        name: how messages call it; the name it was loaded under by default.
        query_prompt: put before queries; the model's own prompt by default, "" for none.
        document_prompt: put before documents; likewise.
        max_length: tokens after which texts are cut; the model's own limit by default.
        runner: what computes, if it is not PyTorch; another one is another fingerprint.

    Raises:
        ModelError: a similarity that is no inner product, or a limit for a model that has none.
    """

    def __init__(
        self,
        model: Any,
        *,
        name: str | None = None,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        max_length: int | None = None,
        runner: str = "torch",
    ) -> None:
        self.model, self.max_length, self.runner = model, max_length, runner
        self.name = name or _name_of(model)
        self.batch_tokens = min(_budget(side(model, kind)) for kind in _PROMPT_NAMES)
        self._prompts: dict[Kind, str | None] = {"query": query_prompt, "document": document_prompt}
        if model.similarity_fn_name not in ("cosine", "dot"):
            raise ModelError(
                f"{self.name}: similarity {model.similarity_fn_name!r} is a distance, not an inner product. "
                "Set model.similarity_fn_name to 'cosine' or 'dot'."
            )
        if max_length is not None and not _pads_at_all(model):
            raise ModelError(
                f"{self.name}: max_length={max_length}, but this model reads texts of any length. Omit it."
            )

    @property
    def dim(self) -> int:
        """Length of a vector."""
        dim = self.model.get_embedding_dimension()
        if dim is None:
            raise ModelError(f"{self.name}: its modules do not say how long a vector is. Set model.truncate_dim.")
        return int(dim)

    def fingerprint(self, kind: Kind) -> str:
        """Of weights, tokenizer, modules, prompts, limit and similarity, as they are now; of that side alone."""
        model = side(self.model, kind)
        settings = {
            "kind": kind,
            "prompt": self.prompt(kind),
            "prompts": [model.prompts, model.default_prompt_name],
            "max_length": str(self.max_length or model.max_seq_length),
            "similarity": model.similarity_fn_name,
            "dim": self.dim,
            **({"runner": self.runner} if self.runner != "torch" else {}),
        }
        return fingerprint(model, settings)

    def prompt(self, kind: Kind) -> str | None:
        """The prompt given, else the model's own; None leaves it to the library."""
        if self._prompts[kind] is not None:
            return self._prompts[kind]
        # The library adds an empty 'document' prompt to every model, and then no longer sees the one called 'passage'.
        own = (self.model.prompts.get(name) for name in _PROMPT_NAMES[kind])
        return next((prompt for prompt in own if prompt), None)

    def encode(self, texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        """Vectors of texts, float32 (len(texts), dim).

        Raises:
            ModelError: NaN or infinite vectors.
        """
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        distinct = list(places)
        TALLY.encoded(len(distinct), kind)
        vectors = np.empty((len(distinct), self.dim), np.float32)
        prompt, model = self.prompt(kind), side(self.model, kind)
        run = model.encode_query if kind == "query" else model.encode_document
        pads = _pads(model)
        budget = self.batch_tokens if pads or not _pads_at_all(self.model) else _BUDGET_UNPADDED
        with _inference(model, self.max_length if pads else None):

            def compute(batch: NDArray[np.int64]) -> None:
                part = [distinct[i] for i in batch]
                vectors[batch] = run(part, prompt=prompt, batch_size=len(part), show_progress_bar=False)

            in_streams(model, compute, list(batches(_lengths(model, distinct), budget)))
        checked(vectors, distinct, self.dim, self.name, kind)
        if self.model.similarity_fn_name == "cosine":
            lengths = np.sqrt(np.square(vectors, dtype=np.float64).sum(axis=1, keepdims=True))
            vectors = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
        return vectors[[places[text] for text in texts]] if len(distinct) < len(texts) else vectors


class CrossEncoderScorer:
    """A sentence-transformers ``CrossEncoder`` as a reranker.

    Scores are calibrated probabilities where there is a calibration. Else they are what its ``predict`` gives:
    probabilities if its activation is a sigmoid, else logits; ``scale`` says. `logits` gives the same model on the
    other scale. Pairs are scored in batches of like length (``batch_tokens`` padded tokens; set it to fit the device).

    Args:
        model: a loaded model (`foils.adapters.models.load_reranker` takes names); not changed.
        name: how messages call it; the name it was loaded under by default.
        max_length: tokens after which pairs are cut; the model's own limit by default.
        calibration: how its logits become probabilities.

    Raises:
        ModelError: a classifier with several outputs.
    """

    def __init__(
        self,
        model: Any,
        *,
        name: str | None = None,
        max_length: int | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.model, self.max_length, self.calibration = model, max_length, calibration
        self.name = name or _name_of(model)
        self.batch_tokens = _budget(model)
        self._log_odds = False
        if model.num_labels != 1:
            raise ModelError(
                f"{self.name}: {model.num_labels} outputs for a pair, a reranker gives one. "
                "Use a model with num_labels=1."
            )

    def logits(self) -> CrossEncoderScorer:
        """The same model with log-odds for scores, calibrated ones where there is a calibration, else its output."""
        same = copy.copy(self)
        same._log_odds = True
        return same

    @property
    def scale(self) -> Scale:
        """Whether scores are probabilities."""
        squashed = self.calibration is not None or type(self.model.activation_fn).__name__ == "Sigmoid"
        return "probability" if squashed and not self._log_odds else "logit"

    @property
    def fingerprint(self) -> str:
        """Of weights, tokenizer, activation, calibration, prompts and limit, as they are now."""
        found = self.calibration
        return fingerprint(
            self.model,
            {
                **self._settings(),
                "activation": "log-odds" if self._log_odds else repr(self.model.activation_fn),
                **({} if found is None else {"calibration": [found.scale, found.shift]}),
            },
        )

    @property
    def raw_fingerprint(self) -> str:
        """Of all that `raw` depends on, as it is now."""
        return fingerprint(self.model, {**self._settings(), "activation": "none"})

    def _settings(self) -> dict[str, Any]:
        return {
            "prompts": [self.model.prompts, self.model.default_prompt_name],
            "max_length": str(self.max_length or self.model.max_seq_length),
        }

    def score(self, queries: Sequence[str], docs: Sequence[str]) -> NDArray[np.float32]:
        """Score of ``queries[i]`` with ``docs[i]``, float32 (n,).

        Raises:
            ModelError: NaN or infinite scores.
            ValueError: lists of unlike lengths.
        """
        return self.finish(self.raw(queries, docs))

    def finish(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of the model's raw outputs, float32 (n,)."""
        if self.calibration is not None:
            return self.calibration.log_odds(raw) if self._log_odds else self.calibration.probabilities(raw)
        if self._log_odds:
            return raw
        torch = need("torch", "st")
        scores: NDArray[np.float32] = self.model.activation_fn(torch.from_numpy(raw)).numpy()
        return scores

    def raw(self, queries: Sequence[str], docs: Sequence[str]) -> NDArray[np.float32]:
        """What the model's head gives for ``queries[i]`` with ``docs[i]``, before any activation, float32 (n,); see
        `score`.
        """
        torch = need("torch", "st")
        pairs, plain = list(zip(queries, docs, strict=True)), torch.nn.Identity()
        scores = np.empty(len(pairs), np.float32)
        TALLY.scored(len(pairs))
        with _inference(self.model, self.max_length):
            lengths = np.zeros(len(pairs), np.int64)
            for side in (queries, docs):
                places = {text: place for place, text in enumerate(dict.fromkeys(side))}
                lengths += _lengths(self.model, list(places))[[places[text] for text in side]] if pairs else 0

            def compute(batch: NDArray[np.int64]) -> None:
                part = [pairs[i] for i in batch]
                scores[batch] = self.model.predict(
                    part, activation_fn=plain, batch_size=len(part), show_progress_bar=False
                )

            lengths = np.minimum(lengths, _limit(self.model))
            in_streams(self.model, compute, list(batches(lengths, self.batch_tokens)))
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):
            message = f"{self.name}: {len(bad):,} of {len(pairs):,} scores are NaN or infinite, the first for the query"
            raise ModelError(f"{message} {queries[bad[0]][:80]!r}. Load the model in float32, or check its weights.")
        return scores


def _name_of(model: Any) -> str:
    card = getattr(model, "model_card_data", None)
    config = getattr(model, "config", None)
    return str(getattr(card, "base_model", None) or getattr(config, "_name_or_path", None) or type(model).__name__)


def _pads(model: Any) -> bool:
    """Whether texts of a batch are padded to one length: transformers, but not static models."""
    return callable(getattr(model, "tokenizer", None))


def _pads_at_all(model: Any) -> bool:
    return any(_pads(side(model, kind)) for kind in _PROMPT_NAMES)


def _budget(model: Any) -> int:
    if not _pads(model):
        return _BUDGET_UNPADDED
    return _BUDGET_CPU if model.device.type == "cpu" else _BUDGET_GPU


def _lengths(model: Any, texts: list[str]) -> NDArray[np.int64]:
    """Length of each text as the model sees it: tokens, or characters if there is no padding to save."""
    if not texts or not _pads(model):
        return np.array([len(text) for text in texts], np.int64)
    found = model.tokenizer(texts, return_attention_mask=False, return_token_type_ids=False, verbose=False)
    return np.minimum([len(tokens) for tokens in found["input_ids"]], _limit(model))


def _limit(model: Any) -> int:
    """Tokens after which the model cuts; libraries write "no limit" as None, infinity or 1e30."""
    limit = model.max_seq_length
    return int(limit) if limit is not None and limit < _NO_LIMIT else _NO_LIMIT


@contextmanager
def _inference(model: Any, max_length: int | None) -> Iterator[None]:
    """The limit in force, and the model's own limit and training mode restored afterwards."""
    training, own = model.training, model.max_seq_length
    if max_length is not None:
        model.max_seq_length = max_length
    try:
        yield
    finally:
        if max_length is not None:
            model.max_seq_length = own
        model.train(training)
