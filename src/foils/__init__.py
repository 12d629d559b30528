"""foils: the negatives that dense retrievers are trained with."""

from foils.core.pairs import Pairs

__version__ = "0.1.0"
__all__ = ["Pairs"]
