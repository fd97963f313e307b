"""A guest of several modules: each is an instance of its own, and so is their kernel."""

from __future__ import annotations

import ctypes as c
from typing import TYPE_CHECKING, Any

from innkeeper.errors import InternalError
from innkeeper.sandbox import box, capi, growth, kernel
from innkeeper.sandbox.box import MAX_MODULES
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.linking import Linked
from innkeeper.sandbox.spots import Spot

if TYPE_CHECKING:
    from innkeeper.sandbox.program import FiberProgram

_MEMORY = growth.MEMORY.encode()


class LinkedGuest(Guest):
    """A live guest of a plugin whose modules are linked for each guest anew."""

    counts = (MAX_MODULES + 1, 8 * (MAX_MODULES + 1), MAX_MODULES + 1)

    __slots__ = ("_layout", "_linked", "_linker", "_own_memories")

    def __init__(self, program: FiberProgram, call: Call, counted: int, spot: Spot) -> None:
        layout = program.layout
        assert isinstance(layout, Linked)
        self._layout = layout
        self._linked: list[Any] = []
        self._linker = 0
        self._own_memories: list[int] = []
        super().__init__(program, call, counted, spot)

    def begin_kernel(self) -> None:
        """Starts the kernel."""
        base = self._base
        self._begin(
            capi.instance_pre_instantiate_async(
                self._layout.kernel, self.context, base + box.KERNEL, base + box.TRAP, base + box.ERROR
            )
        )

    def finish_kernel(self) -> None:
        """Finds the kernel's memory."""
        self.find_kernel(self._base + box.KERNEL)

    def link(self) -> None:
        """Takes a linker of the program's and shadows in it what the kernel exports.

        The linker belongs to this guest until it is closed: a future may look at it.
        """
        self._linker = linker = self._layout.take()
        if not self.has_kernel:
            return
        base = self._base
        env = kernel.ENV.encode()
        capi.check(capi.linker_define_instance(linker, self.context, env, len(env), base + box.KERNEL))
        for namespace, name, wrapper in self._layout.wrappers:
            scratch = base + box.SCRATCH
            if not capi.instance_export(self.context, base + box.KERNEL, wrapper, len(wrapper), scratch):
                raise InternalError(f"the kernel has no {wrapper.decode()}")
            capi.check(capi.linker_define(linker, self.context, namespace, len(namespace), name, len(name), scratch))

    def begin_module(self, module: int) -> None:
        """Starts a module with what is linked so far. `module` is its address."""
        base = self._base
        # An export that was found is the module's before this one.
        self._found = ""
        self._begin(
            capi.linker_instantiate_async(
                self._linker, self.context, module, base + box.INSTANCE, base + box.TRAP, base + box.ERROR
            )
        )

    def finish_module(self, name: bytes | None, *, owns_memory: bool) -> None:
        """Finds the module's own memory and, if it has a name, links its exports under it for the modules to come."""
        base = self._base
        self.has_instance = True
        at = base + box.MEMORIES + len(self._own_memories) * box.EXTERN_SIZE
        if owns_memory and capi.instance_export(self.context, base + box.INSTANCE, _MEMORY, len(_MEMORY), at):
            self._own_memories.append(at + capi.EXTERN_OF)
        self.hold_own(base + box.INSTANCE)
        if name is not None:
            capi.check(capi.linker_define_instance(self._linker, self.context, name, len(name), base + box.INSTANCE))
            self._linked.append(capi.Instance.from_buffer_copy(self._box.instance))

    def measure(self) -> tuple[int, int]:
        sizes = [capi.memory_data_size(self.context, memory) for memory in self._own_memories]
        total = sum(sizes)
        if self._kernel_memory:
            total += capi.memory_data_size(self.context, self._kernel_memory)
        return max(sizes, default=0), total

    def instances(self) -> list[int]:
        return [self._base + box.INSTANCE, *map(c.addressof, self._linked)]

    def _delete(self, delete: Any, store: int, counted: int) -> None:
        self._own_memories.clear()
        super()._delete(delete, store, counted)
        linker, self._linker = self._linker, 0
        if linker:
            self._layout.give(linker)
