"""Training: rows, batches, contrasts, losses and the run. The only layer besides model adapters that needs PyTorch."""

from foils.train.batches import Batches, Shuffled
from foils.train.contrasts import Contrast, Gathered, InBatch, MemoryBank, Mixed, NegativeCache, Own, Search
from foils.train.job import TrainSpec
from foils.train.learned import Learned
from foils.train.losses import (
    DEM,
    KL,
    Adversarial,
    Augmented,
    Confidence,
    Consistency,
    DebiasedInfoNCE,
    DirectedInfoNCE,
    HardnessInfoNCE,
    InBatchMarginMSE,
    InfoNCE,
    LambdaMRR,
    LambdaRank,
    ListMLE,
    ListNet,
    Loss,
    MarginMSE,
    MultiLabelMargin,
    PassageCentric,
    RankNet,
    SoftInfoNCE,
)
from foils.train.options import TrainOptions
from foils.train.refresh import Alongside, At, Every, Mining, Never, Refresh
from foils.train.run import Run
from foils.train.trainer import train

__all__ = [
    "DEM",
    "KL",
    "Adversarial",
    "Alongside",
    "At",
    "Augmented",
    "Batches",
    "Confidence",
    "Consistency",
    "Contrast",
    "DebiasedInfoNCE",
    "DirectedInfoNCE",
    "Every",
    "Gathered",
    "HardnessInfoNCE",
    "InBatch",
    "InBatchMarginMSE",
    "InfoNCE",
    "LambdaMRR",
    "LambdaRank",
    "Learned",
    "ListMLE",
    "ListNet",
    "Loss",
    "MarginMSE",
    "MemoryBank",
    "Mining",
    "Mixed",
    "MultiLabelMargin",
    "NegativeCache",
    "Never",
    "Own",
    "PassageCentric",
    "RankNet",
    "Refresh",
    "Run",
    "Search",
    "Shuffled",
    "SoftInfoNCE",
    "TrainOptions",
    "TrainSpec",
    "train",
]
