"""One call: its limits, its clock, what it has used, and what ended it."""

from __future__ import annotations

from innkeeper.errors import InnkeeperError, LimitError, UsageError
from innkeeper.sandbox import kernel
from innkeeper.sandbox.clock import WallClock
from innkeeper.sandbox.interface import CallOptions
from innkeeper.sandbox.usage import Result, Usage

_LINE_COST = 16
"""Bytes that even an empty line is counted as: a flood of them must end, too."""


class Call:
    """The state of one call, from the caller's `await` to its result.

    Attributes:
        options: what the caller decided.
        limits: `options.limits`.
        function: name of the guest's function.
        usage: what it has used so far.
        clock: its wall clock.
        failure: what a callback found wrong, if it did; the first thing counts.
        ahead: whether it only starts a guest that nobody called yet: no host function may run then.
        orderly: whether the guest finished and reported an error of its own: it can be called again.
        tape: `options.tape`.
    """

    __slots__ = ("_log_left", "ahead", "clock", "failure", "function", "limits", "options", "orderly", "tape", "usage")

    def __init__(self, function: str, data: bytes, options: CallOptions) -> None:
        """Args:
            function: name of the guest's function.
            data: its input.
            options: what the caller decided.

        Raises:
            LimitError: the input is larger than its limit.
        """
        self.options = options
        self.tape = options.tape
        self.limits = options.limits
        self.function = function
        self.usage = Usage(bytes_in=len(data))
        self.clock = WallClock(options.limits.wall)
        self.failure: BaseException | None = None
        self.orderly = False
        self.ahead = False
        self._log_left = options.limits.log
        if len(data) > self.limits.input:
            raise LimitError(
                f"the input has {len(data)} bytes; the limit 'input' is {self.limits.input}",
                limit="input",
                value=self.limits.input,
                used=len(data),
                plugin=options.plugin,
                function=function,
            )

    def end(self, error: BaseException | None) -> None:
        """The call is over: leaves the clock's scope. To be called once, with what ended it.

        Raises:
            InnkeeperError: it was the clock that ended the call, and this is what that means.
        """
        clock = self.clock
        by_clock = clock.close(error)
        self.usage.wall = clock.elapsed
        if error is None and by_clock is None:
            return
        final = by_clock or error
        if isinstance(final, InnkeeperError):
            final.plugin = final.plugin or self.options.plugin
            final.function = final.function or self.function
            final.usage = self.usage
        if by_clock is not None:
            raise by_clock from None

    def result(self, output: bytes) -> Result:
        """The call went well: ends it.

        Raises:
            InnkeeperError: it was too late.
        """
        self.end(None)
        usage = self.usage
        usage.bytes_out = len(output)
        return Result(output, usage)

    def take_over(self, start: Call) -> None:
        """What a guest used while it started counts for the call that it serves."""
        self.usage.cpu = start.usage.cpu
        self.usage.system_calls = start.usage.system_calls
        self.take_log(start)

    def take_log(self, start: Call) -> None:
        """What a guest logged while it started is in the log of its first call, and counts there."""
        self.usage.log_dropped = start.usage.log_dropped
        self.usage.log = start.usage.log
        self._log_left -= start.limits.log - start._log_left

    def fail(self, error: BaseException) -> None:
        """Keeps what ends the call, unless something else did before."""
        if self.failure is None:
            self.failure = error

    def cpu_error(self) -> LimitError:
        """What to raise when the guest has used up its processor time."""
        return LimitError(
            f"the guest used {self.usage.cpu:.3f} s of processor time; the limit 'cpu' is {self.limits.cpu:g} s",
            limit="cpu",
            value=self.limits.cpu,
            used=self.usage.cpu,
        )

    def count_host_call(self) -> None:
        """Counts one call of a host function.

        Raises:
            LimitError: there were more than the call may make.
        """
        if self.ahead:
            raise UsageError("a guest that nobody called yet wanted to call the host")
        self.usage.host_calls += 1
        if self.usage.host_calls > self.limits.host_calls:
            raise self._too_many("host_calls", self.limits.host_calls, "host functions")

    def count_system_call(self) -> None:
        """Counts one call of WASI, configuration, variables or logging.

        Raises:
            LimitError: there were more than the call may make.
        """
        self.usage.system_calls += 1
        if self.usage.system_calls > self.limits.system_calls:
            raise self._too_many("system_calls", self.limits.system_calls, "WASI and logging")

    def _too_many(self, limit: str, value: int, what: str) -> LimitError:
        return LimitError(
            f"the guest called {what} more than {value} times; the limit is {limit!r}",
            limit=limit,
            value=value,
            used=value + 1,
        )

    def log_room(self) -> int:
        """Bytes worth reading of a message to be logged: what is beyond them would be dropped anyway."""
        return max(0, self._log_left)

    def log(self, level: str, data: bytes) -> None:
        """Keeps the lines of `data` within the limits on lines and on the whole; counts what it drops."""
        for line in data.split(b"\n"):
            if self._log_left <= 0:
                self.usage.log_dropped += len(line)
                continue
            kept = line[: min(self.limits.log_line, self._log_left)]
            self.usage.log_dropped += len(line) - len(kept)
            self._log_left -= max(len(kept), _LINE_COST)
            self.usage.log.append((level, kept.decode("utf-8", "replace")))


def log_level(number: int) -> str:
    """The name of a level that the kernel counts from 0, "trace", to 4, "error"."""
    return kernel.LOG_LEVELS[number] if 0 <= number < len(kernel.LOG_LEVELS) else "info"
