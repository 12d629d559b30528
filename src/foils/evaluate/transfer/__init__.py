"""What a model can do besides the retrieval that it was trained for, and whether it has become worse at it."""

from foils.evaluate.transfer.answer import Answer, Versus
from foils.evaluate.transfer.reading import read_task, read_tasks
from foils.evaluate.transfer.run import Transfer, transfer
from foils.evaluate.transfer.tasks import (
    Classification,
    Clustering,
    How,
    PairClassification,
    Retrieval,
    Similarity,
    Task,
)

__all__ = [
    "Answer",
    "Classification",
    "Clustering",
    "How",
    "PairClassification",
    "Retrieval",
    "Similarity",
    "Task",
    "Transfer",
    "Versus",
    "read_task",
    "read_tasks",
    "transfer",
]
