"""Lint a file of negatives of any tool: what in it would teach a model something wrong."""

from foils.check.checks import CODES
from foils.check.report import Example, Finding, Report
from foils.check.run import check
from foils.check.subject import Limits

__all__ = ["CODES", "Example", "Finding", "Limits", "Report", "check"]
