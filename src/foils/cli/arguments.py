"""Texts of the command line as the values that functions take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from foils.core.errors import SpecError


def named_models(given: list[str] | None) -> dict[str, str]:
    """``NAME=MODEL`` texts as a mapping."""
    models: dict[str, str] = {}
    for text in given or []:
        name, sign, model = text.partition("=")
        if not sign or not name or not model:
            raise SpecError(f"--encoder {text}: write NAME=MODEL, such as --encoder teacher=minilm.")
        if name in models:
            raise SpecError(f"--encoder {text}: {name!r} is {models[name]!r} already; give it once.")
        models[name] = model
    return models


def prompted(models: dict[str, str], query: str | None, document: str | None, precision: Any) -> dict[str, Any]:
    """Load the models with prompts; leave them as names if there are none."""
    if query is None and document is None:
        return dict(models)
    from foils.adapters.models import load_encoder

    return {
        name: load_encoder(model, query_prompt=query, document_prompt=document, precision=precision)
        for name, model in models.items()
    }


def column_roles(text: str | None) -> dict[str, Any] | None:
    """``ROLE=COLUMN,…`` as the columns that `foils.load` takes."""
    if text is None:
        return None
    roles: dict[str, Any] = {}
    for part in text.split(","):
        role, sign, column = part.partition("=")
        if not sign:
            raise SpecError(f"--columns {text}: write ROLE=COLUMN, such as query=frage,positive=antwort.")
        roles[role.strip()] = None if column == "" else int(column) if column.isdecimal() else column
    return roles


def named_values(given: list[str] | None) -> dict[str, Any]:
    """``NAME=VALUE`` texts, values read as JSON where they are JSON."""
    options: dict[str, Any] = {}
    for text in given or []:
        name, sign, value = text.partition("=")
        if not sign:
            raise SpecError(f"--set {text}: write NAME=VALUE, such as --set patience=3.")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def file_name(name: str) -> str:
    """A name that can be a file's."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)


def named_systems(models: list[str], baseline: str | None) -> dict[str, str]:
    """Name -> model; the baseline first, and not twice if it is also among the models."""
    named: dict[str, str] = {}
    for text in [*([] if baseline is None else [baseline]), *models]:
        name, sign, rest = text.partition("=")
        if not sign or Path(text).exists():
            name, rest = Path(text).name if Path(text).exists() else text, text
            if name == "model" and Path(text).is_dir():
                name = Path(text).resolve().parent.name
        if named.get(name, rest) != rest:
            raise SpecError(f"two models are called {name!r}; name one of them: --model NAME={rest}")
        named[name] = rest
    return named


def system(text: str, query_prompt: str | None, document_prompt: str | None) -> Any:
    """What `evaluate_all` takes, with prompts if any are given."""
    if (query_prompt is None and document_prompt is None) or text == "bm25" or Path(text).is_file():
        return text
    from foils.adapters.models import load_encoder

    return load_encoder(text, query_prompt=query_prompt, document_prompt=document_prompt)


def whole(number: float | None) -> float | None:
    """A number as it is written where it is whole: 2 epochs and 2.0 epochs are the same training."""
    return int(number) if number is not None and number.is_integer() else number
