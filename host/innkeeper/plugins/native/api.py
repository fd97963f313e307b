"""What a native plugin is given: `pluginApi` of the host's side.

def setup(api):
    @api.node({"type": "Shout", "inputs": {"text": {"dataFlowType": "STRING"}}, "outputs": {...}})
    async def shout(call):
        return {"shouted": call.inputs["text"].upper()}
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from innkeeper.plugins.native.contain import logger
from innkeeper.plugins.native.hooks import HookName
from innkeeper.plugins.native.web import Middleware
from innkeeper.plugins.tables import visible
from innkeeper.sandbox.usage import Usage

if TYPE_CHECKING:
    from innkeeper.plugins.native.version import NativeVersion

F = TypeVar("F", bound=Callable[..., Any])

_LINE = 1024
"""Characters of one line of a log."""

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


@dataclass(slots=True)
class Writing:
    """The call whose log is written.

    Attributes:
        usage: gets the lines.
        left: bytes that it may still get.
    """

    usage: Usage
    left: int


writing: ContextVar[Writing | None] = ContextVar("innkeeper_native_log", default=None)
"""The call of a native node that the present task or thread works for."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a node's function is given.

    Attributes:
        inputs: values by slot, as plain data; one that nothing was connected to may be missing.
        config: the node's configuration.
        run: id of the run.
        node: id of the node in its workflow.
    """

    inputs: Mapping[str, Any]
    config: Mapping[str, Any]
    run: str
    node: str


class ServiceRefusedError(Exception):
    """A service did not do what it was asked for.

    Attributes:
        kind: "denied", "invalid", "not_found", "conflict", "quota", "busy" or "failed".
        values: what else the service says, such as `current` of a conflict.
    """

    def __init__(self, kind: str, message: str, values: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.kind = kind
        self.values = values


class Log:
    """The plugin's log. Inside of a node's call the lines belong to the call, as a guest's do; elsewhere they go to the
    host's log under the name "innkeeper.native", with the plugin's name."""

    def __init__(self, plugin_id: str) -> None:
        self._plugin = plugin_id

    def debug(self, text: str) -> None:
        """For who looks for a mistake."""
        self._write("debug", text)

    def info(self, text: str) -> None:
        """What happens."""
        self._write("info", text)

    def warn(self, text: str) -> None:
        """What may be wrong."""
        self._write("warn", text)

    def error(self, text: str) -> None:
        """What went wrong."""
        self._write("error", text)

    def _write(self, level: str, text: str) -> None:
        call = writing.get()
        for line in str(text)[: 1 << 20].splitlines() or [""]:
            line = visible(line, _LINE)
            if call is None:
                logger.log(_LEVELS[level], "native plugin %s: %s", self._plugin, line)
                continue
            # An empty line costs something too: text of others may have a million of them.
            size = len(line.encode("utf-8", "backslashreplace")) + 1
            if size > call.left:
                call.usage.log_dropped += size
            else:
                call.left -= size
                call.usage.log.append((level, line))


class Api:
    """What `setup(api)` is given. Nodes, hooks and routes are registered while `setup` runs, not later; all else may be
    used at any time.

    Attributes:
        log: the plugin's log (Log).
    """

    def __init__(self, version: NativeVersion) -> None:
        self._version = version
        self.log = Log(version.id)

    @property
    def id(self) -> str:
        """The plugin's id."""
        return self._version.id

    @property
    def version(self) -> str:
        """The version that its manifest names (str)."""
        return self._version.manifest.version

    @property
    def config(self) -> Mapping[str, str]:
        """Its configuration: the table [config] of its grant, as it is now."""
        return self._version.config

    # --- while setup runs -------------------------------------------------------------------------------------------

    def node(self, definition: str | Mapping[str, Any]) -> Callable[[F], F]:
        """Makes the function below a node.

        Args:
            definition: the node as a manifest defines it (`type`, `inputs`, `outputs`, ...), or the `type` of a node
                that the manifest itself defines.

        Raises:
            ValueError: the definition has problems, or the type is there already.
            RuntimeError: `setup` is over.
        """
        full = self._version.define(definition)

        def register(function: F) -> F:
            self._version.bind(full, function)
            return function

        return register

    def on_run_start(self, function: F) -> F:
        """Decorates a function of a `RunInfo`, called as a run begins."""
        return self._hook("on_run_start", function)

    def on_run_end(self, function: F) -> F:
        """Decorates a function of a `RunInfo`, called when a run is over, however it ended."""
        return self._hook("on_run_end", function)

    def before_node(self, function: F) -> F:
        """Decorates a function of a `NodeInfo`, called before each node; `NodeRefusedError` keeps it from running."""
        return self._hook("before_node", function)

    def after_node(self, function: F) -> F:
        """Decorates a function of a `NodeInfo`, called after each node, also one that failed."""
        return self._hook("after_node", function)

    def on_stop(self, function: F) -> F:
        """Decorates a function without arguments, called when the plugin goes out of service or the host closes."""
        return self._hook("on_stop", function)

    def route(self, path: str, *, methods: Sequence[str] = ("GET",), public: bool = False) -> Callable[[F], F]:
        """Makes the function below answer requests at /n/ID and a path, where the host has a server.

        The function gets Starlette's Request and returns its Response, or a dict or list for JSON. `request.state.user`
        is the id of the user who asks, or None, `request.state.admin` whether it is an administrator.

        Args:
            path: such as "/rooms/{room}".
            methods: of HTTP.
            public: whether it answers anybody; else users whose key reaches `runs`.

        Raises:
            ValueError: the path or a method is none, or there are too many.
            RuntimeError: `setup` is over.
        """
        return self._route(path, tuple(methods), public)

    def websocket(self, path: str, *, public: bool = False) -> Callable[[F], F]:
        """Makes the function below, which gets Starlette's WebSocket, speak at /n/ID and a path; as `route`."""
        return self._route(path, (), public)

    def middleware(self, make: Middleware) -> Middleware:
        """Puts an ASGI middleware around the whole server: `make` gets the application and returns another one. It sees
        each request and each answer of everybody.

        Raises:
            ValueError: there are too many.
            RuntimeError: `setup` is over.
        """
        self._version.adding().around(make)
        return make

    def _route(self, path: str, methods: tuple[str, ...], public: bool) -> Callable[[F], F]:
        web = self._version.adding()

        def register(function: F) -> F:
            web.route(path, function, methods, public=public)
            return function

        return register

    def _hook(self, name: HookName, function: F) -> F:
        self._version.hook(name, function)
        return function

    # --- at any time ------------------------------------------------------------------------------------------------

    def file(self, name: str) -> bytes:
        """A file of the plugin's folder, as it was when it was trusted (bytes).

        Args:
            name: below the folder, with "/".

        Raises:
            FileNotFoundError: there is none.
        """
        return self._version.file(name)

    async def service(self, operation: str, **arguments: Any) -> Any:
        """Asks a service of the host, as a guest does: the manifest must request its capability.

        Args:
            operation: such as "kv.get"; docs/bridge.md has them all.
            arguments: as described there.

        Returns:
            What is described there.

        Raises:
            ServiceRefusedError: the service refuses.
            LookupError: there is no such operation, or the manifest does not request its capability.
        """
        return await self._version.ask(operation, arguments)

    def service_from_thread(self, operation: str, **arguments: Any) -> Any:
        """As `service`, for functions that are not async: those run in threads."""
        return trio.from_thread.run(partial(self.service, operation, **arguments))
