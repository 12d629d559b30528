"""Which training rows form a batch."""

from foils.train.batches.clustered import Clustered, ClusterPerBatch
from foils.train.batches.distinct import NoDuplicates
from foils.train.batches.grouped import Grouped
from foils.train.batches.orders import Batches, Ground, Orders, Shuffled, count, cut, sizes
from foils.train.batches.plan import Plan

__all__ = [
    "Batches",
    "ClusterPerBatch",
    "Clustered",
    "Ground",
    "Grouped",
    "NoDuplicates",
    "Orders",
    "Plan",
    "Shuffled",
    "count",
    "cut",
    "sizes",
]
