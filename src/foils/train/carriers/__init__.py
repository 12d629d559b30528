"""What contrasts with documents from outside the batch remember and do while a run goes on. Needs PyTorch."""

from foils.train.carriers.carrier import Carrier

__all__ = ["Carrier"]
