"""One guest in a worker, as the host sees it."""

from __future__ import annotations

from typing import Any

from innkeeper.errors import GuestError, InnkeeperError, RejectedError, UsageError
from innkeeper.sandbox.interface import HostFunction
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.oracle import faults, values, wire
from innkeeper.sandbox.oracle.call import OracleCall
from innkeeper.sandbox.oracle.process import Worker, WorkerEndedError


class OracleGuest:
    """A guest.

    Args:
        worker: is ready for one.
        functions: of its program.

    Attributes:
        worker: runs it.
        sound: whether the worker can serve another guest after this one.
        orderly: whether the guest itself lives: the last call ended well, or with an error of its own.
    """

    def __init__(self, worker: Worker, functions: tuple[HostFunction, ...]) -> None:
        self.worker = worker
        self.sound = True
        self.orderly = False
        self._functions = functions

    async def start(self, call: OracleCall) -> bool:
        """Starts it. False: it exited with code 0 meanwhile, and there is nothing to call.

        Raises:
            InnkeeperError: it does not start.
            BaseException: what a host function raised.
        """
        header = {"type": "open", "cpu": call.limits.cpu, **_of(call)}
        return await self._converse(call, header, b"", starting=True) is not None

    async def call(self, call: OracleCall, function: str, data: bytes, *, cpu: float | None) -> bytes:
        """Calls a function; its output.

        Args:
            cpu: seconds of processor time from now on; None where those of its start go on.

        Raises:
            InnkeeperError: it failed.
            BaseException: what a host function raised.
        """
        header = {"type": "call", "function": function, "cpu": cpu, **_of(call)}
        return await self._converse(call, header, data, starting=False) or b""

    async def _converse(self, call: OracleCall, header: dict[str, Any], data: bytes, *, starting: bool) -> bytes | None:
        # Whoever leaves early, by an error or cancelled, leaves a worker that is still at work.
        self.sound = self.orderly = False
        try:
            try:
                await self.worker.send(header, data)
            except wire.TooLargeError:
                raise UsageError(
                    f"the configuration is too large: the engine 'extism' takes less than {wire.HEADER_MAX} bytes of it"
                ) from None
            while True:
                header, payload = await self.worker.receive(call.limits.output)
                kind = wire.take(header, "type", str)
                if kind != "host":
                    break
                await self._serve(call, header, payload)
            if kind == "failed":
                call.take_log(header)
                self._fail(header, call.limits, starting=starting)
                return None
            if kind != ("opened" if starting else "done"):
                raise wire.WireError("an answer to another question")
            call.take_log(header)
        except (WorkerEndedError, wire.WireError) as error:
            raise faults.worker_failed(error, call.limits, compiling=False) from None
        self.sound = self.orderly = True
        return payload

    def _fail(self, header: dict[str, Any], limits: Limits, *, starting: bool) -> None:
        error: InnkeeperError | None = faults.failure(header, limits, starting=starting)
        self.sound = error is None or isinstance(error, GuestError | RejectedError)
        self.orderly = header["reason"] in ("own", "code")
        if error is not None:
            raise error

    async def _serve(self, call: OracleCall, header: dict[str, Any], payload: bytes) -> None:
        function = self._functions[wire.take_count(header, "number", len(self._functions) - 1)]
        arguments = values.arguments(function, wire.take(header, "values", list), payload)
        with call.in_host(function):
            result = await function.answer(*arguments)
        message, data = values.answer(function, result, call.limits)
        await self.worker.send(message, data)


def _of(call: OracleCall) -> dict[str, Any]:
    limits = call.limits
    return {
        "config": dict(call.options.config),
        "output": limits.output,
        "log": limits.log,
        "log_line": limits.log_line,
    }
