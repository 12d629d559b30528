"""Texts written for training: negatives and positives of queries, and queries of documents; checked, tagged, apart."""

from foils.writing.author import Author, Desk, Wanted
from foils.writing.check import Check
from foils.writing.checks import Copied, Language, Length, Repeats, Usual
from foils.writing.draft import Draft, Edit, Role
from foils.writing.from_file import FromFile
from foils.writing.llm import Counterfactual, E5Style, Paraphrase, Queries, SyNeg
from foils.writing.llm.checks import Chatter, Generic, RoundTrip, Verbatim, Words
from foils.writing.model_checks import Above, Below, Judged, Plausible
from foils.writing.perturb import Identity, Perturb
from foils.writing.run import Options, write
from foils.writing.views import Views

__all__ = [
    "Above",
    "Author",
    "Below",
    "Chatter",
    "Check",
    "Copied",
    "Counterfactual",
    "Desk",
    "Draft",
    "E5Style",
    "Edit",
    "FromFile",
    "Generic",
    "Identity",
    "Judged",
    "Language",
    "Length",
    "Options",
    "Paraphrase",
    "Perturb",
    "Plausible",
    "Queries",
    "Repeats",
    "Role",
    "RoundTrip",
    "SyNeg",
    "Usual",
    "Verbatim",
    "Views",
    "Wanted",
    "Words",
    "write",
]
