"""What a person sees in a terminal: progress and tables that read well in 80 columns. Programs read ``--json``."""

from foils.terminal.auditing import audited
from foils.terminal.collections import inspected
from foils.terminal.evaluating import spaces, transferred
from foils.terminal.generations import difference, generations
from foils.terminal.influences import explained, influences, probed
from foils.terminal.layout import console, facts
from foils.terminal.listings import parts, prompts, recipes, stage_page, stages
from foils.terminal.negatives import examples, mined
from foils.terminal.progress import progress
from foils.terminal.runs import taught, trained

__all__ = [
    "audited",
    "console",
    "difference",
    "examples",
    "explained",
    "facts",
    "generations",
    "influences",
    "inspected",
    "mined",
    "parts",
    "probed",
    "progress",
    "prompts",
    "recipes",
    "spaces",
    "stage_page",
    "stages",
    "taught",
    "trained",
    "transferred",
]
