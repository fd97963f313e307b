"""What both JSON forms of a workflow share: names, slots of an interface, bounds, and reading untrusted bytes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
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
    found = _Wrong()
    given = {**value, **{key: _one_by_one(model, key, value[key], found) for key in _LONG if _is_long(value.get(key))}}
    try:
        made = model.model_validate(given)
    except ValidationError as error:
        found.add(error)
    if found.count:
        raise UsageError("\n".join(found.lines()))
    return made


_LONG = ("nodes", "edges")
_FEW = 500
_TOGETHER = 32


def _is_long(value: object) -> bool:
    return isinstance(value, list) and len(value) > _FEW


def _one_by_one(model: type[BaseModel], key: str, items: list[Any], found: _Wrong) -> list[Any]:
    """Nodes or edges as what they are in a model; those that do not fit are left out, and found.

    One call for a hundred thousand of them would keep the interpreter's lock for half a second, and trio's thread would
    wait for it.
    """
    (part,) = get_args(model.model_fields[key].annotation)
    few = _few_of(part)
    made: list[Any] = []
    items = items[: max(MAX_NODES, MAX_EDGES) + 1]
    for start in range(0, len(items), _TOGETHER):
        together = items[start : start + _TOGETHER]
        try:
            made += few.validate_python(together)
            continue
        except ValidationError:
            pass
        for index, item in enumerate(together, start):
            try:
                made.append(part.model_validate(item))
            except ValidationError as error:
                found.add(error, key, index)
    return made


@cache
def _few_of(part: type[BaseModel]) -> TypeAdapter[list[Any]]:
    return TypeAdapter(list[part])  # type: ignore[valid-type]


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


class _Wrong:
    """What does not fit, as far as it is shown.

    Attributes:
        count: of all.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lines: list[str] = []

    def add(self, error: ValidationError, *place: int | str) -> None:
        """Adds what is wrong with a part, which is at a place."""
        self.count += error.error_count()
        if len(self._lines) < _SHOWN_PROBLEMS:
            problems = error.errors(include_url=False, include_context=False)
            self._lines += [
                f"the workflow's {place_of((*place, *problem['loc']))}: {what_is_wrong(problem)}"
                for problem in problems[: _SHOWN_PROBLEMS - len(self._lines)]
            ]

    def lines(self) -> list[str]:
        """One line per problem, and one for those that are not shown."""
        more = self.count - len(self._lines)
        return [*self._lines, f"and {more:,} more problems in the workflow"] if more else self._lines


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
