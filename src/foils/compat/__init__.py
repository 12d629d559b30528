"""Functions that stand in for those of other tools: the same call, the same rows, on this library's engine."""

from foils.compat.hard_negatives import mine_hard_negatives

__all__ = ["mine_hard_negatives"]
