"""One version of a plugin: its bytes, what its author and its operator say, and what was made of them.

A call takes the version that is present as it starts and stays with it. A version that has been replaced lives until
its last call ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from innkeeper.errors import RejectedError, UsageError
from innkeeper.plugins.grant import Grant
from innkeeper.plugins.grants import GrantState
from innkeeper.plugins.manifest import Instance, Manifest
from innkeeper.plugins.memo import powerless
from innkeeper.plugins.module import Module
from innkeeper.plugins.rights import NONE, Rights
from innkeeper.plugins.shared import SharedGuest
from innkeeper.sandbox.interface import CallOptions, Deterministic, Engine, HostFunction, Program
from innkeeper.sandbox.limits import Limits

if TYPE_CHECKING:
    from innkeeper.sandbox.wasi.rights import WasiRights


_SERVICE = "innkeeper_"
"""How the names of the functions begin behind which services are."""


class Code:
    """A module's bytes, compiled once and at the first need. Versions that differ in their grant alone have one.

    Args:
        asks: whether its guests may call a function of the host whose answer depends on more than their own call
            (`memo.asks`).

    Attributes:
        program: the compiled module, or None as long as there is none.
        fingerprint: of the engine, if what a fresh guest without rights does depends on that, on the module and on
            its call alone; else None.
        users: versions that it belongs to; `drop` forgets the compiled code with the last.
    """

    def __init__(
        self,
        engine: Engine,
        module: Module,
        *,
        plugin: str,
        label: str | None,
        functions: Sequence[HostFunction] = (),
        modules: Mapping[str, bytes] | None = None,
        asks: bool = True,
    ) -> None:
        self.module = module
        self.fingerprint = engine.fingerprint if isinstance(engine, Deterministic) and not asks else None
        self.program: Program | None = None
        self.users = 0
        self._engine = engine
        self._plugin = plugin
        self._label = label
        self._functions = tuple(functions)
        self._modules = modules
        if modules:
            # The digest says nothing of them.
            self.fingerprint = None
        self._lock = trio.Lock()
        self._rejected: RejectedError | None = None
        self._closed = False

    @property
    def linked(self) -> bool:
        """Whether it has further modules (bool), which its digest says nothing of."""
        return bool(self._modules)

    @property
    def asked_for(self) -> bool:
        """Whether somebody wanted it compiled (bool): it is, it was rejected, or it is being compiled."""
        return self.program is not None or self._rejected is not None or self._lock.locked()

    @property
    def works(self) -> bool:
        """Whether it is compiled, or may turn out to be fine (bool)."""
        return self._rejected is None

    async def compile(self) -> Program:
        """Compiles the module if that has not been done. Once, also when many ask at the same time.

        Raises:
            RejectedError: the module is not one that this host runs.
            UsageError: the plugin is closed.
        """
        if self.program is not None:
            return self.program
        async with self._lock:
            if self._rejected is not None:
                raise RejectedError(self._rejected.message, plugin=self._plugin)
            if self.program is not None:
                return self.program
            if self._closed:
                raise UsageError("the plugin is closed", plugin=self._plugin)
            try:
                program = await self._engine.load(
                    self.module.wasm, functions=self._functions, modules=self._modules, plugin=self._plugin
                )
            except RejectedError as error:
                # An id does not say which file to look at: a manifest may have given it.
                message = error.message if self._label is None else f"{self._label}: {error.message}"
                if f"'{_SERVICE}" in message:
                    message += f"; those that begin with {_SERVICE} are there if the manifest requests their capability"
                self._rejected = RejectedError(message, plugin=self._plugin, function=error.function)
                if self.users:
                    self.module.release()
                raise self._rejected from None
            if self.users:
                self.module.release()
            if self._closed:
                program.close()
                raise UsageError("the plugin is closed", plugin=self._plugin)
            self.program = program
            return program

    def enter(self) -> None:
        """One version more. The bytes of one that never comes into service are kept: they may be wanted again."""
        self.users += 1
        if self.program is not None:
            self.module.release()

    def drop(self) -> None:
        """One version less."""
        self.users -= 1
        if self.users <= 0:
            self.discard()

    def discard(self) -> None:
        """Forgets the compiled code. Calls that run go on."""
        self._closed = True
        program, self.program = self.program, None
        if program is not None:
            program.close()


class Generation:
    """A version of a plugin. What it says never changes.

    Args:
        code: what is made of its bytes.
        module: its bytes, and what its author says.
        wasi: what its guests' WASI shows of the world; None: nothing.
        guest: the guest that stays, where the version before it was as this one in all that a guest can tell.

    Attributes:
        rights: what it may do: what its manifest requests and its grant gives.
        options: of a call for which nobody says more.
        pure: whether equal calls of it have equal results: their guests are fresh, have no capability, and ask the
            host for nothing.
        over: why nobody may call it, or None.
        calls: calls that are in it; whoever counts one down calls `settle` if the version was replaced meanwhile.
        retired: whether it has been replaced.
    """

    def __init__(
        self,
        code: Code,
        module: Module,
        *,
        id: str,
        label: str,
        path: Path | None,
        limits: Limits,
        config: dict[str, str],
        instance: Instance,
        grant: Grant | None = None,
        grant_state: GrantState = "none",
        rights: Rights = NONE,
        wasi: WasiRights | None = None,
        shipped: bool = False,
        guest: SharedGuest | None = None,
    ) -> None:
        self.code = code
        self.digest = module.digest
        self.label = label
        self.path = path
        self.shipped = shipped
        self.manifest: Manifest | None = module.manifest
        self.grant = grant
        self.grant_state: GrantState = grant_state
        self.id = id
        self.rights = rights
        self.limits = limits
        self.config = config
        self.instance: Instance = instance
        self.functions = module.functions
        self.callable = module.callable
        self.options = CallOptions(limits, config, id, rights=wasi)
        self.guest: SharedGuest | None = None
        if instance == "shared":
            self.guest = guest or SharedGuest(code.compile, self.options)
        self.pure = code.fingerprint is not None and instance == "fresh" and wasi is None and powerless(rights)
        self.over: str | None = None
        self.calls = 0
        self.retired = False
        code.enter()
        if module is not code.module:
            # Another manifest of the same bytes.
            module.release()

    def __enter__(self) -> None:
        """A call takes this version. Fresh calls, which are many, count themselves."""
        self.calls += 1

    def __exit__(self, *_: object) -> None:
        self.calls -= 1
        if self.retired:
            self.settle()

    def retire(self) -> None:
        """It has been replaced: its code goes with its last call."""
        if not self.retired:
            self.retired = True
            self.settle()

    def settle(self) -> None:
        """A call of a version that has been replaced is over, or there was none."""
        if not self.calls:
            self.code.drop()


async def retire(generation: Generation, *, successor: Generation | None = None) -> None:
    """Ends what a version holds as soon as its calls are over. A guest that its successor took over lives on."""
    if generation.guest is not None and (successor is None or successor.guest is not generation.guest):
        with trio.CancelScope(shield=True):
            await generation.guest.aclose()
    generation.retire()
