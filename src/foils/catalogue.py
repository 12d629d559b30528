"""What can be written in a pipeline or recipe, read off the declarations themselves."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
from typing import Any

from foils.core.errors import SpecError
from foils.core.spec import Declared, registry, types_of

_FIELD = re.compile(r"^    (\w+): [^#\n]*#\s*(.*?)\s*$", re.MULTILINE)


def stage_named(name: str) -> type[Declared]:
    """The declared stage of that name.

    Raises:
        SpecError: there is none; with a suggestion.
    """
    known = registry("stage")
    if name in known:
        return known[name]
    folded = {key.lower(): key for key in known}
    close = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    hint = f"; did you mean {folded[close[0]]!r}?" if close else "."
    raise SpecError(f"unknown stage {name!r}{hint} See: foils stages")


def describe(cls: type[Declared]) -> dict[str, Any]:
    """Name, family, documentation and fields of a declared class, as plain values."""
    said = dict(_FIELD.findall(inspect.getsource(cls)))
    types = types_of(cls)
    fields = [
        {
            "name": field.name,
            "type": types[field.name],
            "required": field.default is dataclasses.MISSING,
            "default": None if field.default is dataclasses.MISSING else field.default,
            "help": said.get(field.name, ""),
        }
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
    ]
    family = getattr(cls, "family", cls.role)
    return {"name": cls.__name__, "family": family, "doc": inspect.getdoc(cls) or "", "fields": fields}
