"""A native plugin as workflows see it: nodes whose functions are Python."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Final, Literal

import trio

from innkeeper.errors import GuestError, InnkeeperError, LimitError, UsageError
from innkeeper.plugins.chain import Frame
from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.native.api import Call, Writing, writing
from innkeeper.plugins.native.contain import PluginError, contained, logger
from innkeeper.plugins.native.version import NativeVersion
from innkeeper.plugins.runs import RunContext
from innkeeper.plugins.services import NativeSupport
from innkeeper.plugins.tables import shown
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.usage import Result, Usage


class NativePlugin:
    """Python code of the host's own process whose functions are nodes. Found in `Host.native`.

    It has all rights of the host. Its limits are kept as far as Python allows: input and output, the log, and the wall
    clock, at which an async function is cancelled and a thread is left behind.

    Attributes:
        id: its id (str).
        native: True, as for no other plugin.
    """

    native: Final[Literal[True]] = True

    def __init__(self, version: NativeVersion, support: NativeSupport) -> None:
        self.id = version.id
        self.version = version
        self._support = support
        self._gone: str | None = None

    def __repr__(self) -> str:
        return f"<innkeeper.NativePlugin {self.id!r} {self.digest[:12]}>"

    @property
    def digest(self) -> str:
        """sha256 of all files of its folder (str, 64 hexadecimal digits)."""
        return self.version.digest

    @property
    def label(self) -> str:
        """Its folder as messages name it (str), such as "plugins/shout"."""
        return self.version.label

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.version.entry.path

    @property
    def manifest(self) -> Manifest:
        """Its author's words, with the nodes that its code registered."""
        return self.version.manifest

    @property
    def limits(self) -> Limits:
        """Of a call."""
        return self.version.limits

    @property
    def gone(self) -> str | None:
        """Why it cannot be called any more, or None."""
        return self._gone

    def stop(self, reason: str) -> None:
        """Takes no more calls. Those that run go on to their end.

        Args:
            reason: what new calls are told.
        """
        self._gone = reason

    async def call(
        self, function: str, data: bytes, *, manifest: Manifest | None = None, run: RunContext | None = None
    ) -> Result:
        """Runs a node.

        Args:
            function: the node's type.
            data: what a guest would be given, as msgpack: a map with inputs, config and run.
            manifest: what the input was made by; another one by now, in what it says of the node, is an error.
            run: what the call belongs to.

        Returns:
            Result: the answer as a guest would give it, as msgpack, and what the call cost.

        Raises:
            GuestError: the function raised something, or returned what is no map of outputs.
            LimitError: its input, its output or its time is beyond the limit.
            UsageError: there is no such node, or it is another by now; the plugin is out of service.
        """
        usage = Usage(bytes_in=len(data))
        begun = time.perf_counter()
        version = self.version
        version.calls += 1
        try:
            output = await self._run(version, function, data, manifest, run, usage)
        except InnkeeperError as error:
            usage.wall = time.perf_counter() - begun
            error.usage = error.usage or usage
            error.plugin, error.function = error.plugin or self.id, error.function or function
            raise
        finally:
            version.calls -= 1
            version.settle()
        usage.bytes_out = len(output)
        usage.wall = time.perf_counter() - begun
        return Result(output, usage)

    async def _run(
        self,
        version: NativeVersion,
        function: str,
        data: bytes,
        manifest: Manifest | None,
        run: RunContext | None,
        usage: Usage,
    ) -> bytes:
        if self._gone is not None:
            raise UsageError(self._gone)
        code = version.functions.get(function)
        if code is None:
            raise UsageError(f"the native plugin has no node {shown(function)}")
        if manifest is not None and manifest is not version.manifest and not _same(manifest, version, function):
            raise UsageError(
                f"the plugin changed since the call was made ready, and {function!r} is not what it was; make it ready "
                "again: a workflow is to be started again"
            )
        limits = version.limits
        if len(data) > limits.input:
            raise LimitError(
                f"its input has {len(data):,} bytes, and the limit 'input' is {limits.input:,}",
                limit="input",
                value=limits.input,
                used=len(data),
            )
        call = _call(await self._support.decode(data))
        token = writing.set(Writing(usage, limits.log))
        try:
            with Frame(self, limits.nesting, version, run):
                # An infinite limit is none.
                deadline = trio.current_time() + limits.wall if limits.wall < math.inf else math.inf
                with trio.CancelScope(deadline=deadline) as scope:
                    outputs = await contained(code, call, threads=version.threads)
        except PluginError as error:
            logger.info("native plugin %s: the traceback of its node %s:", self.id, function, exc_info=error.cause)
            raise GuestError(f"native code failed: {error.text}") from None
        finally:
            writing.reset(token)
        if scope.cancelled_caught:
            raise LimitError(
                f"native code took more than the limit 'wall', {limits.wall:g} s", limit="wall", value=limits.wall
            )
        return await self._answer(outputs, limits)

    async def _answer(self, outputs: object, limits: Limits) -> bytes:
        if outputs is None:
            outputs = {}
        if not isinstance(outputs, dict) or not all(isinstance(key, str) for key in outputs):
            raise GuestError(f"native code returned {shown(type(outputs).__name__)}; return a dict of outputs by slot")
        return await self._support.encode({"outputs": outputs}, limits.output)


def _call(given: Any) -> Call:
    about = given["run"]
    return Call(given["inputs"], given["config"], about["id"], about["node"])


def _same(manifest: Manifest, version: NativeVersion, function: str) -> bool:
    """Whether a node's input means the same by another manifest."""
    return [node for node in version.manifest.nodes if node.function == function] == [
        node for node in manifest.nodes if node.function == function
    ]
