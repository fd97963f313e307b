"""The operations of a service, declared once as typed methods.

From a method's name, types and docstring come the host function that guests import, the check of what they give it,
the reference page and the description for machines.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeVar, get_type_hints

import pydantic

from innkeeper.bridge.caller import Caller
from innkeeper.bridge.scan import DataBounds
from innkeeper.sandbox.limits import MIB

Method = Callable[..., Awaitable[Any]]
M = TypeVar("M", bound=Method)

_MARK = "_innkeeper_operation"
_ARGUMENT = re.compile(r"^ {4}(\w+): (.*)$")


@dataclass(frozen=True, slots=True)
class _Mark:
    capability: str
    use: str | None
    free_form: bool
    covers: bool
    refers: bool
    bounds: DataBounds | None
    packed: str | None


def operation(
    capability: str,
    *,
    use: str | None = None,
    free_form: bool = False,
    covers: bool = False,
    refers: bool = False,
    bounds: DataBounds | None = None,
    packed: str | None = None,
) -> Callable[[M], M]:
    """Makes a method of a service an operation.

    Args:
        capability: its name; nobody without it gets here.
        use: the argument that the capability's scopes are about, such as "scope", or two of them, such as
            "plugin/function"; None where they are about none. Where it is a list, each of its texts must be granted.
        refers: whether that argument may be a reference of the run's project (`plugins.runs.Run.bases`): what it stands
            for takes its place before anything else looks at it.
        covers: whether that argument is a scope itself, such as a pattern to subscribe to: then all of it must have
            been granted, in one capability.
        free_form: whether an argument may hold any plain data: then all of it is counted before it is built.
        bounds: what the encoded arguments may be, where the declared types do not say it: of lists and maps. All of it
            is counted before it is built.
        packed: an argument that the method is given as `Packed`: counted and checked, and not built.
    """

    def mark(method: M) -> M:
        counted = free_form or bounds is not None
        setattr(method, _MARK, _Mark(capability, use, counted, covers, refers, bounds, packed))
        return method

    return mark


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        service: name of its service, such as "kv".
        name: of the method, such as "get".
        capability: what a plugin needs for it.
        use: the argument that scopes are about, or two joined by "/", or None.
        covers: whether that argument is a scope, all of which must have been granted.
        refers: whether that argument may be a reference of the run's project.
        free_form: whether an argument may hold any plain data.
        summary: one sentence.
        arguments: checks what a guest gives, strictly.
        described: argument to a sentence.
        returns: what the guest gets, in words.
        bounds: what the encoded arguments may be: as much as the declared types can take, and no more.
        packed: the argument that is not built, or None.
    """

    service: str
    name: str
    capability: str
    use: str | None
    covers: bool
    refers: bool
    free_form: bool
    summary: str
    arguments: type[pydantic.BaseModel]
    described: Mapping[str, str]
    returns: str
    bounds: DataBounds
    packed: str | None = None

    @property
    def full_name(self) -> str:
        """Such as "kv.get"."""
        return f"{self.service}.{self.name}"

    @property
    def import_name(self) -> str:
        """The name under which guests import it, such as "innkeeper_kv_get"."""
        return f"innkeeper_{self.service}_{self.name}"

    def reader(self) -> Callable[[Mapping[str, Any]], str | list[str]] | None:
        """What tells from checked arguments, by name, which use they are, such as "words/count", or which ones; None
        where uses have no name."""
        if self.use is None:
            return None
        names = self.use.split("/")
        get: Callable[[Mapping[str, Any]], Any] = itemgetter(*names)
        return get if len(names) == 1 else lambda values: "/".join(get(values))


def operations_of(service: type[Any], name: str) -> tuple[Operation, ...]:
    """The operations of a service, in the order of its class, those of its bases first.

    Args:
        service: the class. Each operation is an async method of a `Caller` and of keyword arguments with types.
        name: of the service.
    """
    found = []
    for part in reversed(service.__mro__):
        for method_name, method in vars(part).items():
            mark = getattr(method, _MARK, None)
            if isinstance(mark, _Mark):
                found.append(_read(name, method_name, method, mark))
    return tuple(found)


def _read(service: str, name: str, method: Method, mark: _Mark) -> Operation:
    hints = get_type_hints(method, include_extras=True)
    parameters = list(inspect.signature(method).parameters.values())[1:]
    if not parameters or hints.get(parameters[0].name) is not Caller:
        raise TypeError(f"{service}.{name}: the first argument must be the Caller")
    fields: dict[str, Any] = {}
    for parameter in parameters[1:]:
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    for part in () if mark.use is None else mark.use.split("/"):
        if part not in fields:
            raise TypeError(f"{service}.{name}: has no argument {part!r}")
    if mark.packed is not None and (mark.packed not in fields or not mark.free_form):
        raise TypeError(f"{service}.{name}: has no argument {mark.packed!r}, or no bounds for it")
    if mark.covers and mark.use is None:
        raise TypeError(f"{service}.{name}: says no argument that is a scope")
    model: type[pydantic.BaseModel] = pydantic.create_model(
        f"{service}.{name}", __config__=pydantic.ConfigDict(strict=True, extra="forbid"), **fields
    )
    summary, described, returns = _words(inspect.getdoc(method) or "")
    if not summary or set(described) != set(fields):
        raise TypeError(f"{service}.{name}: its docstring must have a summary and each of {sorted(fields)}")
    return Operation(
        bounds=mark.bounds or (FREE_FORM if mark.free_form else _bounds(f"{service}.{name}", model)),
        service=service,
        name=name,
        capability=mark.capability,
        use=mark.use,
        covers=mark.covers,
        refers=mark.refers,
        free_form=mark.free_form,
        summary=summary,
        arguments=model,
        described=described,
        returns=returns,
        packed=mark.packed,
    )


def _bounds(name: str, model: type[pydantic.BaseModel]) -> DataBounds:
    """What arguments of these types can be at most, encoded."""
    size = _SPARE
    fields = model.model_json_schema().get("properties", {})
    for key, field in fields.items():
        size += len(key) + _SPARE
        for kind in field.get("anyOf", [field]):
            if "enum" in kind:
                size += 4 * max(map(len, kind["enum"]))
            elif kind.get("type") == "string":
                if "maxLength" not in kind:
                    raise TypeError(f"{name}: {key} must have a max_length")
                # A character has at most four bytes.
                size += kind["maxLength"] * (1 if kind.get("format") == "binary" else 4)
            elif kind.get("type") not in ("integer", "number", "boolean", "null"):
                raise TypeError(f"{name}: {key} is of a type without a bound: say free_form=True")
    return DataBounds(size=size, depth=2, elements=1 + 2 * len(fields))


_SPARE = 16
"""Bytes around a value."""

FREE_FORM = DataBounds(size=1 * MIB, depth=32, elements=2000)
"""What a guest may give an operation that takes any data: so little that counting and building it holds nobody up."""


def _words(text: str) -> tuple[str, dict[str, str], str]:
    """Summary, arguments and result of a docstring in the project's style."""
    parts = re.split(r"^(Args|Returns|Raises):$", text, flags=re.MULTILINE)
    summary = " ".join(parts[0].split())
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    described: dict[str, str] = {}
    last = ""
    for line in sections.get("Args", "").splitlines():
        if (match := _ARGUMENT.match(line)) is not None:
            last = match[1]
            described[last] = match[2]
        elif line.strip():
            described[last] += " " + line.strip()
    return summary, described, " ".join(sections.get("Returns", "").split())
