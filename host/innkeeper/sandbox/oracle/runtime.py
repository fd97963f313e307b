"""The extism package, in a worker: one program, and of it one guest at a time."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn, Protocol

from innkeeper.sandbox.oracle.events import EventLog, Events

_TEXT_MAX = 4096
"""Bytes of an error's text that are kept."""

_UNWOUND = "error while executing at wasm backtrace:"

_CALLBACK = "void(ExtismCurrentPlugin*, const ExtismVal*, ExtismSize, ExtismVal*, ExtismSize, void*)"


class Outside(Protocol):
    """What a guest reaches through its host functions.

    Attributes:
        arguments_max: bytes that the arguments of one call may have.
    """

    arguments_max: int

    def call(self, number: int, values: list[Any], pieces: list[bytes]) -> Any:
        """Runs the host function with this number; `values` are numbers, lengths where `pieces` has the bytes."""
        ...

    def broken(self, error: BaseException) -> NoReturn:
        """Ends the process: an exception would be swallowed by extism, and the guest would go on."""
        ...


class GuestFailedError(Exception):
    """A guest failed.

    Attributes:
        reason: "own", "code", "trap", "exit", "memory", "start", "output", "arguments", "answer" or "other".
        text: what the guest or extism says of it.
        code: return or exit code, or 0.
        used: bytes that the guest wanted, or 0.
    """

    def __init__(self, reason: str, text: str = "", *, code: int = 0, used: int = 0) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.code = code
        self.used = used


class Runtime:
    """Compiles one program and runs its guests.

    Args:
        modules: name and bytes of each, in the order in which they start; the plugin's own is last and has no name.
        functions: (namespace, name, parameters, result) of each host function; types are those of `interface.Value`.
        outside: runs them.

    Attributes:
        events: what was logged during the last `open` or `call`.

    Raises:
        ImportError, OSError: the package is missing, or not for this machine.
    """

    def __init__(
        self,
        modules: Sequence[tuple[str | None, bytes]],
        functions: Sequence[tuple[str, str, Sequence[str], str | None]],
        outside: Outside,
    ) -> None:
        self._extism = import_module("extism.extism")
        native = import_module("extism_sys")
        self._lib, self._ffi = native.lib, native.ffi
        self._wasm = [
            {"data": b64encode(data).decode(), **({"name": name} if name is not None else {})} for name, data in modules
        ]
        self._outside = outside
        self._functions = [self._function(number, *function) for number, function in enumerate(functions)]
        self._log = EventLog(self._extism)
        self.events = Events()
        self._compiled: Any = None
        self._plugin: Any = None
        self._config: dict[str, str] = {}

    def compile(self, pages: int, variables: int) -> None:
        """Compiles the program for these limits.

        Args:
            pages: of all memories together, extism's own included.
            variables: bytes of keys and values.

        Raises:
            GuestFailedError: it cannot.
        """
        # No time-out of extism's: the host, whose clock began before, ends this process.
        manifest = {
            "wasm": self._wasm,
            "memory": {"max_pages": pages, "max_var_bytes": variables},
            "allowed_hosts": [],
        }
        try:
            self._compiled = self._extism.CompiledPlugin(manifest, wasi=True, functions=self._functions)
        except self._extism.Error as error:
            raise GuestFailedError("start", str(error)[:_TEXT_MAX]) from None

    def open(self, config: dict[str, str]) -> None:
        """Starts a guest of what was compiled, in place of the one before.

        Raises:
            GuestFailedError: it does not start.
        """
        self.close()
        self._config = config
        try:
            self._plugin = self._extism.Plugin(self._compiled, config=config)
        except self._extism.Error as error:
            raise GuestFailedError("start", str(error)[:_TEXT_MAX]) from None
        finally:
            self.events = self._log.take("")

    def configure(self, config: dict[str, str]) -> None:
        """From now on this is what the guest reads as its configuration."""
        if config == self._config:
            return
        # extism merges what it is given, and takes null for "remove".
        merged = json.dumps({**dict.fromkeys(self._config), **config}).encode()
        self._lib.extism_plugin_config(self._plugin.plugin, merged, len(merged))
        self._config = config

    def call(self, function: str, data: bytes, output_max: int) -> bytes:
        """Calls a function of the guest; its output.

        Raises:
            GuestFailedError: the guest failed.
        """
        plugin = self._plugin.plugin
        code = self._lib.extism_plugin_call(plugin, function.encode(), data, len(data))
        self.events = self._log.take(function)
        error = self._lib.extism_plugin_error(plugin)
        if error != self._ffi.NULL:
            raise self._failure(self._ffi.string(error, _TEXT_MAX).decode("utf-8", "replace"), code)
        if code:
            raise GuestFailedError("code", code=code)
        size = self._lib.extism_plugin_output_length(plugin)
        if size > output_max:
            raise GuestFailedError("output", used=size)
        return bytes(self._ffi.buffer(self._lib.extism_plugin_output_data(plugin), size))

    def close(self) -> None:
        """Ends the guest, if there is one: the package frees it when nothing refers to it."""
        self._plugin = None

    def _failure(self, text: str, code: int) -> GuestFailedError:
        events = self.events
        if events.own:
            return GuestFailedError("own", text, code=code)
        if events.cause is not None:
            return GuestFailedError("trap", events.cause)
        if text == "oom":
            return GuestFailedError("memory")
        if text.startswith(_UNWOUND):
            # extism logs no cause where the guest called `proc_exit`.
            return GuestFailedError("exit", code=code)
        # Its event is dropped where the text has a zero byte.
        return GuestFailedError("own" if code >= 0 else "other", text, code=code)

    def _function(self, number: int, namespace: str, name: str, parameters: Sequence[str], result: str | None) -> Any:
        kinds = self._extism.ValType

        def kind(value: str) -> Any:
            return kinds.I64 if value == "bytes" else kinds[value.upper()]

        # The package's own callback swallows what its conversion of results raises, and cannot convert floats.
        def run(current: Any, inputs: Any, _: int, outputs: Any, __: int, ___: Any) -> None:
            try:
                plugin = self._extism.CurrentPlugin(current)
                given = [getattr(inputs[at].v, _field(kind)) for at, kind in enumerate(parameters)]
                answer = self._outside.call(number, *self._arguments(plugin, name, parameters, given))
                if result is not None:
                    value = self._give(plugin, answer) if result == "bytes" else answer
                    setattr(outputs[0].v, _field(result), value)
            except BaseException as error:
                self._outside.broken(error)

        callback = self._ffi.callback(_CALLBACK, run)
        return self._extism.Function(
            namespace, name, [kind(value) for value in parameters], [kind(result)] if result else [], callback
        )

    def _arguments(
        self, plugin: Any, name: str, parameters: Sequence[str], given: Sequence[Any]
    ) -> tuple[list[Any], list[bytes]]:
        values: list[Any] = []
        pieces: list[bytes] = []
        left = most = self._outside.arguments_max
        for parameter, value in zip(parameters, given, strict=True):
            if parameter != "bytes":
                values.append(value)
                continue
            block = plugin.memory_at_offset(value)
            left -= block.length
            if left < 0:
                raise GuestFailedError("arguments", name, used=most - left)
            pieces.append(bytes(plugin.memory(block)) if block.length else b"")
            values.append(block.length)
        return values, pieces

    def _give(self, plugin: Any, data: bytes) -> int:
        if not data:
            return 0
        block = plugin.alloc(len(data))
        if not block.offset:
            raise GuestFailedError("answer", used=len(data))
        plugin.memory(block)[:] = data
        return int(block.offset)


def _field(kind: str) -> str:
    return "i64" if kind == "bytes" else kind
