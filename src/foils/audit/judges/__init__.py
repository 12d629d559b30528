"""Who says whether a negative is relevant: qrels, cross-encoders, language models, people, or several of them."""

from foils.audit.judges.protocol import IRRELEVANT, RELEVANT, UNKNOWN, Judge, JudgeKind, Priced, Verdicts

__all__ = ["IRRELEVANT", "RELEVANT", "UNKNOWN", "Judge", "JudgeKind", "Priced", "Verdicts"]
