"""The part of JSON Schema in which a manifest describes its plugin's configuration.

A configuration is a table of texts, so this is what is needed of it, and no more: a value is read as its type writes
it. Two things are left out on purpose. A `pattern` by a stranger can hold the interpreter for years, and `$ref` and
combinations make the time of a check theirs to choose. A schema that uses them is refused, not half obeyed.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from innkeeper.plugins.tables import Table, shown, visible

Kind = Literal["string", "integer", "number", "boolean"]

_MAX_PROPERTIES = 256
_MAX_CHOICES = 256
_NOTES: Final = (
    "title", "description", "default", "examples", "deprecated", "format", "readOnly", "writeOnly", "$comment",
)  # fmt: skip
"""Keywords that say something to people and editors."""

_TOP: Final = (
    "type",
    "properties",
    "required",
    "additionalProperties",
    "title",
    "description",
    "$schema",
    "$id",
    "$comment",
)
_EACH: Final = (
    "type", "enum", "const", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    *_NOTES,
)  # fmt: skip
_KINDS: Final[tuple[Kind, ...]] = ("string", "integer", "number", "boolean")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?")
_WRITTEN: Final[Mapping[Kind, str]] = {
    "string": "text",
    "integer": 'a whole number, written like "42"',
    "number": 'a number, written like "0.5"',
    "boolean": '"true" or "false"',
}


@dataclass(frozen=True, slots=True)
class Property:
    """One key of a configuration.

    Attributes:
        kind: its type.
        choices: the values that it may have, or None for all of its type.
        least_length: characters at least.
        most_length: characters at most, or None.
        least: of a number, or None.
        most: of a number, or None.
        above: what a number must be above, or None.
        below: what a number must be below, or None.
    """

    kind: Kind = "string"
    choices: tuple[str | int | float | bool, ...] | None = None
    least_length: int = 0
    most_length: int | None = None
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def problem(self, text: str) -> str | None:
        """What is wrong with a value (str), without the value itself; None if it is right."""
        value = _value(text, self.kind)
        if value is None:
            return f"must be {_WRITTEN[self.kind]}"
        if self.choices is not None and not any(_same(value, each) for each in self.choices):
            return f"must be {' or '.join(map(shown, self.choices[:20]))}"
        if isinstance(value, str):
            if len(value) < self.least_length:
                return f"must have at least {self.least_length} characters"
            if self.most_length is not None and len(value) > self.most_length:
                return f"must have at most {self.most_length} characters"
        elif not isinstance(value, bool):
            for bound, wrong, words in (
                (self.least, operator.lt, "at least"),
                (self.most, operator.gt, "at most"),
                (self.above, operator.le, "more than"),
                (self.below, operator.ge, "less than"),
            ):
                if bound is not None and wrong(value, bound):
                    return f"must be {words} {bound:g}"
        return None


@dataclass(frozen=True, slots=True)
class ConfigSchema:
    """What the configuration of a plugin may be.

    Attributes:
        properties: by key.
        required: keys that it must have.
        open: whether it may have keys beside these.
        written: as the author wrote it.
    """

    properties: Mapping[str, Property]
    required: tuple[str, ...] = ()
    open: bool = True
    written: Mapping[str, Any] = field(default_factory=dict)

    def problems(self, config: Mapping[str, str]) -> list[str]:
        """What is wrong with a configuration, one sentence for each key (list of str). No value is repeated."""
        found = [f"config.{visible(key, 100)} is missing" for key in self.required if key not in config]
        for key, text in config.items():
            wanted = self.properties.get(key)
            if wanted is not None:
                problem = wanted.problem(text)
                if problem is not None:
                    found.append(f"config.{visible(key, 100)} {problem}")
            elif not self.open:
                known = ", ".join(visible(each, 40) for each in list(self.properties)[:20]) or "none"
                found.append(f"config.{visible(key, 100)} is not a key of this plugin; known are: {known}")
        return found


def read_schema(table: Table) -> ConfigSchema:
    """The schema that a table describes; what is wrong with it is added to the table's problems."""
    _only(table, _TOP)
    table.choice("type", ("object",), "object")
    entries = table.table("properties")
    properties: dict[str, Property] = {}
    if len(entries.data) > _MAX_PROPERTIES:
        table.problem("properties", f"has {len(entries.data)} entries: the most is {_MAX_PROPERTIES}")
    else:
        properties = {key: _property(entries.table(key)) for key in entries.data}
    required = _texts(table, "required")
    for key in required:
        if key not in properties:
            table.problem("required", f"has {shown(key)}, which is not one of the properties")
    return ConfigSchema(properties, required, table.flag("additionalProperties", True), table.data)


def _property(table: Table) -> Property:
    _only(table, _EACH)
    kind = table.choice("type", _KINDS, "string")
    choices = table.data.get("enum")
    if "const" in table.data:
        if choices is not None:
            table.problem("const", "stands beside 'enum': one of them is enough")
        choices = [table.data["const"]]
    if choices is not None and (not isinstance(choices, list) or not 0 < len(choices) <= _MAX_CHOICES):
        table.problem("enum", f"must be a list of 1 to {_MAX_CHOICES} values")
        choices = None
    for each in choices or ():
        if not _is(each, kind):
            table.problem("enum", f"has {shown(each)}, which is no {kind}")
    if (default := table.data.get("default")) is not None and not _is(default, kind):
        table.problem("default", f"is {shown(default)}, which is no {kind}")
    return Property(
        kind,
        None if choices is None else tuple(choices),
        _length(table, "minLength", kind) or 0,
        _length(table, "maxLength", kind),
        *(_bound(table, key, kind) for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")),
    )


def _only(table: Table, known: tuple[str, ...]) -> None:
    # Near misses first: "patern" must not pass as a note.
    for key in table.unknown(known):
        table.problem(key, f"is not one of the keywords that are understood here: {', '.join(known)}")


def _texts(table: Table, key: str) -> tuple[str, ...]:
    value = table.data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        table.problem(key, "must be a list of texts")
        return ()
    return tuple(dict.fromkeys(value))


def _length(table: Table, key: str, kind: Kind) -> int | None:
    value = table.data.get(key)
    if value is None:
        return None
    if kind != "string" or isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
        table.problem(key, f"is {shown(value)}: it must be a whole number, 0 or more, and the type 'string'")
        return None
    return value


def _bound(table: Table, key: str, kind: Kind) -> float | None:
    value = table.data.get(key)
    if value is None:
        return None
    if kind not in ("integer", "number") or not _is(value, "number"):
        table.problem(key, f"is {shown(value)}: it must be a number, and the type 'integer' or 'number'")
        return None
    return float(value)


def _is(value: object, kind: Kind) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, int):
        return kind in ("integer", "number") and -(1 << 63) <= value < 1 << 63
    if isinstance(value, float):
        return kind == "number" and math.isfinite(value)
    return isinstance(value, str) and kind == "string"


def _same(one: object, other: object) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _value(text: str, kind: Kind) -> str | int | float | bool | None:
    """What a text means as a value of that type; None if nothing."""
    if kind == "string":
        return text
    if kind == "boolean":
        return {"true": True, "false": False}.get(text)
    if kind == "integer":
        return int(text) if _INTEGER.fullmatch(text) else None
    number = float(text) if len(text) <= 100 and _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None
