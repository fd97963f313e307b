"""A plugin as programs call it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import trio

from innkeeper.errors import InnkeeperError, RejectedError, UsageError
from innkeeper.plugins.chain import entered
from innkeeper.plugins.grant import Grant
from innkeeper.plugins.grants import GrantState
from innkeeper.plugins.manifest import Instance, Manifest
from innkeeper.plugins.module import Module
from innkeeper.plugins.shared import SharedGuest
from innkeeper.plugins.tables import nearest, shown
from innkeeper.sandbox.interface import CallOptions, Engine, HostFunction, Program
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.usage import Result

_CALLABLE = (((), ()), ((), ("i32",)))
"""Signatures that a call can have. Checked here too, so that a slip of the caller never reaches a shared guest."""


class Plugin:
    """A module that can be called. Made by `Host.load`, or found in `Host.plugins`.

    Attributes:
        id: its id (str).
        digest: sha256 of its bytes (str, 64 hexadecimal digits).
        label: its file as messages name it (str), such as "plugins/shout.wasm".
        shipped: whether it came with Innkeeper (bool).
        path: its file (Path), or None where it was loaded from bytes.
        manifest: its author's words, or None.
        grant: its operator's words, or None.
        grant_state: "none", "granted", "changed" or "unusable".
        limits: of a call for which nobody says more.
        config: what the guest's `config_get` answers (str to str).
        instance: "fresh" or "shared": whether each call gets a guest of its own.
        functions: names of the functions that the module exports (sorted tuple of str).

    Example:
        >>> result = await host.plugins["shout"].call("shout", b"hello")
        >>> result.output
        b'HELLO'
    """

    def __init__(
        self,
        engine: Engine,
        module: Module,
        *,
        id: str,
        label: str,
        path: Path | None,
        limits: Limits,
        ceiling: Limits,
        config: Mapping[str, str],
        instance: Instance,
        functions: Sequence[HostFunction] = (),
        modules: Mapping[str, bytes] | None = None,
        grant: Grant | None = None,
        grant_state: GrantState = "none",
        shipped: bool = False,
    ) -> None:
        self.id = id
        self.digest = module.digest
        self.label = label
        self.path = path
        self.shipped = shipped
        self.manifest: Manifest | None = module.manifest
        self.grant = grant
        self.grant_state = grant_state
        self.limits = limits
        self.config = _checked(config)
        self.instance: Instance = instance
        signatures = {name: export.signature for name, export in module.info.exports.items() if export.signature}
        self.functions = tuple(sorted(signatures))
        self._callable = frozenset(name for name, kind in signatures.items() if kind in _CALLABLE)
        self._ceiling = ceiling
        self._engine = engine
        self._wasm: bytes | None = module.wasm
        self._host_functions = tuple(functions)
        self._modules = modules
        self._compiling = trio.Lock()
        self._program: Program | None = None
        self._rejected: RejectedError | None = None
        self._closed = False
        self._guest: SharedGuest | None = None
        if instance == "shared":
            self._guest = SharedGuest(self.compile, CallOptions(limits, self.config, id))

    def __repr__(self) -> str:
        return f"<innkeeper.Plugin {self.id!r} {self.digest[:12]}>"

    async def call(
        self,
        function: str,
        data: bytes = b"",
        *,
        limits: Limits | None = None,
        config: Mapping[str, str] | None = None,
    ) -> Result:
        """Calls a function of the guest.

        Args:
            function: name of an exported function.
            data: its input.
            limits: for this call, in place of the plugin's.
            config: for this call, on top of the plugin's.

        Returns:
            Result: the output (bytes) and what the call cost.

        Raises:
            GuestError: the guest failed, or the shared guest has ended.
            UsageError: the function is not exported; the limits are above the host's own; the configuration has
                what is not text; a shared plugin is called from within its own call; the host is closed.
            RejectedError: the module is not one that this host runs.
            LimitError: a limit was reached.
            DeniedError: the guest needed a capability that it lacks.
            BusyError: a host-wide bound was not free before the deadline.
            BaseException: what a host function raised, as it is; `trio.Cancelled` where the caller is cancelled.
        """
        try:
            return await self._call(function, data, limits, config)
        except InnkeeperError as error:
            if error.plugin is None:
                error.plugin = self.id
                error.function = function if error.function is None else error.function
            raise

    async def _call(
        self, function: str, data: bytes, limits: Limits | None, config: Mapping[str, str] | None
    ) -> Result:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise UsageError(f"the input must be bytes, not {type(data).__name__}")
        if function not in self.functions:
            raise UsageError(self._no_function(function))
        if function not in self._callable:
            raise UsageError("only functions without parameters that return nothing or an i32 can be called")
        allowed = self.limits if limits is None else limits.within(self._ceiling)
        options = CallOptions(allowed, self.config if config is None else self.config | _checked(config), self.id)
        guest = self._guest
        if guest is None:
            program = await self.compile()
            with entered(self, allowed.nesting):
                return await program.call(function, bytes(data), options)
        await self.compile()
        return await guest.call(function, bytes(data), options)

    async def restart(self) -> None:
        """Ends the shared guest, if there is one; the next call starts another. Waits for a call that runs.

        Raises:
            UsageError: called from within a call of this plugin.
        """
        if self._guest is not None:
            try:
                await self._guest.restart()
            except InnkeeperError as error:
                error.plugin = self.id
                raise

    async def compile(self) -> Program:
        """Compiles the module if that has not been done. Once, also when many ask at the same time.

        Raises:
            RejectedError: the module is not one that this host runs.
            UsageError: the host is closed.
        """
        if self._program is not None:
            return self._program
        async with self._compiling:
            if self._closed:
                raise UsageError("the plugin is closed", plugin=self.id)
            if self._rejected is not None:
                raise RejectedError(self._rejected.message, plugin=self.id)
            if self._program is None:
                assert self._wasm is not None
                try:
                    self._program = await self._engine.load(
                        self._wasm, functions=self._host_functions, modules=self._modules, plugin=self.id
                    )
                except RejectedError as error:
                    # An id does not say which file to look at: a manifest may have given it.
                    message = error.message if self.path is None else f"{self.label}: {error.message}"
                    self._rejected = RejectedError(message, plugin=self.id, function=error.function)
                    raise self._rejected from None
                finally:
                    if self._program is not None or self._rejected is not None:
                        self._wasm = None
            return self._program

    async def aclose(self) -> None:
        """Ends the shared guest and forgets the compiled code. Calls that run go on."""
        self._closed = True
        if self._guest is not None:
            await self._guest.aclose()
        program, self._program = self._program, None
        if program is not None:
            program.close()

    def _no_function(self, function: object) -> str:
        hint = nearest(function, self.functions) if isinstance(function, str) else ""
        exported = ", ".join(self.functions[:10]) or "none"
        more = f" and {len(self.functions) - 10} more" if len(self.functions) > 10 else ""
        return f"the plugin exports no function {shown(function)}{hint or f'; it exports: {exported}{more}'}"


def _checked(config: Mapping[str, str]) -> dict[str, str]:
    for key, value in config.items():
        for what, text in (("a key", key), (f"the value of {shown(key)}", value)):
            if not isinstance(text, str):
                raise UsageError(f"{what} in the configuration must be text, not {type(text).__name__}")
            try:
                text.encode()
            except UnicodeEncodeError:
                raise UsageError(f"{what} in the configuration has half of a surrogate pair") from None
    return dict(config)
