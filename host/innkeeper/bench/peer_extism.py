"""The Extism SDK at its fastest: one compiled plugin for all fresh guests, one guest for all warm calls."""

from __future__ import annotations

import importlib
import importlib.util
import time
from typing import Any

from innkeeper.bench.samples import PAUSE
from innkeeper.bench.timing import Batch, looped


def installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("extism") is not None


def _exchange(plugin: Any, inputs: Any, outputs: Any, *_: object) -> None:
    plugin.return_bytes(outputs[0], plugin.input_bytes(inputs[0]))


def _pause(*_: object) -> None:
    time.sleep(PAUSE)


def host_functions(sdk: Any) -> list[Any]:
    """What the guests import, as `sdk`, the package, wants it."""
    i64, space = sdk.ValType.I64, "extism:host/user"
    return [
        sdk.host_fn(name="exchange", namespace=space, signature=([i64], [i64]))(_exchange),
        sdk.host_fn(name="pause", namespace=space, signature=([], []))(_pause),
    ]


class Extism:
    """A module compiled by the SDK.

    Args:
        wasm: its bytes.
        wasi: whether it imports WASI.
    """

    def __init__(self, wasm: bytes, *, wasi: bool = False) -> None:
        self._sdk = sdk = importlib.import_module("extism")
        self.compiled = importlib.import_module("extism.extism").CompiledPlugin(wasm, wasi, host_functions(sdk))

    def start(self) -> Any:
        """A guest."""
        return self._sdk.Plugin(self.compiled)

    def fresh(self, function: str, data: bytes) -> Batch:
        """A batch of calls, each of a guest of its own."""
        plugin, compiled = self._sdk.Plugin, self.compiled
        return looped(lambda: plugin(compiled).call(function, data))

    def warm(self, function: str, data: bytes) -> Batch:
        """A batch of calls of one guest."""
        guest = self.start()
        return looped(lambda: guest.call(function, data))
