"""Prompts: files with a version, shown by ``foils prompts``, replaceable by one's own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import yaml

from foils.adapters.llm.messages import Request
from foils.core.errors import SpecError
from foils.core.text import did_you_mean

_KEYS = ("title", "task", "version", "notes", "fields", "tokens", "system", "user", "schema")
THINKING = 2048  # tokens for models that think before they answer
_TAGS = re.compile(r"<(/?\s*(?:query|document|known|example)\b)", re.IGNORECASE)


@dataclass(frozen=True)
class Prompt:
    """A text with gaps, and the form of the reply.

    Args:
        name: of the file.
        title: what it is for, in a line.
        task: which answers it must bring: whoever reads them asks for prompts of this task.
        version: whatever tells versions apart.
        notes: where it comes from.
        system: what is said first; may be empty.
        user: the question; ``$name`` are gaps.
        fields: names of the gaps.
        schema: JSON schema of the reply.
        tokens: (fixed, for each item) tokens of a reply about, for estimates.
    """

    name: str
    title: str
    task: str
    version: str
    notes: str
    system: str
    user: str
    fields: tuple[str, ...]
    schema: Mapping[str, Any] = field(hash=False)
    tokens: tuple[int, int] = (64, 64)

    @property
    def label(self) -> str:
        """Name, version, and a digest of the words, so that changed words are never taken for the old ones."""
        words = hashlib.sha256(f"{self.system}\0{self.user}".encode()).hexdigest()
        return f"{self.name}@{self.version}/{words[:12]}"

    def request(self, values: Mapping[str, str], items: int = 1) -> Request:
        """The question with its gaps filled.

        Args:
            values: a text for each of ``fields``.
            items: things that are asked about, which the length of the reply goes with.
        """
        texts = [("system", Template(self.system)), ("user", Template(self.user))]
        messages = tuple((role, text.substitute(values).strip()) for role, text in texts if text.template.strip())
        expected = self.tokens[0] + self.tokens[1] * items
        return Request(messages, self.label, self.schema, max_tokens=4 * expected + THINKING, expected=expected)


def shipped() -> list[str]:
    """Names of the prompts that come with foils, sorted."""
    found = (path.name for path in files("foils.prompts").iterdir())
    return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))


def source(name: str | Path) -> str:
    """The YAML of a shipped prompt, or of a file.

    Raises:
        SpecError: there is neither, or the file cannot be read.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not UTF-8"
            remedy = "foils prompts NAME > mine.yaml makes one to change."
            raise SpecError(f"{path}: this prompt cannot be read ({why}). {remedy}") from None
    if str(name) not in shipped():
        raise SpecError(f"unknown prompt {str(name)!r}.{did_you_mean(str(name), shipped())} See: foils prompts")
    return (files("foils.prompts") / f"{name}.yaml").read_text(encoding="utf-8")


def prompt(name: str | Path, task: str | None = None) -> Prompt:
    """Read a prompt by its shipped name or from a YAML file.

    A file may leave out ``schema``, ``fields`` and ``tokens``: they are those of the shipped prompt of its task.

    Args:
        name: of a shipped one, or a .yaml file.
        task: that it must be for; any if None.

    Raises:
        SpecError: no such prompt, a key that is unknown or missing, a gap that nobody fills, or one of another task.
    """
    content = _content(name)
    label = Path(name).stem if str(name).endswith((".yaml", ".yml")) else str(name)
    found = str(content.get("task", ""))
    if task is not None and found != task:
        fitting = [other for other in shipped() if _content(other)["task"] == task]
        remedy = f"Change a copy of {' or '.join(fitting)}."
        raise SpecError(f"prompt {label!r} is for {found!r}, not for {task!r}. {remedy}")
    base = next((other for other in map(_content, shipped()) if other["task"] == found), None)
    if base is None:
        known = sorted({str(_content(other)["task"]) for other in shipped()})
        raise SpecError(f"prompt {label!r}: task {found!r} is none of {', '.join(known)}.")
    full = {**{key: base[key] for key in ("fields", "tokens", "schema")}, **content}
    missing = [key for key in ("version", "user") if not str(full.get(key, "")).strip()]
    if missing:
        raise SpecError(f"prompt {label!r} has no {missing[0]!r}.")
    made = Prompt(
        name=label,
        title=" ".join(str(full.get("title", label)).split()),
        task=found,
        version=str(full["version"]),
        notes=" ".join(str(full.get("notes", "")).split()),
        system=str(full.get("system", "")),
        user=str(full["user"]),
        fields=tuple(base["fields"]),
        schema=full["schema"],
        tokens=tuple(full["tokens"]),
    )
    _check(made)
    return made


def block(tag: str, texts: list[str], length: int) -> str:
    """Texts between numbered tags, each cut to ``length`` characters; what looks like a tag inside is no tag any more.

    >>> print(block("document", ["a text</document>"], 100))
    <document id="1">
    a text‹/document>
    </document>
    """
    return "\n".join(f'<{tag} id="{i}">\n{cut(text, length)}\n</{tag}>' for i, text in enumerate(texts, 1))


def cut(text: str, length: int) -> str:
    """A text for a gap between tags: at most ``length`` characters, cut between words, `plain`."""
    return plain(text if len(text) <= length else text[:length].rsplit(" ", 1)[0] + " …").strip()


def plain(text: str) -> str:
    """A text in which nothing looks like a tag of a prompt."""
    return _TAGS.sub(r"‹\1", text)


def _content(name: str | Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(source(name))
    except yaml.YAMLError as error:
        raise SpecError(f"prompt {str(name)!r}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise SpecError(f"prompt {str(name)!r}: a mapping with the keys {', '.join(_KEYS)} is expected.")
    for key in content:
        if key not in _KEYS:
            raise SpecError(f"prompt {str(name)!r}: unknown key {key!r}.{did_you_mean(str(key), list(_KEYS))}")
    return content


def _check(made: Prompt) -> None:
    used: set[str] = set()
    for text in (made.system, made.user):
        template = Template(text)
        if not template.is_valid():
            raise SpecError(f"prompt {made.name!r}: a '$' starts no name. Write '$$' for a dollar sign.")
        used |= set(template.get_identifiers())
    unknown = sorted(used - set(made.fields))
    if unknown:
        gaps = ", ".join(f"${name}" for name in made.fields)
        raise SpecError(f"prompt {made.name!r}: nothing fills ${unknown[0]}. There are: {gaps}.")
    left = [name for name in made.fields if name not in used]
    if left:
        raise SpecError(f"prompt {made.name!r} does not use ${left[0]}: the model would not see it.")
