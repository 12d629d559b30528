"""Contrasts: whom a query is compared with in a training step. The online counterpart of a source."""

from foils.train.contrasts.bank import MemoryBank
from foils.train.contrasts.cache import NegativeCache
from foils.train.contrasts.contrast import Contrast
from foils.train.contrasts.gathered import Gathered
from foils.train.contrasts.local import InBatch, Own
from foils.train.contrasts.mixed import Mixed
from foils.train.contrasts.search import Search

__all__ = ["Contrast", "Gathered", "InBatch", "MemoryBank", "Mixed", "NegativeCache", "Own", "Search"]
