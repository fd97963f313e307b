"""What a plugin's guests have in common, however its modules are put together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence

from innkeeper.errors import LimitError
from innkeeper.sandbox import kernel, wasm
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.module_info import ModuleInfo

_START_FUNCTIONS = ("_initialize", "__wasm_call_ctors", "hs_init")


class Layout(ABC):
    """The modules of a plugin, and what each of its guests takes.

    Attributes:
        linked: whether it consists of more than one module.
        uses_kernel: whether any of the modules imports the Extism ABI.
        starts: whether guests run code of their own before their first call.
        start_functions: exports that run before the first call, with the number of their parameters.
        owns_memory: whether the plugin's own module has a memory that it does not import.
        instance_size: bytes of the host's memory that one guest's imports, globals, tables and exports take.
    """

    linked: bool

    def __init__(self, infos: Sequence[ModuleInfo], *, uses_kernel: bool = False) -> None:
        """Args:
        infos: of the modules; the plugin's own is the last.
        uses_kernel: where more than an import of the ABI itself decides it.
        """
        self.uses_kernel = uses_kernel or any(
            item.module == kernel.ENV for info in infos for item in info.imports if item.kind == "func"
        )
        self.owns_memory = any(not memory.imported for memory in infos[-1].memories)
        self.instance_size = sum(_instance_size(info) for info in infos)
        self.start_functions = _find_start_functions(infos[-1])
        self.starts = bool(self.start_functions) or any(info.start is not None for info in infos)
        self._pages = max((m.minimum for info in infos for m in info.memories), default=0)
        self._elements = max((t.minimum for info in infos for t in info.tables), default=0)
        pages = sum(m.minimum for info in infos for m in info.memories if not m.imported)
        pages += kernel.FIRST_PAGES if self.uses_kernel else 0
        self._size = pages * kernel.PAGE + self.instance_size

    def memory_to_start(self, limits: Limits) -> int:
        """Bytes that a guest takes of the host's memory when it starts.

        Raises:
            LimitError: a memory or a table is larger at the start than the limits allow.
        """
        largest = self._pages * kernel.PAGE
        if largest > limits.memory:
            raise LimitError(
                f"the module starts with {largest} bytes of memory; the limit 'memory' is {limits.memory}",
                limit="memory",
                value=limits.memory,
                used=largest,
            )
        if self._elements > limits.table_elements:
            raise LimitError(
                f"the module starts with a table of {self._elements} elements; "
                f"the limit 'table_elements' is {limits.table_elements}",
                limit="table_elements",
                value=limits.table_elements,
                used=self._elements,
            )
        return self._size

    @property
    @abstractmethod
    def engines(self) -> Collection[int]:
        """Addresses of the engines that its guests can live in."""

    @abstractmethod
    def free(self) -> None:
        """Deletes everything. No guest is left."""


def imports_of(infos: Iterable[ModuleInfo]) -> set[tuple[str, str]]:
    """Module and name of each function that any of the modules imports."""
    return {(item.module, item.name) for info in infos for item in info.imports if item.kind == "func"}


def _find_start_functions(info: ModuleInfo) -> list[tuple[str, int]]:
    # A reactor's `_initialize` runs the constructors itself; `hs_init` (Haskell) wants argc and argv besides.
    found: list[tuple[str, int]] = []
    for name in _START_FUNCTIONS:
        export = info.exports.get(name)
        if export is None or export.kind != "func" or export.signature is None:
            continue
        parameters, results = export.signature
        if results or parameters not in ((), ("i32", "i32")):
            continue
        if name == "__wasm_call_ctors" and any(known == "_initialize" for known, _ in found):
            continue
        found.append((name, len(parameters)))
    return found


def _instance_size(info: ModuleInfo) -> int:
    # As wasmtime lays them out: a hundred thousand globals are 1.6 MB of each guest, as many imports 6 MB.
    elements = sum(table.minimum for table in info.tables)
    # A function that is named as a value has a reference of its own in each instance; each name takes a byte or more.
    named = len(info.globals) + info.section_size(wasm.ELEMENT)
    return (
        _IMPORT * len(info.imports)
        + _GLOBAL * len(info.globals)
        + _ELEMENT * elements
        + _EXPORT * len(info.exports)
        + _REFERENCE * min(named, len(info.function_types))
    )


_IMPORT, _GLOBAL, _ELEMENT, _EXPORT, _REFERENCE = 64, 16, 8, 32, 32
