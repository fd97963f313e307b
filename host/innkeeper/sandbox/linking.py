"""A plugin of several modules: kernel, libraries and its own are instances of their own, linked for each guest."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import wasmtime as w

from innkeeper.sandbox import capi, kernel
from innkeeper.sandbox.hosting import Hosting
from innkeeper.sandbox.interface import HostFunction
from innkeeper.sandbox.layout import Layout, imports_of
from innkeeper.sandbox.module_info import ModuleInfo
from innkeeper.sandbox.wasi import WASI_MODULE


@dataclass(frozen=True, slots=True)
class CompiledModule:
    """One module of a plugin.

    Attributes:
        name: under which the modules after it import its exports; None for the plugin's own.
        info: what its sections say.
        module: compiled, with our exports added.
    """

    name: str | None
    info: ModuleInfo
    module: w.Module


@dataclass(frozen=True, slots=True)
class ModuleToStart:
    """What a guest needs to start one module.

    Attributes:
        address: of the compiled module.
        name: under which those after it import its exports, or None.
        owns_memory: whether its memory is its own: one that it imports is counted where it comes from.
        starts: whether it has a start function, to be called as soon as it is an instance.
    """

    address: int
    name: bytes | None
    owns_memory: bool
    starts: bool


class Linked(Layout):
    """What a plugin's guests are linked with: made once, used by each.

    Attributes:
        kernel: address of the kernel with its imports resolved; 0 without.
        wrappers: namespace, name and kernel export of each host function that carries bytes.
        modules: in the order in which they start.
    """

    linked = True

    def __init__(
        self,
        engine: int,
        compiled: Sequence[CompiledModule],
        kernel_module: w.Module | None,
        functions: Sequence[HostFunction],
    ) -> None:
        """Args:
        engine: address of wasmtime's engine.
        compiled: the modules; the plugin's own is the last.
        kernel_module: compiled of `kernel.source`, with the wrappers of what is imported; None: none is needed.
        functions: host functions that they may import; their imports are resolved already.
        """
        super().__init__([module.info for module in compiled], uses_kernel=kernel_module is not None)
        self._kept = (*compiled, kernel_module)
        self._engine = engine
        self._spare: list[int] = []
        self.modules = [
            ModuleToStart(
                capi.address(module.module),
                module.name.encode() if module.name is not None else None,
                any(not memory.imported for memory in module.info.memories),
                module.info.start is not None,
            )
            for module in compiled
        ]
        imported = imports_of(module.info for module in compiled)
        wrapped = kernel.wrapped(functions, imported)
        self.wrappers = [
            (function.namespace.encode(), function.name.encode(), kernel.wrapper_name(position).encode())
            for position, function in enumerate(wrapped)
        ]
        # A used linker still knows the last guest's modules. They are defined anew before anyone imports from them,
        # unless one has the name of a namespace of ours: then its importers could find the old one.
        ours = {function.namespace for function in functions} | {WASI_MODULE, kernel.ENV}
        self._shadows = any(module.name in ours for module in compiled)
        self._base = Hosting(engine)
        self._kernel_hosting = Hosting(engine)
        self.kernel = 0
        try:
            capi.linker_allow_shadowing(self._base.linker, True)
            self._base.define_imports(imported, functions)
            if kernel_module is not None:
                self._kernel_hosting.define_kernel(wrapped)
                self.kernel = self._kernel_hosting.resolved(kernel_module)
        except BaseException:
            self.free()
            raise

    @property
    def engines(self) -> Collection[int]:
        return (self._engine,)

    def take(self) -> int:
        """A linker of one guest's own, until it is given back."""
        return self._spare.pop() if self._spare else int(capi.linker_clone(self._base.linker))

    def give(self, linker: int) -> None:
        """A guest needs its linker no more; its future is deleted."""
        if self._shadows:
            capi.linker_delete(linker)
        else:
            self._spare.append(linker)

    def free(self) -> None:
        pre, self.kernel = self.kernel, 0
        if pre:
            capi.instance_pre_delete(pre)
        for linker in self._spare:
            capi.linker_delete(linker)
        self._spare.clear()
        self._base.free()
        self._kernel_hosting.free()
        self._kept = ()
