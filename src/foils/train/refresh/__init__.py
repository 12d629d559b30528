"""Refresh: when a run mines its negatives again, with the model as it has become."""

from foils.train.refresh.mining import Mining
from foils.train.refresh.values import Alongside, At, Every, Never, Refresh

__all__ = ["Alongside", "At", "Every", "Mining", "Never", "Refresh"]
