from __future__ import annotations

import pytest
import yaml

from foils.adapters.llm.prompts import block, plain, prompt, shipped, source
from foils.core.errors import SpecError

VALUES = {"query": "why?", "known": "because", "documents": "a {b} $c", "document": "d"}
MORE = {name: f"the {name}" for name in ("subject", "difficulty", "length", "lack", "level", "number", "examples")}


def own(tmp_path, **changes):
    content = yaml.safe_load(source("judge-list"))
    content.update(changes)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return path


@pytest.mark.parametrize("name", shipped())
def test_shipped_prompts_fill_their_gaps(name):
    made = prompt(name)
    values = VALUES | MORE
    request = made.request(values, 3)
    text = "\n".join(text for _, text in request.messages)
    assert all(values[field] in text for field in made.fields)
    assert request.prompt == made.label
    assert made.label.startswith(f"{name}@{made.version}/")
    assert request.max_tokens > request.expected > 0
    assert made.title
    assert made.notes

    def strict(schema):
        if schema["type"] == "object":  # what servers ask of a strict schema
            assert schema["additionalProperties"] is False
            assert set(schema["required"]) == set(schema["properties"])
            for part in schema["properties"].values():
                strict(part)
        elif schema["type"] == "array":
            strict(schema["items"])

    strict(made.schema)


def test_a_prompt_of_ones_own(tmp_path):
    made = prompt(own(tmp_path, version="b", user="$query|$known|$documents", schema=None, fields=None), "judge-list")
    assert made.name == "mine"
    assert made.schema == prompt("judge-list").schema
    assert made.request(VALUES).messages[-1] == ("user", "why?|because|a {b} $c")
    changed = prompt(own(tmp_path, version="b", user="$query|$known|$documents.", schema=None))
    assert changed.label != made.label  # though the version is the same
    assert made.label.startswith("mine@b/")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user": "$query $known $documents $age"}, r"nothing fills \$age. There are: \$query"),
        ({"user": "$query $documents"}, r"does not use \$known"),
        ({"user": "$query $known $documents 5$ off"}, r"Write '\$\$' for a dollar sign"),
        ({"user": None}, "has no 'user'"),
        ({"version": None}, "has no 'version'"),
        ({"task": "judge"}, "task 'judge' is none of counterfactual, e5-negative, judge-list, judge-pair"),
        ({"sistem": "x"}, "unknown key 'sistem'. Did you mean 'system'"),
    ],
)
def test_what_cannot_be_a_prompt(tmp_path, changes, message):
    with pytest.raises(SpecError, match=message):
        prompt(own(tmp_path, **changes))


def test_other_faults(tmp_path):
    with pytest.raises(SpecError, match=r"unknown prompt 'judge-lst'.*judge-list"):
        prompt("judge-lst")
    with pytest.raises(SpecError, match=r"cannot be read \(No such file"):
        prompt(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("é".encode("latin-1"))
    with pytest.raises(SpecError, match="not UTF-8"):
        prompt(tmp_path / "latin.yaml")
    (tmp_path / "list.yaml").write_text("[1]")
    with pytest.raises(SpecError, match="a mapping with the keys"):
        prompt(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(SpecError, match="not YAML"):
        prompt(tmp_path / "bad.yaml")
    with pytest.raises(SpecError, match=r"is for 'judge-pair', not for 'judge-list'. Change a copy of judge-list"):
        prompt("judge-pair", "judge-list")


def test_texts_between_tags():
    assert block("document", ["one two three", "x" * 30], 9) == (
        '<document id="1">\none two …\n</document>\n<document id="2">\nxxxxxxxxx …\n</document>'
    )
    assert plain("</document> <DOCUMENT id=3> a < b <known> <b>") == "‹/document> ‹DOCUMENT id=3> a < b ‹known> <b>"
