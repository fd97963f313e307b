"""A plugin as programs call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from innkeeper.errors import InnkeeperError, UsageError
from innkeeper.plugins.attendant import Attendant, Attendants, Overseer, PluginCall
from innkeeper.plugins.chain import Frame, inside
from innkeeper.plugins.generation import Generation
from innkeeper.plugins.grant import Grant
from innkeeper.plugins.grants import GrantState
from innkeeper.plugins.manifest import Instance, Manifest
from innkeeper.plugins.memo import Memo
from innkeeper.plugins.rights import Rights
from innkeeper.plugins.runs import RunContext
from innkeeper.plugins.shared import Turn
from innkeeper.plugins.tables import nearest, shown, visible
from innkeeper.sandbox.interface import CallOptions, Program
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.usage import Result

_SHORTEST = 0.001
"""Seconds that are left to a call which waited for its turn up to its deadline."""

_COMPARED = 100
"""Functions among which the one that was meant is looked for: it takes some 20 us each, and there may be 100,000."""


class Plugin:
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

    @property
    def digest(self) -> str:
        """sha256 of its bytes (str, 64 hexadecimal digits)."""
        return self._present.digest

    @property
    def label(self) -> str:
        """Its file as messages name it (str), such as "plugins/shout.wasm"."""
        return self._present.label

    @property
    def path(self) -> Path | None:
        """Its file, or None where it was loaded from bytes."""
        return self._present.path

    @property
    def shipped(self) -> bool:
        """Whether it came with Innkeeper (bool)."""
        return self._present.shipped

    @property
    def manifest(self) -> Manifest | None:
        """Its author's words, or None."""
        return self._present.manifest

    @property
    def grant(self) -> Grant | None:
        """Its operator's words, or None."""
        return self._present.grant

    @property
    def grant_state(self) -> GrantState:
        """ "none", "granted", "changed" (the grant is for other bytes) or "unusable"."""
        return self._present.grant_state

    @property
    def rights(self) -> Rights:
        """What it may do: what its manifest requests and its grant gives."""
        return self._present.rights

    @property
    def limits(self) -> Limits:
        """Of a call for which nobody says more."""
        return self._present.limits

    @property
    def config(self) -> dict[str, str]:
        """What the guest's `config_get` answers."""
        return self._present.config

    @property
    def instance(self) -> Instance:
        """ "fresh" or "shared": whether each call gets a guest of its own."""
        return self._present.instance

    @property
    def pure(self) -> bool:
        """Whether equal calls have equal results (bool), so that they can be remembered: each has a guest of its own,
        without any capability, and no function of the host to ask but `log` and `config`."""
        return self._present.pure

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of the functions that the module exports, sorted."""
        return self._present.functions

    def can_call(self, function: str) -> bool:
        """Whether `call` takes this function (bool): it is exported, and has no parameters."""
        return self._present.over is None and function in self._present.callable

    @property
    def gone(self) -> str | None:
        """Why it cannot be called any more, or None: its file was removed, or it was closed."""
        return self._present.over

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
            options = self._options(present, function, limits, config, manifest)
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
        options = self._options(present, function, limits, config, manifest)
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
                    options = self._options(present, function, limits, config, manifest)
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

    def _options(
        self,
        present: Generation,
        function: str,
        limits: Limits | None,
        config: Mapping[str, str] | None,
        manifest: Manifest | None,
    ) -> CallOptions:
        if present.over is not None:
            raise UsageError(present.over)
        if function.__class__ is not str or function not in present.callable:
            raise UsageError(self._not_callable(present, function))
        if manifest is not None and manifest is not present.manifest and not _same(manifest, present, function):
            raise UsageError(
                f"the plugin changed since the call was made ready, and {function!r} is not what it was; make it ready "
                "again: a workflow is to be started again"
            )
        if limits is None and config is None:
            return present.options
        allowed = present.limits if limits is None else limits.within(self._ceiling)
        asked = present.config if config is None else present.config | checked(config)
        return CallOptions(allowed, asked, self.id, rights=present.options.rights)

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

    def _not_callable(self, present: Generation, function: object) -> str:
        if function in present.functions:
            return "only functions without parameters that return nothing or an i32 can be called"
        hint = nearest(function, present.functions[:_COMPARED]) if isinstance(function, str) else ""
        exported = ", ".join(visible(name, 60) for name in present.functions[:10]) or "none"
        more = f" and {len(present.functions) - 10} more" if len(present.functions) > 10 else ""
        return f"the plugin exports no function {shown(function)}{hint or f'; it exports: {exported}{more}'}"


def _same(manifest: Manifest, present: Generation, function: str) -> bool:
    """Whether a function's input means the same by another manifest."""
    now = present.manifest
    return (
        now is not None
        and now.codec == manifest.codec
        and [node for node in now.nodes if node.function == function]
        == [node for node in manifest.nodes if node.function == function]
    )


async def retire(generation: Generation, *, successor: Generation | None = None) -> None:
    """Ends what a version holds as soon as its calls are over. A guest that its successor took over lives on."""
    if generation.guest is not None and (successor is None or successor.guest is not generation.guest):
        with trio.CancelScope(shield=True):
            await generation.guest.aclose()
    generation.retire()


def checked(config: Mapping[str, str]) -> dict[str, str]:
    """A configuration that a guest can read.

    Raises:
        UsageError: a key or a value is not text, or cannot be written as UTF-8.
    """
    for key, value in config.items():
        for what, text in (("a key", key), (f"the value of {shown(key)}", value)):
            if not isinstance(text, str):
                raise UsageError(f"{what} in the configuration must be text, not {type(text).__name__}")
            try:
                text.encode()
            except UnicodeEncodeError:
                raise UsageError(f"{what} in the configuration has half of a surrogate pair") from None
    return dict(config)
