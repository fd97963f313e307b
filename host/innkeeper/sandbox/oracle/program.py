"""A plugin on the oracle, and a guest of it that lives on."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from innkeeper.errors import GuestError, InternalError, RejectedError, UsageError
from innkeeper.sandbox.interface import CallOptions, HostFunction
from innkeeper.sandbox.limits import DEFAULTS
from innkeeper.sandbox.oracle import faults, wire
from innkeeper.sandbox.oracle.call import START_MAX, OracleCall
from innkeeper.sandbox.oracle.guest import OracleGuest, memory_settings
from innkeeper.sandbox.oracle.pool import WORKERS, Pool
from innkeeper.sandbox.oracle.process import Worker, WorkerEndedError
from innkeeper.sandbox.usage import Result
from innkeeper.sandbox.wasm import ModuleInfo


class ExtismProgram:
    """Implements `interface.Program`.

    Attributes:
        digest: sha256 of the plugin's own module, hexadecimal.
    """

    def __init__(
        self,
        pool: Pool,
        digest: str,
        modules: Sequence[tuple[str | None, bytes]],
        functions: Sequence[HostFunction],
        info: ModuleInfo,
    ) -> None:
        self.digest = digest
        self._pool = pool
        self._modules = tuple(modules)
        self._functions = tuple(functions)
        self._info = info
        self._closed = False

    async def compile(self) -> None:
        """Has a worker compile it, which then waits for its first guest.

        Raises:
            RejectedError: extism does not take the module.
        """
        call = OracleCall(None, b"", CallOptions())
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
        export = self._info.exports.get(function)
        if export is None or export.kind != "func" or export.signature is None:
            names = [e.name for e in self._info.exports.values() if e.kind == "func" and not e.name.startswith("_")]
            known = ", ".join(sorted(names)[:10]) or "none"
            raise UsageError(
                f"it exports no such function; it exports: {known}", plugin=options.plugin, function=function
            )
        parameters, results = export.signature
        if parameters or results not in ((), ("i32",)):
            raise UsageError(
                "only functions without parameters that return nothing or an i32 can be called; this one is "
                f"({', '.join(parameters)}) -> ({', '.join(results)})",
                plugin=options.plugin,
                function=function,
            )

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
        with call.waiting(WORKERS):
            await self._pool.place()
        with call.starting():
            return await self._pool.take(self, self._setup)

    async def _setup(self, worker: Worker) -> None:
        try:
            await worker.send(
                {
                    "type": "setup",
                    "names": [name for name, _ in self._modules],
                    "sizes": [len(data) for _, data in self._modules],
                    "functions": [
                        (f.namespace, f.name, [p.value for p in f.parameters], f.result.value if f.result else None)
                        for f in self._functions
                    ],
                    "cpu": START_MAX,
                    **memory_settings(DEFAULTS),
                },
                *(data for _, data in self._modules),
            )
            header, _ = await worker.receive(0)
            kind = wire.take(header, "type", str)
            if kind == "missing":
                raise UsageError(
                    f"the package 'extism' does not load ({wire.take(header, 'text', str)[:200]}); "
                    "install it, or use the engine 'fibers'"
                )
            if kind == "refused":
                raise faults.rejection(wire.take(header, "text", str))
            if kind != "ready":
                raise wire.WireError("an answer to another question")
        except WorkerEndedError as error:
            if error.signal is None:
                raise InternalError(f"the extism engine's process ended with {error} while it started") from None
            raise RejectedError(
                f"the extism engine's process ended with {error} while it compiled the module; use the engine 'fibers'"
            ) from None
        except wire.WireError as error:
            raise InternalError(f"the extism engine's process answered nonsense: {error}") from None

    def _check_open(self, options: CallOptions) -> None:
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
            self._ended = f"{type(error).__name__}: {error}"
            await self._after(guest)
            raise
        self._ended = "it exited"
        await self._after(guest)
        return call.result(output)

    async def aclose(self) -> None:
        """As `interface.Session.aclose`. A call that is under way finishes first."""
        self._closed = True
        guest, self._guest = self._guest, None
        if guest is not None:
            self._ended = "it was closed"
            await self._program.end(guest)
        await trio.lowlevel.checkpoint()

    async def _after(self, guest: OracleGuest) -> None:
        if guest.orderly and not self._closed:
            self._guest = guest
        else:
            await self._program.end(guest)
