"""A plugin of one module: its kernel is part of it, and its imports are resolved once for all of its guests."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import wasmtime as w

from innkeeper.sandbox import capi, kernel
from innkeeper.sandbox.hosting import Hosting
from innkeeper.sandbox.interface import HostFunction
from innkeeper.sandbox.layout import Layout, imports_of
from innkeeper.sandbox.module_info import ModuleInfo
from innkeeper.sandbox.wasm import DATA


class Joined(Layout):
    """One module, ready to become an instance in any of the engines that it was compiled for.

    Attributes:
        has_start: whether it has a start function, to be called as soon as it is an instance.
        quick: whether becoming an instance is a matter of microseconds: what it copies then is little.
    """

    linked = False

    def __init__(self, info: ModuleInfo, functions: Sequence[HostFunction], modules: Sequence[tuple[int, w.Module]]):
        """Args:
        info: what the module says of itself, as its author built it.
        functions: host functions that it may import.
        modules: address of each engine that can run it, and the module compiled for it, the kernel merged in.
        """
        imported = imports_of((info,))
        wrapped = kernel.wrapped(functions, imported)
        super().__init__((info,), uses_kernel=bool(wrapped))
        self.has_start = info.start is not None
        self.quick = (
            info.section_size(DATA) <= _QUICK
            and info.data_segments <= _QUICK_SEGMENTS
            and len(info.globals) <= _QUICK_ITEMS
            and len(info.imports) <= _QUICK_ITEMS
            and sum(table.minimum for table in info.tables) <= _QUICK_ITEMS
        )
        self._hosts: list[Hosting] = []
        self._pres: dict[int, int] = {}
        self._modules = tuple(modules)
        try:
            for engine, module in modules:
                hosting = Hosting(engine)
                self._hosts.append(hosting)
                hosting.define_imports(imported, functions)
                if self.uses_kernel:
                    hosting.define_kernel(wrapped)
                self._pres[engine] = hosting.resolved(module)
        except BaseException:
            self.free()
            raise

    def pre(self, engine: int) -> int:
        """Address of the module with its imports resolved, for the engine at an address."""
        return self._pres[engine]

    @property
    def engines(self) -> Collection[int]:
        return self._pres

    def free(self) -> None:
        for pre in self._pres.values():
            capi.instance_pre_delete(pre)
        self._pres.clear()
        for hosting in self._hosts:
            hosting.free()
        self._hosts.clear()
        self._modules = ()


_QUICK = 1 << 20
"""Bytes of data segments that are copied or mapped on trio's thread."""

_QUICK_SEGMENTS = 256
"""Data segments, of which each may lie on a page of its own that the system has to find and clear."""

_QUICK_ITEMS = 10_000
"""Imports, globals and elements of tables, each."""
