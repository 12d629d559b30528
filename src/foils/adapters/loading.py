"""Load sentence-transformers models from folders and from the hub, with errors that say what to do."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from foils.core.errors import ModelError, need

Family = Literal["SentenceTransformer", "CrossEncoder"]
_HUB_SECONDS = 5.0


def load(place: str, family: Family) -> Any:
    """A model of that family.

    Args:
        place: a folder, else a hub name.
        family: the class of sentence-transformers to load it with.

    Raises:
        ModelError: nothing to load, a model of the other family, or no hub.
        MissingExtra: sentence-transformers is not installed.
    """
    loader = getattr(need("sentence_transformers", "st"), family)
    if not Path(place).is_dir():
        return _from_hub(loader, place, family)
    _check_family(_saved_family(Path(place)), place, family)
    with _quiet():
        try:
            return loader(place, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{place}: no model can be loaded from this folder ({_first_line(error)}).") from error


def for_pairs(place: str, **options: Any) -> Any:
    """A cross-encoder to train: the one that is there, or a transformer with a new head of one output.

    Args:
        place: a folder, else a hub name: of a cross-encoder, a bi-encoder or a language model.
        options: for ``CrossEncoder``, such as ``config_kwargs``.

    Raises:
        ModelError: nothing to load, a model that reads each text by itself, or no hub.
        MissingExtra: sentence-transformers is not installed.
    """
    loader = functools.partial(need("sentence_transformers", "st").CrossEncoder, num_labels=1, **options)
    check_base(place)
    folder = Path(place)
    with _quiet():
        try:
            return loader(place, local_files_only=True) if folder.is_dir() else _from_hub(loader, place, None)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelError(f"{place}: no cross-encoder can be made of it ({_first_line(error)}).") from error


def check_base(place: str, remedy: str = "Give a transformer, such as 'minilm'.") -> None:
    """Refuse what no cross-encoder can be made of, as far as the folder says so; nothing is loaded.

    Args:
        place: a folder, else a hub name.
        remedy: what to do instead.

    Raises:
        ModelError: a model that reads each text by itself.
    """
    modules = Path(place) / "modules.json"
    if modules.is_file() and "StaticEmbedding" in modules.read_text(encoding="utf-8"):
        raise ModelError(
            f"{place} is a static model: it has a vector for each token and cannot read a query and a document "
            f"together, so no cross-encoder can be made of it. {remedy}"
        )


def check_pairs(place: str) -> None:
    """Refuse a folder that says that it holds a bi-encoder where a cross-encoder is wanted; nothing is loaded.

    Raises:
        ModelError: it is a bi-encoder.
    """
    if Path(place).is_dir():
        _check_family(_saved_family(Path(place)), place, "CrossEncoder")


def _from_hub(loader: Any, name: str, family: Family | None) -> Any:
    """A model that is in the hub's local cache, else from the hub if it answers at once."""
    try:
        model = loader(name, local_files_only=True)
    except OSError:
        _ask_hub(name)
        model = loader(name)
    if family == "CrossEncoder":
        _check_family(_family_of(getattr(model.config, "architectures", None)), name, family)
    return model


def _ask_hub(name: str) -> None:
    # The libraries would try for over a minute before they gave up.
    hub = need("huggingface_hub", "st")
    try:
        hub.HfApi().model_info(name, timeout=_HUB_SECONDS)
    except hub.errors.RepositoryNotFoundError as error:
        message = f"{name!r} is no folder, and the hub has no such model."
        raise ModelError(f"{message} Check the name, or log in to the hub if the model is private.") from error
    except Exception as error:  # which kind it is depends on the hub client's version and its network library
        message = f"{name!r} is no folder, and the model hub cannot be reached ({_first_line(error)})."
        raise ModelError(f"{message} Give a folder, or the short name 'minilm' or 'static'.") from error


def _saved_family(folder: Path) -> str | None:
    """What a folder says that it holds; None where it says nothing."""
    saved = _json(folder / "config_sentence_transformers.json").get("model_type")
    if saved in ("SentenceTransformer", "CrossEncoder"):
        return str(saved)
    if (folder / "modules.json").is_file():
        return "SentenceTransformer"
    return _family_of(_json(folder / "config.json").get("architectures"))


def _family_of(architectures: Any) -> str | None:
    """A head over pairs makes a cross-encoder; a causal model may be either."""
    if not architectures or str(architectures[0]).endswith("ForCausalLM"):
        return None
    pairs = str(architectures[0]).endswith("ForSequenceClassification")
    return "CrossEncoder" if pairs else "SentenceTransformer"


def _check_family(found: str | None, name: str, wanted: Family) -> None:
    """Either library loads the other's models without a word, with random weights where some are missing."""
    if found is None or found == wanted:
        return
    if found == "CrossEncoder":
        raise ModelError(f"{name} is a cross-encoder: it scores pairs and has no vectors. Use it as a cross-encoder.")
    raise ModelError(
        f"{name} is a bi-encoder: a cross-encoder made from it would score at random. Train one first: foils teach."
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: not JSON ({error}). Save the model again.") from None
    return content if isinstance(content, dict) else {}


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


@contextmanager
def _quiet() -> Iterator[None]:
    """No bar for the second that reading a local file takes."""
    logging = need("transformers.utils.logging", "st")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
