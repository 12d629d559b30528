"""Random numbers that are a pure function of (seed, stream, query, document).

No generator is passed around and no state is kept: a draw does not depend on block size, row order or the number of
workers. Another epoch is another seed. The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]


def _mix(x: Keys) -> Keys:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def key_of(text: str) -> int:
    """64-bit key of a string: the first 8 bytes of its BLAKE2b digest, little endian.

    >>> key_of("d1") == key_of("d1"), key_of("d1") == key_of("d2")
    (True, False)
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def bits(seed: int, stream: str, query: Keys, doc: Keys) -> Keys:
    """64 random bits for each (query, document).

    Args:
        seed: any integer; an epoch or a repeat is another seed.
        stream: name of the consumer, so that two samplers do not share their draws.
        query: keys of the queries' external ids, uint64; broadcasts against ``doc``.
        doc: keys of the documents' external ids, uint64.
    """
    start = np.uint64((key_of(f"{stream}/{seed}")) & 0xFFFFFFFFFFFFFFFF)
    golden = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        by_query = _mix(np.asarray(query, dtype=np.uint64) * golden + start)
        return _mix(by_query ^ _mix(np.asarray(doc, dtype=np.uint64) + golden))


def uniform(seed: int, stream: str, query: Keys, doc: Keys) -> NDArray[np.float64]:
    """Uniform draws in the open interval (0, 1), float64; see `bits` for the arguments."""
    return ((bits(seed, stream, query, doc) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def gumbel(seed: int, stream: str, query: Keys, doc: Keys) -> NDArray[np.float64]:
    """Standard Gumbel draws, ``-ln(-ln u)``, float64.

    ``argsort(log w + gumbel)`` is weighted sampling without replacement (Gumbel top-k, Kool et al. 2019).
    """
    return -np.log(-np.log(uniform(seed, stream, query, doc)))
