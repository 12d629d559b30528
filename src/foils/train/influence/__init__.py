"""Counting, while a model is trained, which negatives move it. Importing this package imports PyTorch."""

from foils.train.influence.pressure import Pressure, pressure, temperature_of
from foils.train.influence.tally import Tally
from foils.train.influence.writing import finish

__all__ = ["Pressure", "Tally", "finish", "pressure", "temperature_of"]
