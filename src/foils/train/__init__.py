"""Training: rows, batches, contrasts, losses and the run. The only layer besides model adapters that needs PyTorch."""

from foils.train.batches import Batches, Shuffled
from foils.train.contrasts import Contrast, InBatch, MemoryBank, Own
from foils.train.job import TrainSpec
from foils.train.learned import Learned
from foils.train.losses import InfoNCE, Loss, MultiLabelMargin, RankNet
from foils.train.options import TrainOptions
from foils.train.refresh import Alongside, At, Every, Mining, Never, Refresh
from foils.train.run import Run
from foils.train.trainer import train

__all__ = [
    "Alongside",
    "At",
    "Batches",
    "Contrast",
    "Every",
    "InBatch",
    "InfoNCE",
    "Learned",
    "Loss",
    "MemoryBank",
    "Mining",
    "MultiLabelMargin",
    "Never",
    "Own",
    "RankNet",
    "Refresh",
    "Run",
    "Shuffled",
    "TrainOptions",
    "TrainSpec",
    "train",
]
