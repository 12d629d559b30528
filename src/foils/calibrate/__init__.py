"""Margins that are found on labels instead of chosen: `calibrate` writes the thresholds that `Calibrated` reads."""

from foils.calibrate.labels import Labels, labels_of
from foils.calibrate.run import calibrate

__all__ = ["Labels", "calibrate", "labels_of"]
