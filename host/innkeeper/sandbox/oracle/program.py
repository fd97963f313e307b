"""A plugin on the oracle, and a guest of it that lives on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from innkeeper.errors import GuestError, UsageError
from innkeeper.sandbox.callable import check_callable
from innkeeper.sandbox.interface import CallOptions, HostFunction
from innkeeper.sandbox.kernel import ENV, PAGE
from innkeeper.sandbox.known import Known
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.oracle import faults, wire
from innkeeper.sandbox.oracle.call import START_MAX, OracleCall
from innkeeper.sandbox.oracle.guest import OracleGuest
from innkeeper.sandbox.oracle.pool import Pool
from innkeeper.sandbox.oracle.process import Worker, WorkerEndedError
from innkeeper.sandbox.usage import Result


class ExtismProgram:
    """Implements `interface.Program`.

    Attributes:
        digest: sha256 of the plugin's own module, hexadecimal.
    """

    def __init__(
        self,
        pool: Pool,
        known: Known,
        modules: Sequence[tuple[str | None, bytes]],
        functions: Sequence[HostFunction],
    ) -> None:
        """Args:
        pool: has its workers.
        known: what its own module says of itself.
        modules: name and bytes of each, in the order in which they start; its own is last and has no name.
        functions: host functions that they may import.
        """
        self.digest = known.digest
        self._pool = pool
        self._modules = tuple(modules)
        # What stands for a function of the ABI's has no place there: extism has its own, which refuses.
        self._functions = tuple(function for function in functions if function.namespace != ENV)
        self._info = known.info
        self._closed = False

    async def compile(self, plugin: str | None) -> None:
        """Has a worker compile it, which then waits for its first guest.

        Raises:
            RejectedError: extism does not take the module.
        """
        call = OracleCall(None, b"", CallOptions(plugin=plugin))
        with call.bounded():
            worker = await self._worker(call)
            self._pool.keep(self, worker)

    async def call(self, function: str, data: bytes, options: CallOptions) -> Result:
        """As `interface.Program.call`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.check_function(function, options)
        call = OracleCall(function, data, options)
        output = b""
        with call.bounded():
            guest = await self.guest(call)
            try:
                if await guest.start(call):
                    output = await guest.call(call, function, data, cpu=None)
            finally:
                await self.end(guest)
        return call.result(output)

    async def open(self, options: CallOptions) -> ExtismSession:
        """As `interface.Program.open`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_open(options)
        call = OracleCall("(start)", b"", options)
        with call.bounded():
            guest = await self.guest(call)
            try:
                if not await guest.start(call):
                    raise GuestError("the guest exited while it started, so there is nothing to call", code=0)
            except BaseException:
                await self.end(guest)
                raise
        return ExtismSession(self, guest)

    def close(self) -> None:
        """As `interface.Program.close`."""
        self._closed = True
        self._pool.forget(self)

    def check_function(self, function: str, options: CallOptions) -> None:
        """Raises UsageError if there is no function of this name that can be called."""
        self._check_open(options)
        check_callable(self._info, function, options.plugin)

    async def guest(self, call: OracleCall) -> OracleGuest:
        """A worker for a guest, which the caller starts; `end` gives it back."""
        return OracleGuest(await self._worker(call), self._functions)

    async def end(self, guest: OracleGuest) -> None:
        """A guest is over. A worker that is still at work is killed."""
        if guest.sound and not self._closed:
            try:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                    await guest.worker.send({"type": "close"})
                    self._pool.keep(self, guest.worker)
                    return
            except WorkerEndedError:
                pass
        await self._pool.drop(guest.worker)

    async def _worker(self, call: OracleCall) -> Worker:
        with call.waiting():
            await self._pool.place()
        with call.compiling():
            return await self._pool.take(self, lambda worker: self._prepare(worker, call.limits))

    async def _prepare(self, worker: Worker, limits: Limits) -> None:
        # extism compiles anew for other limits.
        settings = {"pages": limits.memory // PAGE + limits.kernel_memory // PAGE, "variables": limits.variables}
        if worker.settings == settings:
            return
        header: dict[str, Any] = {"type": "compile", "cpu": START_MAX, **settings}
        payload: list[bytes] = []
        if worker.settings is None:
            payload = [data for _, data in self._modules]
            header |= {
                "type": "setup",
                "names": [name for name, _ in self._modules],
                "sizes": [len(data) for data in payload],
                "functions": [
                    (f.namespace, f.name, [p.value for p in f.parameters], f.result.value if f.result else None)
                    for f in self._functions
                ],
            }
        try:
            await worker.send(header, *payload)
            answer, _ = await worker.receive(0)
            kind = wire.take(answer, "type", str)
            if kind == "missing":
                raise UsageError(
                    f"the package 'extism' does not load ({wire.take(answer, 'text', str)[:200]}); "
                    "install it, or use the engine 'fibers'"
                )
            if kind == "refused":
                raise faults.rejection(wire.take(answer, "text", str))
            if kind != "ready":
                raise wire.WireError("an answer to another question")
        except (WorkerEndedError, wire.WireError) as error:
            raise faults.worker_failed(error, limits, compiling=True) from None
        worker.settings = settings

    def _check_open(self, options: CallOptions) -> None:
        if options.tape is not None:
            raise UsageError(
                "the engine 'extism' neither records calls nor plays them back: use the engine 'fibers', or keep no "
                "journal",
                plugin=options.plugin,
            )
        if self._closed:
            raise UsageError("the plugin was unloaded", plugin=options.plugin)


class ExtismSession:
    """Implements `interface.Session`."""

    def __init__(self, program: ExtismProgram, guest: OracleGuest) -> None:
        self._program = program
        self._guest: OracleGuest | None = guest
        self._closed = False
        self._ended = ""

    @property
    def spent(self) -> bool:
        """As `interface.Session.spent`."""
        return self._guest is None

    async def call(self, function: str, data: bytes, options: CallOptions) -> Result:
        """As `interface.Session.call`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        guest = self._guest
        if guest is None:
            raise GuestError(f"the guest has ended: {self._ended}", plugin=options.plugin, function=function)
        self._program.check_function(function, options)
        call = OracleCall(function, data, options)
        self._guest, self._ended = None, "a call is under way, and a guest does one at a time"
        try:
            with call.bounded():
                output = await guest.call(call, function, data, cpu=options.limits.cpu)
        except BaseException as error:
            await self._after(guest, f"{type(error).__name__}: {error}")
            raise
        await self._after(guest, "it exited")
        return call.result(output)

    async def aclose(self) -> None:
        """As `interface.Session.aclose`. A call that is under way finishes first."""
        self._closed = True
        guest, self._guest = self._guest, None
        if guest is not None:
            await self._after(guest, "")
        await trio.lowlevel.checkpoint()

    async def _after(self, guest: OracleGuest, ended: str) -> None:
        if guest.orderly and not self._closed:
            self._guest = guest
            return
        self._ended = "it was closed" if guest.orderly else ended
        await self._program.end(guest)
