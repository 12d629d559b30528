"""Texts written for training: negatives and positives of queries, and queries of documents; checked, tagged, apart."""

from foils.writing.author import Author, Desk, Wanted
from foils.writing.check import Check
from foils.writing.checks import Copied, Language, Length, Repeats
from foils.writing.draft import Draft, Edit, Role
from foils.writing.from_file import FromFile
from foils.writing.model_checks import Above, Below, Judged, Plausible
from foils.writing.run import Options, write

__all__ = [
    "Above",
    "Author",
    "Below",
    "Check",
    "Copied",
    "Desk",
    "Draft",
    "Edit",
    "FromFile",
    "Judged",
    "Language",
    "Length",
    "Options",
    "Plausible",
    "Repeats",
    "Role",
    "Wanted",
    "write",
]
