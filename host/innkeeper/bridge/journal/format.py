"""A journal as bytes, and back. Whoever reads one may have got it from anywhere: everything in it is checked first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, Final, TypeVar

import msgpack

from innkeeper.bridge.journal.model import (
    EXCEPTION,
    MOST_BYTES,
    OUTPUT,
    VERSION,
    Answered,
    AskedFunction,
    Ending,
    Given,
    HostCall,
    Journal,
    Printed,
    Raised,
    Wrote,
)
from innkeeper.bridge.journal.pieces import call_value, clean, pieces
from innkeeper.bridge.scan import DataBounds, MalformedError, scan_msgpack
from innkeeper.errors import Kind, UsageError
from innkeeper.sandbox.interface import Value
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.present import Logged
from innkeeper.sandbox.wasi.questions import SHAPES

_MARK: Final = "innkeeper_journal"
_BOUNDS: Final = DataBounds(size=MOST_BYTES, depth=8, elements=2_500_000)
_VALUES: Final = {value.value: value for value in Value}
_KINDS: Final = (OUTPUT, EXCEPTION, *(kind.value for kind in Kind))
_NAMES: Final = tuple(each.name for each in fields(Journal))
_LIMITS: Final = frozenset(each.name for each in fields(Limits))

T = TypeVar("T")


def write_journal(journal: Journal, calls: Sequence[HostCall | bytes] | None = None) -> bytes:
    """The bytes of a journal. Texts are cut where they are too long, and made text where they are not.

    Args:
        journal: the journal.
        calls: in place of its own, as a `Recorder` has them.

    Raises:
        ValueError: something in it cannot be written.
    """
    found: dict[str, Any] = {name: getattr(journal, name) for name in _NAMES}
    ending = journal.ending
    found |= {
        "config": {clean(key, None): clean(text, None) for key, text in journal.config.items()},
        "limits": dict(journal.limits),
        "usage": dict(journal.usage),
        "host": clean(journal.host),
        "why_not": clean(journal.why_not),
        "functions": [
            [each.namespace, each.name, [one.value for one in each.parameters], each.result and each.result.value]
            for each in journal.functions
        ],
        "ending": [ending.kind, clean(ending.message), ending.output, ending.limit, ending.code],
    }
    # What there may be very much of, one after the other.
    found["calls"] = journal.calls if calls is None else calls
    many: dict[str, Iterator[Any]] = {
        "calls": (each if isinstance(each, bytes) else call_value(each) for each in found["calls"]),
        "log": ([level, clean(text, None)] for level, text in journal.log),
    }
    packer = msgpack.Packer(use_bin_type=True)
    # The mark first: a file says at its beginning what it is.
    parts: list[bytes] = [packer.pack_map_header(len(found) + 1), packer.pack(_MARK), packer.pack(VERSION)]
    try:
        for name, value in found.items():
            parts.append(packer.pack(name))
            if name in many:
                parts.append(packer.pack_array_header(len(value)))
                for each in many[name]:
                    # Bytes are a call that is packed already.
                    parts += (each,) if isinstance(each, bytes) else pieces(packer, each)
            else:
                parts += pieces(packer, value)
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from None
    return b"".join(parts)


def read_journal(data: bytes, what: str = "the journal") -> Journal:
    """The journal that these bytes are.

    Args:
        data: from anywhere.
        what: the subject of an error's sentence.

    Raises:
        UsageError: they are none, or of another version of the format.
    """
    try:
        scan_msgpack(data, _BOUNDS)
        found = msgpack.unpackb(data)
        if not isinstance(found, dict) or _MARK not in found:
            raise MalformedError("it is something else")
        if found.pop(_MARK) != VERSION:
            raise MalformedError(f"it is of another version than {VERSION}: use the Innkeeper that wrote it")
        return _Reader(found).journal()
    except MalformedError as error:
        raise UsageError(f"{what} is not a journal: {error}") from None


class _Reader:
    """Takes values out of a map whose shape nobody vouches for. What is wrong raises MalformedError."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found

    def journal(self) -> Journal:
        if self._found.keys() != set(_NAMES):
            raise MalformedError("it lacks something that a journal has, or has more")
        functions = tuple(self._function(each) for each in self._take("functions", list))
        if len({(each.namespace, each.name) for each in functions}) != len(functions):
            raise MalformedError("it has a function twice")
        return Journal(
            at=_number(self._found["at"], "at"),
            host=self._text("host"),
            plugin=self._text("plugin"),
            version=self._text("version"),
            digest=self._digest(),
            function=self._text("function"),
            run=self._text("run"),
            node=self._text("node"),
            config=_texts(self._take("config", dict)),
            limits=self._limits(),
            rights=tuple(_of(each, str, "rights") for each in self._take("rights", list)),
            real=self._take("real", bool),
            why_not=self._text("why_not"),
            input=self._take("input", bytes),
            functions=functions,
            calls=tuple(_call(each, functions) for each in self._take("calls", list)),
            log=tuple(_line(each) for each in self._take("log", list)),
            log_dropped=_count(self._found["log_dropped"], "log_dropped"),
            usage=self._numbers("usage"),
            ending=_ending(self._take("ending", list)),
        )

    def _take(self, name: str, kind: type[T]) -> T:
        return _of(self._found[name], kind, name)

    def _text(self, name: str) -> str:
        return self._take(name, str)

    def _digest(self) -> str:
        digest = self._text("digest")
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise MalformedError("digest is none")
        return digest

    def _numbers(self, name: str) -> dict[str, int | float]:
        return {key: _number(value, name, finite=False) for key, value in self._take(name, dict).items()}

    def _limits(self) -> dict[str, int | float]:
        limits: dict[str, Any] = self._numbers("limits")
        try:
            if limits.keys() - _LIMITS:
                raise MalformedError("it has a limit that this version does not know")
            Limits(**limits)
        except UsageError as error:
            raise MalformedError(error.message) from None
        return limits

    def _function(self, found: Any) -> AskedFunction:
        namespace, name, parameters, result = _parts(found, 4, "functions")
        try:
            types = tuple(_VALUES[_of(each, str, "functions")] for each in _of(parameters, list, "functions"))
            function = AskedFunction(
                _of(namespace, str, "functions"),
                _of(name, str, "functions"),
                types,
                None if result is None else _VALUES[_of(result, str, "functions")],
            )
        except KeyError:
            raise MalformedError("a function has a type that there is not") from None
        if function.system and (function.name not in SHAPES or types or result):
            raise MalformedError("it has a function of WASI that there is not")
        return function


def _call(found: Any, functions: tuple[AskedFunction, ...]) -> HostCall:
    number, asked, answer = _parts(found, 3, "calls")
    if not 0 <= _count(number, "calls") < len(functions):
        raise MalformedError("it has a call of a function that it does not list")
    function = functions[number]
    for value in _of(asked, list, "calls"):
        if value.__class__ is list and function.system:
            for each in value:
                _count(each, "calls")
        elif value.__class__ not in (int, bytes, float) and not (value is None and function.system):
            raise MalformedError("an argument is of a type that there is not")
    read = None if answer is None else _answer(_of(answer, list, "calls"))
    if isinstance(read, (Wrote | Printed) if not function.system else Given):
        raise MalformedError("an answer is not of its function's kind")
    return HostCall(number, asked, read)


def _answer(found: list[Any]) -> Answered:
    kind = found[0] if found else None
    if kind == "given" and len(found) in (2, 5):
        if found[1].__class__ not in (int, bytes, float, type(None)):
            raise MalformedError("an answer is of a type that there is not")
        return Given(found[1], _logged(*found[2:]) if len(found) == 5 else None)
    if kind == "wrote" and len(found) == 3:
        if _count(found[1], "calls") >= 1 << 16:
            raise MalformedError("an answer has an error number that there is not")
        return Wrote(found[1], tuple(_written(each) for each in _of(found[2], list, "calls")))
    if kind == "printed" and len(found) == 2 and found[1] in (1, 2):
        return Printed(_of(found[1], int, "calls"))
    if kind == "raised" and len(found) == 1:
        return Raised()
    raise MalformedError("it has an answer of a kind that there is not")


def _written(found: Any) -> tuple[int, int, bytes]:
    place, behind, data = _parts(found, 3, "calls")
    return _count(place, "calls"), _of(behind, int, "calls"), _of(data, bytes, "calls")


def _logged(lines: Any, dropped: Any, room: Any) -> Logged:
    read = tuple(_line(each) for each in _of(lines, list, "calls"))
    return Logged(read, _count(dropped, "calls"), _count(room, "calls"))


def _line(found: Any) -> tuple[str, str]:
    level, text = _parts(found, 2, "log")
    return _of(level, str, "log"), _of(text, str, "log")


def _ending(found: list[Any]) -> Ending:
    kind, message, output, limit, code = _parts(found, 5, "ending")
    if kind not in _KINDS:
        raise MalformedError("it ended in a way that there is not")
    return Ending(
        _of(kind, str, "ending"),
        _of(message, str, "ending"),
        _of(output, bytes, "ending"),
        None if limit is None else _of(limit, str, "ending"),
        None if code is None else _of(code, int, "ending"),
    )


def _parts(found: Any, count: int, name: str) -> list[Any]:
    parts = _of(found, list, name)
    if len(parts) != count:
        raise MalformedError(f"{name} has something that is not what it should be")
    return parts


def _of(value: Any, kind: type[T], name: str) -> T:
    # Exactly: a bool is an int.
    if value.__class__ is not kind:
        raise MalformedError(f"{name} has something that is not what it should be")
    return value


def _count(value: Any, name: str) -> int:
    number = _of(value, int, name)
    if number < 0:
        raise MalformedError(f"{name} has a number below 0")
    return number


def _number(value: Any, name: str, *, finite: bool = True) -> int | float:
    if value.__class__ not in (int, float) or (finite and not math.isfinite(value)):
        raise MalformedError(f"{name} has something that is not a number")
    number: int | float = value
    return number


def _texts(found: dict[str, Any]) -> dict[str, str]:
    return {key: _of(value, str, "config") for key, value in found.items()}
