"""A plugin as programs call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from innkeeper.errors import InnkeeperError, UsageError
from innkeeper.plugins.attendant import Attendant, Attendants, Overseer, PluginCall
from innkeeper.plugins.call_options import call_options
from innkeeper.plugins.chain import Frame, inside
from innkeeper.plugins.described import Described
from innkeeper.plugins.generation import Generation, retire
from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.memo import Memo
from innkeeper.plugins.runs import RunContext
from innkeeper.plugins.shared import Turn
from innkeeper.sandbox.interface import CallOptions, Program
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.usage import Result

_SHORTEST = 0.001
"""Seconds that are left to a call which waited for its turn up to its deadline."""


class Plugin(Described):
    """A module that can be called. Made by `Host.load`, or found in `Host.plugins`.

    It stays the same object while its files change; what it says of itself is what is in service now. A call takes all
    of that as it starts: bytes, limits and configuration of one call always belong together.

    Attributes:
        id: its id (str).

    Example:
        >>> result = await host.plugins["shout"].call("shout", b"hello")
        >>> result.output
        b'HELLO'
    """

    def __init__(
        self,
        id: str,
        ceiling: Limits,
        generation: Generation,
        attendant: Attendant | None = None,
        overseer: Overseer | None = None,
        memory: Callable[[bool], Attendant | None] | None = None,
    ) -> None:
        """Args:
        id: its id.
        ceiling: the most that a caller may raise a limit to.
        generation: the version that is in service.
        attendant: sees each of its calls, or None.
        overseer: may keep it from being called, or None.
        memory: gives who remembers its pure calls (`Services.memory`), or None.
        """
        self.id = id
        self._attendant = attendant
        self._overseer = overseer
        self._memory = memory
        self._remembering: dict[Memo, Attendant | None] = {}
        self._ceiling = ceiling
        self._present = generation
        self._turn = Turn()

    def __repr__(self) -> str:
        return f"<innkeeper.Plugin {self.id!r} {self.digest[:12]}>"

    async def call(
        self,
        function: str,
        data: bytes | bytearray | memoryview = b"",
        *,
        limits: Limits | None = None,
        config: Mapping[str, str] | None = None,
        manifest: Manifest | None = None,
        run: RunContext | None = None,
        memo: Memo = False,
    ) -> Result:
        """Calls a function of the guest.

        Args:
            function: name of an exported function.
            data: its input.
            limits: for this call, in place of the plugin's.
            config: for this call, on top of the plugin's.
            manifest: what the input was made by. If the version in service has another by now, in which the function
                is another node or has another codec, the call is refused.
            run: what the call belongs to; by default what the call that this one is inside of belongs to, if any.
            memo: whether the result of an equal call may be given instead, and this one's be remembered; "costly": on
                disk only if the call took long (`memo.disk_after`). Without effect where the plugin is not `pure`.

        Returns:
            Result: the output (bytes) and what the call cost.

        Raises:
            GuestError: the guest failed, or the shared guest has ended.
            UsageError: the function is not exported; the limits are above the host's own; the configuration has
                what is not text; a shared plugin is called from within its own call; the plugin's file was removed,
                or its manifest is another than the input was made by; the host is closed.
            RejectedError: the module is not one that this host runs.
            LimitError: a limit was reached.
            DeniedError: the guest needed a capability that it lacks.
            BusyError: a host-wide bound was not free before the deadline, or the plugin is paused: its calls ended in
                traps or limits too often.
            BaseException: what a host function raised, as it is; `trio.Cancelled` where the caller is cancelled.
        """
        try:
            if type(data) is not bytes:
                if not isinstance(data, bytes | bytearray | memoryview):
                    raise UsageError(f"the input must be bytes, not {type(data).__name__}")
                data = bytes(data)
            present = self._present
            if present.guest is not None:
                return await self._call_shared(function, data, limits, config, manifest, run)
            options = call_options(present, self._ceiling, function, limits, config, manifest)
            if self._overseer is not None and self._overseer.paused:
                await self._overseer.admit(present, function)
            present.calls += 1
            try:
                attendant = self._attendant
                if memo and present.pure:
                    attendant = self._remembers(memo)
                if attendant is not None:
                    return await self._attended(attendant, present, function, data, options, run)
                program = present.code.program
                if program is None:
                    program = await present.code.compile()
                with Frame(self, options.limits.nesting, present, run):
                    return await program.call(function, data, options)
            except InnkeeperError as error:
                if self._overseer is not None:
                    self._overseer.failed(present, options, error)
                raise
            finally:
                present.calls -= 1
                if present.retired:
                    present.settle()
        except InnkeeperError as error:
            if error.plugin is None:
                error.plugin = self.id
                error.function = function if error.function is None else error.function
            raise

    async def _attended(
        self,
        attendant: Attendant,
        present: Generation,
        function: str,
        data: bytes,
        options: CallOptions,
        run: RunContext | None,
    ) -> Result:
        async def proceed(options: CallOptions) -> Result:
            program = present.code.program or await present.code.compile()
            return await program.call(function, data, options)

        with Frame(self, options.limits.nesting, present, run) as frame:
            call = PluginCall(present, function, data, options, frame.run, shared=False)
            return await attendant.attend(call, proceed)

    async def _call_shared(
        self,
        function: str,
        data: bytes,
        limits: Limits | None,
        config: Mapping[str, str] | None,
        manifest: Manifest | None,
        run: RunContext | None,
    ) -> Result:
        turn = self._turn
        if inside(turn):
            raise UsageError("the plugin is called from within its own call; its shared guest runs one call at a time")
        present = self._present
        options = call_options(present, self._ceiling, function, limits, config, manifest)
        if self._overseer is not None and self._overseer.paused:
            await self._overseer.admit(present, function)
        if present.code.program is None:
            with present:
                # The wall clock does not count compiling.
                await present.code.compile()
        with Frame(turn, options.limits.nesting, run=run) as frame:
            waited = 0.0 if turn.take_now() else await turn.take(options.limits.wall)
            try:
                if self._present is not present or waited:
                    # Another version may have come into service meanwhile: this call is the new one's.
                    present = self._present
                    options = call_options(present, self._ceiling, function, limits, config, manifest)
                    left = max(options.limits.wall - waited, _SHORTEST)
                    options = replace(options, limits=replace(options.limits, wall=left))
                guest = present.guest
                if guest is not None:
                    frame.version = present
                    present.calls += 1
                    try:
                        if self._attendant is None:
                            return await guest.call(function, data, options)
                        call = PluginCall(present, function, data, options, frame.run, shared=True)
                        return await self._attendant.attend(call, partial(guest.call, function, data))
                    except InnkeeperError as error:
                        if self._overseer is not None:
                            self._overseer.failed(present, options, error)
                        raise
                    finally:
                        present.calls -= 1
                        if present.retired:
                            present.settle()
            finally:
                turn.give()
        # It has no such guest any more.
        return await self.call(function, data, limits=options.limits, config=config, manifest=manifest, run=run)

    def _remembers(self, memo: Memo) -> Attendant | None:
        if memo not in self._remembering:
            found = None if self._memory is None else self._memory(memo == "costly")
            if found is None or self._attendant is None:
                self._remembering[memo] = found or self._attendant
            else:
                # Whoever records calls records those that were remembered, too.
                self._remembering[memo] = Attendants([self._attendant, found])
        return self._remembering[memo]

    async def restart(self) -> None:
        """Ends the shared guest, if there is one; the next call starts another. Waits for a call that runs.

        Raises:
            UsageError: called from within a call of this plugin.
        """
        if self._present.guest is None:
            return
        if inside(self._turn):
            raise UsageError("the plugin is restarted from within its own call", plugin=self.id)
        await self._turn.take(float("inf"))
        try:
            if self._present.guest is not None:
                await self._present.guest.restart()
        finally:
            self._turn.give()

    async def compile(self) -> Program:
        """Compiles the module if that has not been done. Once, also when many ask at the same time.

        Raises:
            RejectedError: the module is not one that this host runs.
            UsageError: the host is closed.
        """
        present = self._present
        if present.over is not None:
            raise UsageError(present.over, plugin=self.id)
        return await present.code.compile()

    def replace(self, generation: Generation) -> Generation:
        """Puts another version in service: new calls take it. Gives the old one, whose `retire` is the caller's."""
        old, self._present = self._present, generation
        return old

    def stop(self, reason: str) -> Generation:
        """Takes no more calls. Those that run go on to their end, on what they began with.

        Args:
            reason: what new calls are told.

        Returns:
            Generation: the version that was in service, whose end is the caller's business: `retire`.
        """
        self._present.over = reason
        return self._present

    async def aclose(self) -> None:
        """Ends the shared guest and forgets the compiled code. Calls that run go on."""
        await retire(self.stop("the plugin is closed"))
