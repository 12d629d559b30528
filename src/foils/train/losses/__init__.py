"""Losses over a training batch: who is pulled up, who is pushed down, and how hard."""

from foils.train.losses.infonce import InfoNCE
from foils.train.losses.loss import Loss
from foils.train.losses.pairwise import MultiLabelMargin, RankNet

__all__ = ["InfoNCE", "Loss", "MultiLabelMargin", "RankNet"]
