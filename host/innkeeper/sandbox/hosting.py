"""A linker with the functions of the host in it."""

from __future__ import annotations

import ctypes as c
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import wasmtime as w

from innkeeper.sandbox import bindings, callbacks, capi, kernel
from innkeeper.sandbox.callbacks import Binding
from innkeeper.sandbox.interface import HostFunction
from innkeeper.sandbox.wasi import FUNCTIONS as WASI_FUNCTIONS
from innkeeper.sandbox.wasi import WASI_MODULE


class Hosting:
    """A linker and what stands behind its functions.

    Attributes:
        linker: its address.
    """

    def __init__(self, engine: int) -> None:
        """Args:
        engine: address of wasmtime's engine.
        """
        self.linker: int = capi.linker_new(engine)
        self._numbers: list[int] = []

    def define_imports(self, imported: Collection[tuple[str, str]], functions: Sequence[HostFunction]) -> None:
        """Defines what a guest imports of WASI, and the host functions that carry no bytes.

        Args:
            imported: module and name of each function that is imported.
            functions: host functions that may be.
        """
        for module, name in sorted(imported):
            if module == WASI_MODULE:
                known = WASI_FUNCTIONS[name]
                self._define(module, name, bindings.wasi_binding(known), waits=known.asynchronous)
        for function in functions:
            if not kernel.needs_wrapper(function) and (function.namespace, function.name) in imported:
                self._define(function.namespace, function.name, bindings.host_binding(function), waits=True)

    def define_kernel(self, wrapped: Sequence[HostFunction]) -> None:
        """Defines what the kernel imports.

        Args:
            wrapped: of `kernel.wrapped`.
        """
        for name, binding in bindings.KERNEL_BINDINGS.items():
            self._define(kernel.INNER, name, binding, waits=False)
        for position, function in enumerate(wrapped):
            self._define(kernel.INNER, kernel.inner_name(position), bindings.host_binding(function), waits=True)

    def resolved(self, module: w.Module) -> int:
        """Address of a module with its imports resolved, for `capi.instance_pre_delete` in the end."""
        pre = c.c_void_p()
        capi.check(capi.linker_instantiate_pre(self.linker, capi.address(module), c.addressof(pre)))
        return pre.value or 0

    def free(self) -> None:
        """Deletes the linker. Nothing that was made from it is used any more. Harmless when repeated."""
        linker, self.linker = self.linker, 0
        if linker:
            capi.linker_delete(linker)
        for number in self._numbers:
            callbacks.unbind(number)
        self._numbers.clear()

    def _define(self, module: str, name: str, binding: Binding, *, waits: bool) -> None:
        signature = binding.signature
        kind = w.FuncType([_TYPES[t]() for t in signature.parameters], [_TYPES[t]() for t in signature.results])
        define, callback = (
            (capi.linker_define_async, callbacks.ASYNC) if waits else (capi.linker_define_raw, callbacks.RAW)
        )
        number = callbacks.bind(binding)
        self._numbers.append(number)
        space, word = module.encode(), name.encode()
        capi.check(define(self.linker, space, len(space), word, len(word), capi.address(kind), callback, number, None))


_TYPES: Mapping[str, Any] = {
    "i32": w.ValType.i32,
    "i64": w.ValType.i64,
    "f32": w.ValType.f32,
    "f64": w.ValType.f64,
}
