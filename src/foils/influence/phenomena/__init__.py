"""What sets a negative apart from the positive in language: small rules, and what share of the gradient each has."""

from foils.influence.phenomena.prevalence import compared, phenomena, write
from foils.influence.phenomena.rules import RULES, Rule

__all__ = ["RULES", "Rule", "compared", "phenomena", "write"]
