"""From a manifest's `[[nodes]]` to definitions; what pydantic finds wrong is said in our own words."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from innkeeper.plugins.nodes import NodeDefinition
from innkeeper.plugins.tables import Table, shown

_MOST_PROBLEMS = 10
"""Problems of one node that are said; a wrong one often repeats itself in every slot."""

_SENTENCES = {
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
}


def define_node(entry: Table, namespace: str) -> NodeDefinition | None:
    """The node that a table describes, or None where it has problems; they are added to the table's."""
    try:
        return NodeDefinition.model_validate({**entry.data, "namespace": namespace})
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=True)
        for detail in found[:_MOST_PROBLEMS]:
            entry.problem(_path(detail["loc"]), _sentence(dict(detail)))
        if len(found) > _MOST_PROBLEMS:
            entry.problem("", f"has {len(found) - _MOST_PROBLEMS} more problems")
        return None


def _path(location: tuple[int | str, ...]) -> str:
    # Parts in brackets are no keys of the file.
    return ".".join(str(part) for part in location if not str(part).startswith("["))


def _sentence(detail: dict[str, Any]) -> str:
    kind, value, context = detail["type"], shown(detail["input"]), detail.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind in _SENTENCES:
        return f"is {value}: it {_SENTENCES[kind]}"
    if kind == "literal_error":
        return f"is {value}: it must be {context['expected']}"
    if kind == "string_pattern_mismatch":
        return "is not a name: names are 1 to 64 of the characters A-Z a-z 0-9 _ . -"
    if kind == "value_error":
        return f"is wrong: {context['error']}"
    if kind in ("too_long", "string_too_long"):
        return f"is too long: the most is {context['max_length']}"
    if kind == "string_too_short":
        return "is empty"
    return f"is {value}: {detail['msg'][:1].lower()}{detail['msg'][1:200]}"
