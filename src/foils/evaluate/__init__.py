"""Retrieval measures with their uncertainty: is it better, by how much, and would other queries say so too."""

from foils.evaluate.probe import Probe, probe
from foils.evaluate.retrieval import Settings, System, evaluate, evaluate_all
from foils.evaluate.scores import Comparison, Scores
from foils.evaluate.space import Space, space
from foils.evaluate.tables import Table

__all__ = [
    "Comparison",
    "Probe",
    "Scores",
    "Settings",
    "Space",
    "System",
    "Table",
    "evaluate",
    "evaluate_all",
    "probe",
    "space",
]
