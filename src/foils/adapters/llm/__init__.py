"""Language models behind OpenAI-compatible HTTP endpoints, or any function in their place."""

from foils.adapters.llm.access import Access, AnyModel, announce, opened, spent
from foils.adapters.llm.client import LLM, Model
from foils.adapters.llm.endpoint import Endpoint, Patience
from foils.adapters.llm.errors import BudgetError, LLMError, OfflineError
from foils.adapters.llm.function import Absent, Function
from foils.adapters.llm.messages import Reply, Request, count_tokens
from foils.adapters.llm.prompts import Prompt, prompt, shipped
from foils.adapters.llm.spending import Estimate, Price, Spending
from foils.adapters.llm.structured import Answer, ask

__all__ = [
    "LLM",
    "Absent",
    "Access",
    "Answer",
    "AnyModel",
    "BudgetError",
    "Endpoint",
    "Estimate",
    "Function",
    "LLMError",
    "Model",
    "OfflineError",
    "Patience",
    "Price",
    "Prompt",
    "Reply",
    "Request",
    "Spending",
    "announce",
    "ask",
    "count_tokens",
    "opened",
    "prompt",
    "shipped",
    "spent",
]
