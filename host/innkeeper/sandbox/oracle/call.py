"""One call of the oracle: its deadline, what it waits for, what it has used."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio

from innkeeper.errors import BusyError, InnkeeperError, LimitError, RejectedError
from innkeeper.sandbox.interface import CallOptions, HostFunction
from innkeeper.sandbox.oracle import faults, wire
from innkeeper.sandbox.oracle.pool import WORKERS
from innkeeper.sandbox.present import PresentCall
from innkeeper.sandbox.usage import Result

START_MAX = 60.0
"""Seconds in which a worker must have started and compiled its program; no call's time, since it runs no guest."""

_LEVELS = frozenset({"trace", "debug", "info", "warn", "error"})


class OracleCall(PresentCall):
    """The state of one call.

    Args:
        function: name of the guest's function, or None where a program is only compiled.

    """

    def __init__(self, function: str | None, data: bytes, options: CallOptions) -> None:
        super().__init__(options, len(data))
        self._function = function
        self._begun = time.perf_counter()
        self._scope = trio.CancelScope()
        self._stage = ""

    @property
    def left(self) -> float:
        """As `PresentCall.left`."""
        return min(self._scope.deadline - trio.current_time(), self.limits.host_call)

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Ends what runs inside at the call's deadline, and completes the errors that come out.

        Raises:
            LimitError: the input is larger than it may be, or it took too long.
            BusyError, RejectedError: it took too long, and that was not the guest's doing.
        """
        size, limits = self.usage.bytes_in, self.limits
        self._scope.deadline = trio.current_time() + limits.wall
        try:
            if size > limits.input:
                raise faults.reached(f"the input has {size} bytes", "input", limits.input, size)
            with self._scope:
                yield
            if self._scope.cancelled_caught:
                raise self._late()
        except InnkeeperError as error:
            error.plugin = error.plugin or self.options.plugin
            error.function = error.function or self._function
            error.usage = self.usage if self._function is not None else None
            raise
        finally:
            self.leave()
            self.usage.wall = time.perf_counter() - self._begun

    # What a stage is called stays where the deadline ends it, for the error.

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While it waits for a worker."""
        self._stage = WORKERS
        yield
        self._stage = ""

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """While a worker starts and compiles: that has a time of its own, and the call's deadline moves on by it."""
        before, end = trio.current_time(), self._scope.deadline
        self._stage, self._scope.deadline = "compiling", before + START_MAX
        yield
        took = trio.current_time() - before
        self._stage, self._scope.deadline = "", end + took
        self._begun += took

    @contextmanager
    def in_host(self, function: HostFunction) -> Iterator[None]:
        """While a host function runs, which has a time of its own within the call's.

        Raises:
            LimitError: it is one host call too many, or this one took too long.
        """
        limits = self.limits
        self.usage.host_calls += 1
        if self.usage.host_calls > limits.host_calls:
            raise LimitError(
                f"the guest called host functions more than {limits.host_calls} times; the limit is 'host_calls'",
                limit="host_calls",
                value=limits.host_calls,
                used=self.usage.host_calls,
            )
        if self.token is None:
            self.enter()
        with trio.move_on_after(limits.host_call) as scope:
            yield
        if scope.cancel_called:
            raise LimitError(
                f"a host function took longer than {limits.host_call:g} s (host function {function.name!r}); "
                "the limit is 'host_call'",
                limit="host_call",
                value=limits.host_call,
                used=limits.host_call,
            )

    def take_log(self, header: dict[str, Any]) -> None:
        """Keeps the log that came with a message.

        Raises:
            wire.WireError: it is none, or larger than the limit.
        """
        lines = wire.take(header, "log", list)
        size = 0
        for line in lines:
            if not (
                isinstance(line, list)
                and len(line) == 2
                and all(isinstance(part, str) for part in line)
                and line[0] in _LEVELS
            ):
                raise wire.WireError("a log that is none")
            size += len(line[1])
        if size > self.limits.log:
            raise wire.WireError("a log beyond its limit")
        self.usage.log += [(level, text) for level, text in lines]
        self.usage.log_dropped += wire.take_count(header, "dropped", 1 << 63)

    def result(self, output: bytes) -> Result:
        """The outcome of a call that went well."""
        self.usage.bytes_out = len(output)
        return Result(output, self.usage)

    def _late(self) -> InnkeeperError:
        wall = self.limits.wall
        if self._stage == "compiling":
            return RejectedError(
                f"the extism engine took longer than {START_MAX:g} s to compile the module; use the engine 'fibers'"
            )
        if self._stage:
            return BusyError(
                f"the host was busy: the bound on {self._stage} was not free before the call's deadline of {wall:g} s; "
                "try again later, or raise 'workers' in innkeeper.toml",
                bound=WORKERS,
            )
        return faults.too_long(wall)
