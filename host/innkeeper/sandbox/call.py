"""One call: its limits, its clock, what it has used, and what ended it."""

from __future__ import annotations

import time

from innkeeper.errors import InnkeeperError, LimitError, UsageError
from innkeeper.sandbox import kernel
from innkeeper.sandbox.clock import WallClock
from innkeeper.sandbox.interface import CallOptions
from innkeeper.sandbox.present import PresentCall
from innkeeper.sandbox.usage import Result


class Call(PresentCall):
    """The state of one call, from the caller's `await` to its result.

    Attributes:
        function: name of the guest's function.
        clock: its wall clock.
        failure: what a callback found wrong, if it did; the first thing counts.
        ahead: whether it only starts a guest that nobody called yet: no host function may run then.
        orderly: whether the guest finished and reported an error of its own: it can be called again.
        tape: `options.tape`.
    """

    __slots__ = ("ahead", "clock", "failure", "function", "orderly", "tape")

    def __init__(self, function: str, data: bytes, options: CallOptions) -> None:
        """Args:
            function: name of the guest's function.
            data: its input.
            options: what the caller decided.

        Raises:
            LimitError: the input is larger than its limit.
        """
        super().__init__(options, len(data))
        self.tape = options.tape
        self.function = function
        self.clock = WallClock(options.limits.wall)
        self.failure: BaseException | None = None
        self.orderly = False
        self.ahead = False
        if len(data) > self.limits.input:
            raise LimitError(
                f"the input has {len(data)} bytes; the limit 'input' is {self.limits.input}",
                limit="input",
                value=self.limits.input,
                used=len(data),
                plugin=options.plugin,
                function=function,
            )

    @property
    def left(self) -> float:
        """As `PresentCall.left`."""
        return min(self.clock.due - time.perf_counter(), self.limits.host_call)

    def end(self, error: BaseException | None) -> None:
        """The call is over: leaves the clock's scope. To be called once, with what ended it.

        Raises:
            InnkeeperError: it was the clock that ended the call, and this is what that means.
        """
        if self.token is not None:
            self.leave()
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


def log_level(number: int) -> str:
    """The name of a level that the kernel counts from 0, "trace", to 4, "error"."""
    return kernel.LOG_LEVELS[number] if 0 <= number < len(kernel.LOG_LEVELS) else "info"
