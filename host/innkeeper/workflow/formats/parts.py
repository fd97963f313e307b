"""What both JSON forms of a workflow share: names, slots of an interface, bounds, and reading untrusted bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from innkeeper.bridge.codec import parse_json
from innkeeper.bridge.scan import DataBounds, MalformedError
from innkeeper.errors import UsageError
from innkeeper.plugins.nodes import InputDefinition
from innkeeper.plugins.tables import visible
from innkeeper.sandbox.limits import MIB

MAX_NODES = 10_000
MAX_EDGES = 100_000

MAX_WORKFLOWS = 256
"""Workflows that one may bring for its groups and loops: as many as a payload can name by hand, many times over."""

PAYLOAD_BOUNDS = DataBounds(size=32 * MIB, depth=64, elements=2_000_000)
"""What a payload file may be: presets can be whole documents, and 100,000 edges are a million elements."""

_SHOWN_PROBLEMS = 20

# No control characters: ids are printed to terminals and logs.
Id = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,256}$")]
"""The id of a workflow, a node or an edge, or a handle."""

Key = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,128}$")]
"""The key of a slot, of a field of the configuration, or of the workflow's interface."""

Model = TypeVar("Model", bound=BaseModel)


class Part(BaseModel):
    """A part of a workflow. Fields that this host does not know survive."""

    model_config = ConfigDict(extra="allow", strict=True, alias_generator=to_camel)


class InterfaceSlot(InputDefinition):
    """A slot of the workflow's own interface. The value of an interface input is its `config["default"]`."""

    key: Key | None = None


class Extension(Part):
    """What a workflow holds for this host: the field `innkeeper`.

    Attributes:
        workflows: by id, the workflows that its groups and loops refer to, in either form.
    """

    workflows: dict[Id, dict[str, Any]] = Field(default_factory=dict, max_length=MAX_WORKFLOWS)


def parsed(data: bytes) -> Any:
    """A workflow's file as plain data.

    Raises:
        UsageError: it is not JSON (the message gives line and column), or beyond a bound.
    """
    try:
        # Editors on Windows put a byte order mark before UTF-8.
        return parse_json(data.removeprefix(b"\xef\xbb\xbf"), PAYLOAD_BOUNDS)
    except MalformedError as error:
        raise UsageError(f"the workflow is not JSON that can be read: {error}") from None


def validated(model: type[Model], value: Mapping[str, Any]) -> Model:
    """Plain data as a model.

    Raises:
        UsageError: it does not fit: one line per problem, with its place.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise UsageError("\n".join(_explained(error))) from None


def is_stored(value: Mapping[str, Any]) -> bool:
    """Whether a workflow is in the form in which an editor stores it (bool), and not the form that is submitted.

    Nodes have `type` there and not `fullType`, edges `source` and not `sourceNodeId`; without either, a `viewport`
    tells.
    """
    nodes, edges = ([each for each in _list(value, key) if isinstance(each, dict)] for key in ("nodes", "edges"))
    if any("fullType" in node for node in nodes) or any("sourceNodeId" in edge for edge in edges):
        return False
    if any("type" in node for node in nodes) or any("source" in edge for edge in edges):
        return True
    return "viewport" in value


def _list(value: Mapping[str, Any], key: str) -> list[Any]:
    found = value.get(key)
    return found if isinstance(found, list) else []


def _explained(error: ValidationError) -> list[str]:
    problems = error.errors(include_url=False, include_context=False)
    lines = [
        f"the workflow's {place_of(problem['loc'])}: {what_is_wrong(problem)}" for problem in problems[:_SHOWN_PROBLEMS]
    ]
    if len(problems) > _SHOWN_PROBLEMS:
        lines.append(f"and {len(problems) - _SHOWN_PROBLEMS:,} more problems in the workflow")
    return lines


def place_of(location: tuple[int | str, ...]) -> str:
    """A place that pydantic names as a person writes it (str): "nodes[0].id"."""
    place = ""
    for part in location:
        if part == "[key]":
            continue
        place += f"[{part}]" if isinstance(part, int) else f"{'.' if place else ''}{visible(part, 80)}"
    return place or "top level"


_WORDS = {
    "missing": "this field is missing",
    "string_type": "this must be text",
    "bool_type": "this must be true or false",
    "dict_type": "this must be an object",
    "list_type": "this must be an array",
    "model_type": "this must be an object",
    "model_attributes_type": "this must be an object",
    "int_type": "this must be an integer",
    "string_pattern_mismatch": "this must have 1 to 256 characters (keys 128), none of them a control character",
}


def what_is_wrong(problem: Mapping[str, Any]) -> str:
    """What pydantic says of a place, in the words of this project (str)."""
    message = str(problem["msg"]).removeprefix("Value error, ")
    return _WORDS.get(problem["type"], message[:1].lower() + message[1:])
