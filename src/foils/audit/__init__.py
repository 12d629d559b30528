"""How many of the mined negatives are relevant: strata, a judged sample, and estimates with intervals."""

from foils.audit.estimators import Rate, UninformativeJudge
from foils.audit.judges import Judge, Verdicts
from foils.audit.options import Options
from foils.audit.report import Audit
from foils.audit.run import audit

__all__ = ["Audit", "Judge", "Options", "Rate", "UninformativeJudge", "Verdicts", "audit"]
