"""The kinds of indexes and their parameters; `foils.adapters.ann_text.parse` reads them from a text.

Each kind is a frozen dataclass whose whole numbers may be 0: chosen from the collection. `Settings.derive` chooses; it
also lowers what cannot be reached (more cells than documents). Sizes follow the FAISS wiki ("Guidelines to choose an
index") and ScaNN's notes on its algorithms; starting efforts are ours, and low, as those left open are raised until the
measured recall reaches its bound (`foils.adapters.ann.prepare`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

from foils.core.errors import SpecError

S = TypeVar("S", bound="Settings")
LARGE = 2**31 - 1
_WIDEST = 32  # times the depth: what is re-scored exactly, at most, unless it is given


def _knob(default: float, low: float, high: float = LARGE) -> Any:
    """A parameter within bounds; where 0 is the default it means: chosen from the collection."""
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True)
class Settings:
    """What all kinds share.

    Attributes:
        recall: share of the exact best documents to be found, 0 to 1. Efforts that were left open are raised until a
            sample of queries reaches it; below it there is a warning.
        fetch: documents per query that are scored exactly; no search returns more.
    """

    kind: ClassVar[str]
    library: ClassVar[str | None] = None  # the module it needs
    efforts: ClassVar[tuple[str, ...]] = ()  # raised until the recall suffices
    searching: ClassVar[tuple[str, ...]] = ("recall", "fetch")  # no part of the built index

    recall: float = _knob(0.95, 0, 1)
    fetch: int = _knob(0, 0)

    def __post_init__(self) -> None:
        for known in fields(self):
            value, bounds = getattr(self, known.name), known.metadata
            whole = known.type == "int"
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise self._refused(known.name, "a whole number" if whole else "a number")
            if not bounds["low"] <= value <= bounds["high"]:
                upper = "" if bounds["high"] == LARGE else f" and at most {bounds['high']}"
                raise self._refused(known.name, f"at least {bounds['low']}{upper}")

    def _refused(self, name: str, bound: str) -> SpecError:
        return SpecError(f"{self.kind}({name}={getattr(self, name)!r}): {name} must be {bound}.")

    def __str__(self) -> str:
        """The text that `parse` reads."""
        given = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default]
        return f"{self.kind}({', '.join(given)})" if given else self.kind

    def derive(self, n: int, dim: int, depth: int) -> Settings:
        """The same with every 0 replaced, and nothing beyond what the collection allows.

        Args:
            n: documents.
            dim: length of their vectors.
            depth: documents wanted per query, known positives included.
        """
        raise NotImplementedError

    def build(self) -> dict[str, Any]:
        """The parameters that the built index depends on."""
        return {name: value for name, value in asdict(self).items() if name not in self.searching}

    def harder(self: S, given: Settings, n: int, depth: int) -> list[S]:
        """Derived settings with twice of one effort, for each that ``given`` leaves open and that can still grow."""
        limits = {"fetch": min(n, _WIDEST * depth), **self._limits(n)}
        grown = {
            name: min(2 * getattr(self, name), limits[name]) for name in self.efforts if not getattr(given, name, 0)
        }
        return [
            replace(self, **{name: value})._settled(n, depth)
            for name, value in grown.items()
            if value > getattr(self, name)
        ]

    def _limits(self, n: int) -> dict[str, int]:
        """Where more effort changes nothing."""
        return {}

    def _settled(self: S, n: int, depth: int) -> S:
        """Parameters that lean on each other, brought in line."""
        return self

    def _fetched(self: S, n: int, depth: int, times: float) -> S:
        """Room for the re-scoring: what is wanted times a factor, and a few more for near ties."""
        if self.fetch and self.fetch < min(n, depth):
            bound = f"at least {depth}, the documents wanted per query (k and the known positives)"
            raise self._refused("fetch", bound)
        return replace(self, fetch=max(1, min(n, self.fetch or math.ceil(times * depth) + 16)))


@dataclass(frozen=True)
class Exact(Settings):
    """`foils.adapters.exact`: every document is scored; no parameters count."""

    kind = "exact"

    def derive(self, n: int, dim: int, depth: int) -> Settings:
        """Itself."""
        return self


@dataclass(frozen=True)
class Auto(Settings):
    """Exact search while it is fast enough, `IvfFlat` above.

    Attributes:
        exact_up_to: documents up to which the search is exact.
    """

    kind = "auto"
    exact_up_to: int = _knob(200_000, 0)

    def derive(self, n: int, dim: int, depth: int) -> Settings:
        """Settings of one of the two kinds."""
        if n <= self.exact_up_to:
            return Exact()
        return IvfFlat(recall=self.recall, fetch=self.fetch).derive(n, dim, depth)


@dataclass(frozen=True)
class Hnsw(Settings):
    """FAISS's layered proximity graph (Malkov and Yashunin 2018, arXiv:1603.09320).

    Attributes:
        m: links per document; memory grows with it.
        ef_construction: candidates while building.
        ef_search: candidates while searching; at least ``fetch``.
    """

    kind, library = "hnsw", "faiss"
    efforts, searching = ("ef_search",), ("recall", "fetch", "ef_search")
    m: int = _knob(32, 2, 512)
    ef_construction: int = _knob(100, 1, 100_000)
    ef_search: int = _knob(0, 0)

    def derive(self, n: int, dim: int, depth: int) -> Hnsw:
        """``ef_search`` starts at twice the depth."""
        made = self._fetched(n, depth, 1.0)
        return replace(made, ef_search=self.ef_search or max(64, 2 * depth))._settled(n, depth)

    def _limits(self, n: int) -> dict[str, int]:
        return {"ef_search": n}

    def _settled(self, n: int, depth: int) -> Hnsw:
        return replace(self, ef_search=max(self.fetch, min(self.ef_search, n)))


@dataclass(frozen=True)
class IvfFlat(Settings):
    """FAISS's cells of a k-means, vectors as they are; the nearest cells of a query are searched.

    Attributes:
        nlist: cells; 4 √n by default, at least 39 documents each.
        nprobe: cells searched per query; starts at a 32nd of them.
    """

    kind, library = "ivf-flat", "faiss"
    efforts, searching = ("nprobe",), ("recall", "fetch", "nprobe")
    nlist: int = _knob(0, 0, 1 << 20)
    nprobe: int = _knob(0, 0, 1 << 20)

    def derive(self, n: int, dim: int, depth: int) -> IvfFlat:
        """Cells from the number of documents."""
        nlist = min(max(n, 1), self.nlist or _cells(n))
        nprobe = min(nlist, self.nprobe or max(4, nlist // 32))
        return replace(self, nlist=nlist, nprobe=nprobe)._fetched(n, depth, 1.0)

    def _limits(self, n: int) -> dict[str, int]:
        return {"nprobe": self.nlist}


@dataclass(frozen=True)
class IvfPq(Settings):
    """`IvfFlat` with product-quantised residuals (Jégou et al. 2011): small, so many are fetched and re-scored.

    Attributes:
        nlist: cells, as `IvfFlat`.
        nprobe: cells searched per query.
        m: bytes a vector (at 8 bits); it must divide the dimension; an eighth of it by default (FAISS trains
            parts of fewer than 8 dimensions many times slower).
        nbits: bits a part; needs 2^nbits documents.
    """

    kind, library = "ivf-pq", "faiss"
    efforts, searching = ("nprobe", "fetch"), ("recall", "fetch", "nprobe")
    nlist: int = _knob(0, 0, 1 << 20)
    nprobe: int = _knob(0, 0, 1 << 20)
    m: int = _knob(0, 0, 4096)
    nbits: int = _knob(8, 1, 8)

    def derive(self, n: int, dim: int, depth: int) -> IvfPq:
        """Cells from the number of documents, parts from the dimension."""
        divisors = [number for number in range(1, dim + 1) if dim % number == 0]
        if self.m and self.m not in divisors:
            raise self._refused("m", f"one of the divisors of the dimension {dim}: {', '.join(map(str, divisors))}")
        m = self.m or max(number for number in divisors if number <= max(1, dim // 8))
        nlist = min(max(n, 1), self.nlist or _cells(n))
        nprobe = min(nlist, self.nprobe or max(4, nlist // 32))
        nbits = min(self.nbits, max(1, n.bit_length() - 1))
        return replace(self, nlist=nlist, nprobe=nprobe, m=m, nbits=nbits)._fetched(n, depth, 4.0)

    def _limits(self, n: int) -> dict[str, int]:
        return {"nprobe": self.nlist}


@dataclass(frozen=True)
class Scann(Settings):
    """ScaNN's partition tree with anisotropic 4-bit codes (Guo et al. 2020, arXiv:1908.10396) and its own reordering.

    Attributes:
        leaves: partitions; √n by default.
        search: partitions searched per query; starts at a tenth.
        reorder: documents per query that ScaNN scores with whole vectors before foils re-scores the best ``fetch``.
    """

    kind, library = "scann", "scann"
    efforts, searching = ("search", "reorder"), ("recall", "fetch", "search", "reorder")
    leaves: int = _knob(0, 0, 1 << 20)
    search: int = _knob(0, 0, 1 << 20)
    reorder: int = _knob(0, 0)

    def derive(self, n: int, dim: int, depth: int) -> Scann:
        """Leaves from the number of documents."""
        leaves = min(max(n, 1), self.leaves or max(1, round(math.sqrt(n))))
        search = min(leaves, self.search or max(4, leaves // 10))
        made = replace(self, leaves=leaves, search=search)._fetched(n, depth, 1.0)
        return replace(made, reorder=self.reorder or 4 * made.fetch)._settled(n, depth)

    def _limits(self, n: int) -> dict[str, int]:
        return {"search": self.leaves, "reorder": n}

    def _settled(self, n: int, depth: int) -> Scann:
        return replace(self, reorder=max(self.fetch, min(self.reorder, n)))


@dataclass(frozen=True)
class Bits(Settings):
    """One bit a dimension, the sign of the mean-centred vector; the nearest by Hamming distance are re-scored."""

    kind, library = "bits", "faiss"
    efforts = ("fetch",)

    def derive(self, n: int, dim: int, depth: int) -> Bits:
        """Ten candidates a document wanted."""
        return self._fetched(n, depth, 10.0)


@dataclass(frozen=True)
class Lsh(Settings):
    """Random-hyperplane bits, P(equal) = 1 - θ/π (Charikar 2002); the nearest by Hamming distance are re-scored.

    Attributes:
        bits: hyperplanes, in multiples of 8; twice the dimension by default.
    """

    kind, library = "lsh", "faiss"
    efforts = ("fetch",)
    bits: int = _knob(0, 0, 1 << 16)

    def derive(self, n: int, dim: int, depth: int) -> Lsh:
        """Ten candidates a document wanted."""
        wanted = self.bits or 2 * dim
        return replace(self, bits=-(-wanted // 8) * 8)._fetched(n, depth, 10.0)


def _cells(n: int) -> int:
    return max(1, min(round(4 * math.sqrt(n)), n // 39))


KINDS: dict[str, type[Settings]] = {cls.kind: cls for cls in (Exact, Auto, Hnsw, IvfFlat, IvfPq, Scann, Bits, Lsh)}
