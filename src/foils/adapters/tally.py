"""What the models of this process have done so far: what a strategy costs, whatever machine it runs on."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from foils.adapters.protocols import Kind


@dataclass
class Tally:
    """Counts of one process. What was found in a cache is not in them, nor are the steps of a training.

    Attributes:
        calls: of bi-encoders and cross-encoders, a batch of any size each.
        queries: texts encoded as queries.
        documents: texts encoded as documents.
        pairs: scored by cross-encoders.
    """

    calls: int = 0
    queries: int = 0
    documents: int = 0
    pairs: int = 0
    _lock: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    def encoded(self, texts: int, kind: Kind) -> None:
        """A bi-encoder was given so many distinct texts."""
        with self._lock:
            self.calls += 1
            if kind == "query":
                self.queries += texts
            else:
                self.documents += texts

    def scored(self, pairs: int) -> None:
        """A cross-encoder was given so many pairs."""
        with self._lock:
            self.calls += 1
            self.pairs += pairs

    def counts(self) -> dict[str, int]:
        """As plain values, a copy."""
        with self._lock:
            return {name: getattr(self, name) for name in ("calls", "queries", "documents", "pairs")}


TALLY = Tally()
