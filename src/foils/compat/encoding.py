"""Vectors of both sides, from the model's own methods or from files of an earlier call."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from foils.adapters.protocols import UNCACHED
from foils.adapters.weights import fingerprint
from foils.compat.report import Report
from foils.compat.texts import Pairs, keys
from foils.core.atomic import replacing

_PROBE = 8  # texts that tell two models without weights apart

Vectors = NDArray[Any]


@dataclass(frozen=True)
class Prompt:
    """What is put before texts: itself, or its name among the model's prompts."""

    text: str | None
    name: str | None


@dataclass(frozen=True)
class Encoding:
    """How texts become vectors."""

    query: Prompt
    document: Prompt
    batch_size: int
    devices: list[str] | bool  # of a pool of processes; False for none
    cache: Path | None


@dataclass(frozen=True)
class _Side:
    """One side of the pairs, and the model's method for it."""

    name: str
    texts: pa.LargeStringArray
    prompt: Prompt
    method: Callable[..., Any]

    def encode(self, texts: list[str], pool: Any, batch_size: int) -> Vectors:
        vectors = self.method(
            texts,
            pool=pool,
            batch_size=batch_size,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=True,
            prompt_name=self.prompt.name,
            prompt=self.prompt.text,
        )
        return as_array(vectors)

    def file(self, folder: Path, model: Any, batch_size: int) -> Path:
        """Where the vectors are kept: a name that changes with the texts, the prompt and what the model computes."""
        digest = hashlib.sha256(keys(self.texts).tobytes())
        settings = {
            "side": self.name,
            "prompt": [self.prompt.text, self.prompt.name],
            "prompts": [getattr(model, "prompts", None), getattr(model, "default_prompt_name", None)],
            "limits": [getattr(model, "max_seq_length", None), getattr(model, "truncate_dim", None)],
            "base": str(model.model_card_data.base_model or ""),
        }
        identity = _weights(model, settings)
        if identity.startswith(UNCACHED):
            places = np.linspace(0, len(self.texts) - 1, min(_PROBE, len(self.texts))).astype(np.int64)
            probe = self.encode(self.texts.take(pa.array(places)).to_pylist(), None, batch_size)
            digest.update(f"{probe.dtype}{probe.shape}{sorted(settings.items())}".encode())
            digest.update(np.ascontiguousarray(probe).tobytes())
        digest.update(identity.removeprefix(UNCACHED).encode())
        return folder / f"{self.name}_embeddings_{digest.hexdigest()}.npy"


def encode(model: Any, pairs: Pairs, how: Encoding, report: Report) -> tuple[Vectors, Vectors]:
    """Vectors of queries and documents, row for row with the pairs' texts.

    The model's ``encode_document`` and ``encode_query`` are called once each, as the incumbent calls them. Files in the
    cache folder are named by what they depend on, the model's weights included; a model that shows no weights is told
    by the vectors of a few texts.
    """
    query = _Side("query", pairs.queries, how.query, model.encode_query)
    corpus = _Side("corpus", pairs.docs, how.document, model.encode_document)
    vectors: dict[str, Vectors] = {}
    files: dict[str, Path] = {}
    if how.cache is not None:
        how.cache.mkdir(parents=True, exist_ok=True)
        files = {side.name: side.file(how.cache, model, how.batch_size) for side in (query, corpus)}
        vectors = {name: _loaded(name, file, report) for name, file in files.items() if file.exists()}
    if len(vectors) < 2:
        with pool_of(model, how.devices) as pool:
            for side in (corpus, query):
                if side.name not in vectors:
                    vectors[side.name] = side.encode(side.texts.to_pylist(), pool, how.batch_size)
    for name, file in files.items():
        if not file.exists():
            with replacing(file) as partial, partial.open("wb") as handle:
                np.save(handle, vectors[name])
            report.say(f"[Cache] Saved {name} embeddings to {file}")
    return vectors["query"], vectors["corpus"]


@contextmanager
def pool_of(model: Any, devices: list[str] | bool) -> Iterator[Any]:
    """The model's own pool of processes for as long as it is needed; None if none is asked for."""
    if not devices:
        yield None
        return
    pool = model.start_multi_process_pool(target_devices=None if isinstance(devices, bool) else devices)
    try:
        yield pool
    finally:
        model.stop_multi_process_pool(pool)


def as_array(values: Any) -> NDArray[Any]:
    """A numpy array from a tensor (any device, any dtype) or whatever numpy takes."""
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values)


def _loaded(name: str, file: Path, report: Report) -> Vectors:
    vectors: Vectors = np.load(file, mmap_mode="r")
    report.say(f"[Cache] Loaded {name} embeddings from {file} (shape={vectors.shape})")
    return vectors


def _weights(model: Any, settings: dict[str, Any]) -> str:
    torch: Any = sys.modules.get("torch")
    if torch is None or not isinstance(model, torch.nn.Sequential):
        return UNCACHED
    found = fingerprint(model, settings)
    return UNCACHED if found.startswith(UNCACHED) else found
