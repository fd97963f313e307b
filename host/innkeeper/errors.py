"""The closed list of ways in which a call can end badly, each with its exit code.

Every message names the plugin, the function, what happened and what to do; none carries a path of the host, a
secret or a traceback.
"""

from __future__ import annotations

from enum import Enum
from typing import Any


class Kind(Enum):
    """What kind of failure ended a call. The value is the kind's name in JSON and in logs."""

    GUEST = "guest"
    USAGE = "usage"
    REJECTED = "rejected"
    LIMIT = "limit"
    DENIED = "denied"
    CANCELLED = "cancelled"
    BUSY = "busy"
    INTERNAL = "internal"

    @property
    def exit_code(self) -> int:
        """The exit code (int, 1 to 70) that a command ends with for this kind."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    Kind.GUEST: 1,
    Kind.USAGE: 2,
    Kind.REJECTED: 3,
    Kind.LIMIT: 4,
    Kind.DENIED: 5,
    Kind.CANCELLED: 6,
    Kind.BUSY: 7,
    Kind.INTERNAL: 70,
}


class InnkeeperError(Exception):
    """The base of all errors of this library.

    Attributes:
        kind: which of the closed list it is.
        plugin: id of the plugin that it concerns, or None.
        function: name of the guest's function, or None.
        node: id of the workflow's node, or None outside of a workflow.
        usage: what the call had cost when it ended (`innkeeper.sandbox.usage.Usage`), or None if it did not begin.
        trap: whether the guest's code trapped (bool), as it started or later.
    """

    kind: Kind = Kind.INTERNAL
    trap: bool = False

    def __init__(
        self, message: str, *, plugin: str | None = None, function: str | None = None, node: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.plugin = plugin
        self.function = function
        self.node = node
        self.usage: Any = None

    def __str__(self) -> str:
        where = [
            f"{word} {name!r}"
            for word, name in (("node", self.node), ("plugin", self.plugin), ("function", self.function))
            if name is not None
        ]
        return f"{', '.join(where)}: {self.message}" if where else self.message


class GuestError(InnkeeperError):
    """The guest failed by itself: `error_set`, a return code other than 0, a trap, `proc_exit` other than 0.

    Attributes:
        code: the return code or exit code (int), or None where a trap ended the call.
    """

    kind = Kind.GUEST

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        plugin: str | None = None,
        function: str | None = None,
        node: str | None = None,
    ) -> None:
        super().__init__(message, plugin=plugin, function=function, node=node)
        self.code = code


class UsageError(InnkeeperError):
    """The caller's mistake: a function that is not exported, a workflow that does not check, a malformed option."""

    kind = Kind.USAGE


class RejectedError(InnkeeperError):
    """The file is not something that this host runs: not Wasm, not supported, wrong imports, a start that traps."""

    kind = Kind.REJECTED


class LimitError(InnkeeperError):
    """A limit of the call was reached.

    Attributes:
        limit: name of the limit, as in a grant (str): "memory", "cpu", "wall", "stack", "output" and so on.
        value: the limit in its unit: bytes, seconds or a count; None where the engine does not say.
        used: what the call had used or wanted, in the same unit; None where the engine does not say.
    """

    kind = Kind.LIMIT

    def __init__(
        self,
        message: str,
        *,
        limit: str,
        value: float | None = None,
        used: float | None = None,
        plugin: str | None = None,
        function: str | None = None,
        node: str | None = None,
    ) -> None:
        super().__init__(message, plugin=plugin, function=function, node=node)
        self.limit = limit
        self.value = value
        self.used = used


class DeniedError(InnkeeperError):
    """A call that ended because the plugin lacks a capability.

    Attributes:
        capability: name of the missing capability (str), such as "http".
    """

    kind = Kind.DENIED

    def __init__(
        self,
        message: str,
        *,
        capability: str,
        plugin: str | None = None,
        function: str | None = None,
        node: str | None = None,
    ) -> None:
        super().__init__(message, plugin=plugin, function=function, node=node)
        self.capability = capability


class CancelledError(InnkeeperError):
    """The work was cancelled from outside, Ctrl-C included. Inside trio a cancelled call raises `trio.Cancelled`;
    this error is what commands and records of runs say of it."""

    kind = Kind.CANCELLED


class BusyError(InnkeeperError):
    """A host-wide bound was not free before the call's deadline.

    Attributes:
        bound: name of the bound (str): "live guests", "guest memory", "calls per plugin", "bytes in flight",
            "shared guest", "worker threads", "open files", "extism workers",
            "database", "disk", "http requests"; "failures" where the plugin is paused, which only its operator ends.
    """

    kind = Kind.BUSY

    def __init__(
        self,
        message: str,
        *,
        bound: str,
        plugin: str | None = None,
        function: str | None = None,
        node: str | None = None,
    ) -> None:
        super().__init__(message, plugin=plugin, function=function, node=node)
        self.bound = bound


class InternalError(InnkeeperError):
    """A defect of the host itself. Please report it."""

    kind = Kind.INTERNAL
