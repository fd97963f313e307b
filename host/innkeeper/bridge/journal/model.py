"""What a journal says: what one call was given, what it asked the host and was answered, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from innkeeper.sandbox.interface import Value
from innkeeper.sandbox.present import Logged
from innkeeper.sandbox.wasi import WASI_MODULE

VERSION: Final = 1
"""Of the format."""

MOST_BYTES: Final = 64 << 20
"""Bytes of a journal, whatever its settings say."""

MOST_MESSAGE: Final = 4096
"""Characters of an error's message."""

OUTPUT: Final = "output"
"""The outcome of a call that went well; every other one is the kind of an error, or `EXCEPTION`."""

EXCEPTION: Final = "exception"
"""The outcome where a host function raised what is no error of Innkeeper's: a defect of that function."""

_OUTSIDE: Final = frozenset({EXCEPTION, "cancelled", "busy", "internal"})
_TIMES: Final = frozenset({"cpu", "wall", "host_call", "nesting"})


@dataclass(frozen=True, slots=True)
class AskedFunction:
    """A function that was called.

    Attributes:
        namespace: import module.
        name: import name.
        parameters: types of the parameters; none where it is one of WASI's.
        result: type of the result, or None.
    """

    namespace: str
    name: str
    parameters: tuple[Value, ...] = ()
    result: Value | None = None

    @property
    def system(self) -> bool:
        """Whether it is one of WASI's (bool)."""
        return self.namespace == WASI_MODULE


@dataclass(frozen=True, slots=True)
class Given:
    """A host function's answer.

    Attributes:
        value: bytes, int, float or None.
        logged: what it added to the log of the call, which is written again, or None.
    """

    value: bytes | int | float | None
    logged: Logged | None = None


@dataclass(frozen=True, slots=True)
class Wrote:
    """The answer of one of WASI's functions.

    Attributes:
        errno: its result.
        written: number of a place that the guest named, how far behind it, and what was written there.
    """

    errno: int
    written: tuple[tuple[int, int, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Printed:
    """What was asked went to the log, which is written again.

    Attributes:
        stream: 1 for standard output, 2 for standard error.
    """

    stream: int


@dataclass(frozen=True, slots=True)
class Raised:
    """The function failed, which ended the call. Why is not the guest's to know, so no journal says it."""


Answered = Given | Wrote | Printed | Raised | None
"""None: the call ended before there was an answer."""


@dataclass(slots=True)
class HostCall:
    """One call of a host function or of WASI.

    Attributes:
        function: index in `Journal.functions`.
        asked: the arguments: int, float, bytes, and of WASI also None and lists of int (`wasi.questions`).
        answer: what came back.
    """

    function: int
    asked: list[Any]
    answer: Answered = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended.

    Attributes:
        kind: `OUTPUT`, `EXCEPTION`, or the kind of an error.
        message: of the error.
        output: of the guest.
        limit: name of the limit that was reached, or None.
        code: that the guest returned or exited with, or None.
    """

    kind: str
    message: str = ""
    output: bytes = b""
    limit: str | None = None
    code: int | None = None

    @property
    def outside(self) -> bool:
        """Whether something ended it that no journal holds (bool): a clock, the caller, the host, a defect."""
        return self.kind in _OUTSIDE or self.limit in _TIMES


@dataclass(frozen=True, slots=True)
class Journal:
    """One call.

    Attributes:
        at: when it began, seconds since 1970.
        host: what ran it, in words: versions of Innkeeper and of its engine.
        plugin: id of the plugin.
        version: that its manifest gives, or "".
        digest: sha256 of its bytes, 64 hexadecimal digits.
        function: that was called.
        run: id of the run that it belonged to, or "".
        node: id of the node, or "".
        config: what the guest's `config_get` answered.
        limits: that it had, by name.
        rights: capabilities of the plugin, in their normal form; files by their logical names.
        real: whether its WASI showed anything of the real world, so that its calls are among `calls`.
        why_not: why it cannot be run again, a sentence; "" where it can.
        input: of the call.
        functions: that were called.
        calls: what was asked, in order.
        log: level and text of each line.
        log_dropped: bytes of log beyond the limit.
        usage: what it cost, by name.
        ending: how it ended.
    """

    at: float
    host: str
    plugin: str
    version: str
    digest: str
    function: str
    run: str
    node: str
    config: Mapping[str, str]
    limits: Mapping[str, int | float]
    rights: tuple[str, ...]
    real: bool
    why_not: str
    input: bytes
    functions: tuple[AskedFunction, ...]
    calls: tuple[HostCall, ...]
    log: tuple[tuple[str, str], ...]
    log_dropped: int
    usage: Mapping[str, int | float]
    ending: Ending = field(default_factory=lambda: Ending(OUTPUT))
