"""How an index is asked for: ``exact``, ``auto``, ``hnsw``, ``ivf-flat(nlist=1264, nprobe=64)``, …"""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from functools import cache
from typing import Any

from foils.adapters.ann_settings import KINDS, Exact, Settings
from foils.core.errors import SpecError
from foils.core.text import did_you_mean

_SHAPE = re.compile(r"\s*([A-Za-z][\w-]*)\s*(\(.*\))?\s*", re.DOTALL)


@cache
def parse(text: str) -> Settings:
    """Read an index from its text, such as ``ivf-flat(nprobe=64)``.

    Raises:
        SpecError: an unknown kind or parameter, or a value out of bounds; the message names those there are.

    >>> parse("ivf-flat(nprobe=64)")
    IvfFlat(recall=0.95, fetch=0, nlist=0, nprobe=64)
    >>> str(parse("hnsw( m = 16 )"))
    'hnsw(m=16)'
    """
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise SpecError(f"{text!r} is no index; examples: {', '.join(KINDS)}, ivf-flat(nlist=1264, nprobe=64).")
    name, inside = shape.groups()
    cls = KINDS.get(name)
    if cls is None:
        raise SpecError(f"there is no index {name!r}.{did_you_mean(name, list(KINDS))} There are: {', '.join(KINDS)}.")
    return cls(**_arguments(cls, inside or "()"))


def _arguments(cls: type[Settings], inside: str) -> dict[str, Any]:
    known = [] if cls is Exact else [each.name for each in fields(cls)]
    listed = f"It takes {', '.join(known)}." if known else "It takes none."
    try:
        call = ast.parse(f"f{inside.replace(chr(10), ' ')}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise SpecError(f"{cls.kind}{inside}: give parameters by name. {listed}")
        found = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise SpecError(f"{cls.kind}{inside}: cannot read this. {listed} Values are plain numbers.") from None
    for name in found:
        if name not in known:
            raise SpecError(f"{cls.kind}: no parameter {name!r}. {listed}")
    return found  # type: ignore[return-value]
