"""Mined negatives in the forms that trainers read. Text is joined here and nowhere before."""

from foils.export.exported import Exported, Shape, export
from foils.export.layouts import Format

__all__ = ["Exported", "Format", "Shape", "export"]
