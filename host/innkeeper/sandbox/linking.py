"""How a plugin's modules, the kernel and the host's functions are joined."""

from __future__ import annotations

import ctypes as c
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import wasmtime as w

from innkeeper.errors import InternalError, LimitError
from innkeeper.sandbox import bindings, callbacks, capi, kernel
from innkeeper.sandbox.callbacks import Binding
from innkeeper.sandbox.interface import HostFunction
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.wasi import FUNCTIONS as WASI_FUNCTIONS
from innkeeper.sandbox.wasi import WASI_MODULE
from innkeeper.sandbox.wasm import ModuleInfo

_START_FUNCTIONS = ("_initialize", "__wasm_call_ctors", "hs_init")


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


class Links:
    """What a plugin's guests are linked with: made once, used by each.

    Attributes:
        uses_kernel: whether any of the modules imports the Extism ABI.
        wrappers: namespace, name and kernel export of each host function that carries bytes.
        modules: in the order in which they start.
        start_functions: exports that run before the first call, with the number of their parameters.
        instance_size: bytes of the host's memory that one guest's globals, tables and exports take.
    """

    def __init__(self, engine: int, compiled: Sequence[CompiledModule], functions: Sequence[HostFunction]) -> None:
        """Args:
        engine: address of wasmtime's engine.
        compiled: the modules; the plugin's own is the last.
        functions: host functions that they may import; their imports are resolved already.
        """
        self._engine = engine
        self._functions = tuple(functions)
        self._info = compiled[-1].info
        self._compiled = tuple(compiled)
        self._numbers: list[int] = []
        self._spare: list[int] = []
        self._kernels: dict[int, tuple[int, w.Module]] = {}
        self.modules = [
            ModuleToStart(
                capi.address(module.module),
                module.name.encode() if module.name is not None else None,
                any(not memory.imported for memory in module.info.memories),
                module.info.start is not None,
            )
            for module in compiled
        ]
        imported = {
            (item.module, item.name) for module in compiled for item in module.info.imports if item.kind == "func"
        }
        self.wrappers = [
            (function.namespace.encode(), function.name.encode(), kernel.wrapper_name(position).encode())
            for position, function in enumerate(self._functions)
            if kernel.needs_wrapper(function) and (function.namespace, function.name) in imported
        ]
        self.uses_kernel = bool(self.wrappers) or any(module == kernel.ENV for module, _ in imported)
        # A used linker still knows the last guest's modules. They are defined anew before anyone imports from them,
        # unless one has the name of a namespace of ours: then its importers could find the old one.
        ours = {function.namespace for function in self._functions} | {WASI_MODULE, kernel.ENV}
        self._shadows = any(module.name in ours for module in compiled)
        self.instance_size = sum(_instance_size(module.info) for module in compiled)
        self.start_functions = self._find_start_functions()
        self._base = self._make_linker(imported)
        self._kernel_linker = self._make_kernel_linker() if self.uses_kernel else 0

    def memory_to_start(self, limits: Limits) -> int:
        """Bytes that a guest takes of the host's memory when it starts.

        Raises:
            LimitError: a memory or a table is larger at the start than the limits allow.
        """
        infos = [module.info for module in self._compiled]
        largest = max((m.minimum for info in infos for m in info.memories), default=0) * kernel.PAGE
        if largest > limits.memory:
            raise LimitError(
                f"the module starts with {largest} bytes of memory; the limit 'memory' is {limits.memory}",
                limit="memory",
                value=limits.memory,
                used=largest,
            )
        elements = max((t.minimum for info in infos for t in info.tables), default=0)
        if elements > limits.table_elements:
            raise LimitError(
                f"the module starts with a table of {elements} elements; "
                f"the limit 'table_elements' is {limits.table_elements}",
                limit="table_elements",
                value=limits.table_elements,
                used=elements,
            )
        pages = sum(m.minimum for info in infos for m in info.memories if not m.imported)
        pages += kernel.FIRST_PAGES if self.uses_kernel else 0
        return pages * kernel.PAGE + self.instance_size

    def kernel_source(self, memory: int) -> str:
        """Text of the kernel whose memory may grow to so many bytes."""
        return kernel.source(self._functions, memory)

    def kernel(self, memory: int) -> int | None:
        """Address of the linked kernel whose memory may grow to so many bytes; None until `add_kernel`."""
        found = self._kernels.get(memory)
        return found[0] if found else None

    def add_kernel(self, memory: int, module: w.Module) -> int:
        """Links the kernel, compiled from `kernel_source(memory)`, and keeps it. Returns its address."""
        known = self.kernel(memory)
        if known is not None:
            return known
        pre = c.c_void_p()
        self._check(capi.linker_instantiate_pre(self._kernel_linker, capi.address(module), c.addressof(pre)))
        self._kernels[memory] = (pre.value or 0, module)
        return self._kernels[memory][0]

    def take(self) -> int:
        """A linker of one guest's own, until it is given back."""
        return self._spare.pop() if self._spare else int(capi.linker_clone(self._base))

    def give(self, linker: int) -> None:
        """A guest needs its linker no more; its future is deleted."""
        if self._shadows:
            capi.linker_delete(linker)
        else:
            self._spare.append(linker)

    def free(self) -> None:
        """Deletes everything. No guest is left."""
        for pre, _ in self._kernels.values():
            capi.instance_pre_delete(pre)
        for linker in (*self._spare, self._base, self._kernel_linker):
            if linker:
                capi.linker_delete(linker)
        self._kernels.clear()
        self._spare.clear()
        self._base = self._kernel_linker = 0
        for number in self._numbers:
            callbacks.unbind(number)

    def _find_start_functions(self) -> list[tuple[str, int]]:
        # A reactor's `_initialize` runs the constructors itself; `hs_init` (Haskell) wants argc and argv besides.
        found: list[tuple[str, int]] = []
        for name in _START_FUNCTIONS:
            export = self._info.exports.get(name)
            if export is None or export.kind != "func" or export.signature is None:
                continue
            parameters, results = export.signature
            if results or parameters not in ((), ("i32", "i32")):
                continue
            if name == "__wasm_call_ctors" and any(known == "_initialize" for known, _ in found):
                continue
            found.append((name, len(parameters)))
        return found

    def _make_linker(self, imported: set[tuple[str, str]]) -> int:
        linker: int = capi.linker_new(self._engine)
        capi.linker_allow_shadowing(linker, True)
        for module, name in sorted(imported):
            if module == WASI_MODULE:
                known = WASI_FUNCTIONS[name]
                self._define(linker, module, name, bindings.wasi_binding(known), waits=known.asynchronous)
        for function in self._functions:
            if not kernel.needs_wrapper(function) and (function.namespace, function.name) in imported:
                self._define(linker, function.namespace, function.name, bindings.host_binding(function), waits=True)
        return linker

    def _make_kernel_linker(self) -> int:
        linker: int = capi.linker_new(self._engine)
        for name, binding in bindings.KERNEL_BINDINGS.items():
            self._define(linker, kernel.INNER, name, binding, waits=False)
        for position, function in enumerate(self._functions):
            if kernel.needs_wrapper(function):
                name = kernel.inner_name(position)
                self._define(linker, kernel.INNER, name, bindings.host_binding(function), waits=True)
        return linker

    def _define(self, linker: int, module: str, name: str, binding: Binding, *, waits: bool) -> None:
        signature = binding.signature
        kind = w.FuncType([_TYPES[t]() for t in signature.parameters], [_TYPES[t]() for t in signature.results])
        define, callback = (
            (capi.linker_define_async, callbacks.ASYNC) if waits else (capi.linker_define_raw, callbacks.RAW)
        )
        number = callbacks.bind(binding)
        self._numbers.append(number)
        space, word = module.encode(), name.encode()
        self._check(define(linker, space, len(space), word, len(word), capi.address(kind), callback, number, None))

    def _check(self, error: int | None) -> None:
        if error:
            raise InternalError(f"wasmtime: {capi.take_error(error)}")


_TYPES: Mapping[str, Any] = {
    "i32": w.ValType.i32,
    "i64": w.ValType.i64,
    "f32": w.ValType.f32,
    "f64": w.ValType.f64,
}


def _instance_size(info: ModuleInfo) -> int:
    # As wasmtime lays them out: a hundred thousand globals are 1.6 MB of each guest.
    elements = sum(table.minimum for table in info.tables)
    return _GLOBAL * len(info.globals) + _ELEMENT * elements + _EXPORT * len(info.exports)


_GLOBAL, _ELEMENT, _EXPORT = 16, 8, 32
