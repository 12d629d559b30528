"""The guard of a run: notices when training goes wrong, goes back, and goes on more simply."""

from foils.train.guard.values import Fallback, Guard

__all__ = ["Fallback", "Guard"]
