"""Any function as an encoder."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foils.adapters.encoding import checked
from foils.adapters.protocols import UNCACHED, Kind

_PROBE = "a text that shows the length of a vector"


class CallableEncoder:
    """A function from texts to vectors as an encoder; inner product is the score, so normalise if cosine is meant.

    Nobody can tell from outside whether a function still does what it did. So without ``version`` nothing is kept
    between runs, or between two uses in one run. With it, vectors are found again under (name, version): give another
    version whenever the function or the model behind it changes.

    Args:
        fn: ``fn(texts)``, or ``fn(texts, kind)`` with kind ``'query'`` or ``'document'`` if it has a parameter of that
            name or a second one without default. Returns an array (len(texts), dim).
        name: how messages call it; the function's name by default.
        dim: length of a vector; found with one call if not given.
        version: whatever tells versions of the function apart.

    >>> encoder = CallableEncoder(lambda texts: [[len(t), 1.0] for t in texts], name="lengths", version="1")
    >>> encoder.encode(["abc"], "query").tolist(), encoder.dim
    ([[3.0, 1.0]], 2)
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        name: str | None = None,
        dim: int | None = None,
        version: str | None = None,
    ) -> None:
        self.fn, self.version = fn, version
        self.name: str = name or getattr(fn, "__name__", None) or type(fn).__name__
        self._dim = dim

    @cached_property
    def dim(self) -> int:
        """Length of a vector; may call the function once."""
        return self._dim if self._dim is not None else int(self.encode([_PROBE], "document").shape[1])

    def fingerprint(self, kind: Kind) -> str:
        """Of name and version; new at every call where there is no version."""
        if self.version is None:
            return UNCACHED + uuid.uuid4().hex
        return f"callable:{self.name}:{self.version}:{kind if self._takes_kind else ''}"

    def encode(self, texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        """Call the function, and check what it returns."""
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        arguments = (list(texts), kind) if self._takes_kind else (list(texts),)
        return checked(self.fn(*arguments), texts, self._dim, self.name, kind)

    @cached_property
    def _takes_kind(self) -> bool:
        try:
            parameters = list(inspect.signature(self.fn).parameters.values())
        except (TypeError, ValueError):  # compiled functions may have no signature
            return False
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        return len(positional) > 1 and (
            positional[1].name == "kind" or positional[1].default is inspect.Parameter.empty
        )
