"""Authors that ask a language model."""

from foils.writing.llm.negatives import Counterfactual, E5Style, SyNeg
from foils.writing.llm.paraphrases import Paraphrase
from foils.writing.llm.queries import Queries

__all__ = ["Counterfactual", "E5Style", "Paraphrase", "Queries", "SyNeg"]
