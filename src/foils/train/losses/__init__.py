"""Losses over a training batch: who is pulled up, who is pushed down, and how hard."""

from foils.train.losses.augmented import Augmented
from foils.train.losses.debiased import DebiasedInfoNCE
from foils.train.losses.directed import DirectedInfoNCE, PassageCentric
from foils.train.losses.distil import KL, Adversarial, InBatchMarginMSE, MarginMSE
from foils.train.losses.infonce import HardnessInfoNCE, InfoNCE, SoftInfoNCE
from foils.train.losses.listwise import LambdaMRR, LambdaRank, ListMLE, ListNet
from foils.train.losses.loss import Loss
from foils.train.losses.pairwise import DEM, MultiLabelMargin, RankNet
from foils.train.losses.regularisers import Confidence, Consistency
from foils.train.losses.wasserstein import Wasserstein

__all__ = [
    "DEM",
    "KL",
    "Adversarial",
    "Augmented",
    "Confidence",
    "Consistency",
    "DebiasedInfoNCE",
    "DirectedInfoNCE",
    "HardnessInfoNCE",
    "InBatchMarginMSE",
    "InfoNCE",
    "LambdaMRR",
    "LambdaRank",
    "ListMLE",
    "ListNet",
    "Loss",
    "MarginMSE",
    "MultiLabelMargin",
    "PassageCentric",
    "RankNet",
    "SoftInfoNCE",
    "Wasserstein",
]
