"""Teachers: cross-encoders trained on the collection itself, whose scores supervise mining and training."""

from foils.teach.options import TeachOptions
from foils.teach.teaching import Teacher, teach

__all__ = ["TeachOptions", "Teacher", "teach"]
