"""What can go wrong between foils and a language model."""

from __future__ import annotations

from foils.core.errors import FoilsError


class LLMError(FoilsError):
    """An endpoint that cannot be reached, refuses, or does not speak the protocol; what was answered before is kept."""


class OfflineError(LLMError):
    """A reply that would have to be asked for, though only kept ones may be used."""


class BudgetError(LLMError):
    """Tokens or money that do not suffice for the next request; what was answered before is kept."""
