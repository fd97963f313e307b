"""One guest: a store, its instances, its memories, and the future of what it is doing.

Guarantees: nothing else touches the store while its future is alive, except callbacks from inside a poll; the future
is deleted before the store on every path; a guest is freed exactly once; after an error it is never called again.
"""

from __future__ import annotations

import ctypes as c
import threading
import time
from typing import TYPE_CHECKING, Any

import trio

from innkeeper.errors import BusyError, InternalError
from innkeeper.sandbox import box, callbacks, capi, growth, kernel, refusals
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.limits import Limits
from innkeeper.sandbox.variables import Variables
from innkeeper.sandbox.wasi import Wasi
from innkeeper.sandbox.window import Window

if TYPE_CHECKING:
    from innkeeper.sandbox.program import FiberProgram

_LARGE = 8 << 20
"""Bytes of memory from which on giving them back is left to a worker: the system takes milliseconds for 60 MB that
were written to."""


_MEMORY = growth.MEMORY.encode()


class Guest:
    """A live guest.

    Attributes:
        program: what it is a guest of.
        call: the call that it works for.
        pending: the host function that it waits for, if it does.
        incoming: bytes that a host function returned, until the kernel takes them.
        variables: what `var_set` keeps; they live as long as the guest.
        has_instance: whether a module of its own is an instance.
        has_kernel: whether its kernel is.
        lent: whether a worker thread has it (`Workers` sets it).
    """

    __slots__ = (
        "__weakref__",
        "_base",
        "_box",
        "_counted",
        "_future",
        "_linked",
        "_linker",
        "_memories",
        "_store",
        "_wasi",
        "call",
        "context",
        "done",
        "has_instance",
        "has_kernel",
        "incoming",
        "lent",
        "pending",
        "program",
        "variables",
    )

    def __init__(self, program: FiberProgram, call: Call, counted: int) -> None:
        """Args:
        program: compiled and linked.
        call: the first call.
        counted: bytes of the host's memory budget that are taken for this guest already; it gives them back.
        """
        self.program = program
        self.call = call
        self.pending: callbacks.Pending | None = None
        self.incoming = b""
        self.variables = Variables()
        self.has_instance = False
        self.has_kernel = False
        self.lent = False
        self.done = False
        self._counted = counted
        self._memories: list[int] = []
        self._linked: list[Any] = []
        self._wasi: Wasi | None = None
        self._future = 0
        self._linker = 0
        self._box = box.Box()
        self._base = c.addressof(self._box)
        # Until it is whole there is no store to close: who made it gives back what was taken for it.
        self._store = 0
        store: int = capi.store_new(program.engine_address, None, None)
        try:
            self.context: int = capi.store_context(store)
            self._configure(store, call.limits)
        except BaseException:
            capi.store_delete(store)
            raise
        self._store = store

    def _configure(self, store: int, limits: Limits) -> None:
        links = self.program.links
        modules = len(links.modules) + 1
        # One size for all memories of the store: with a kernel it is the larger one, and the guest's own growth is held
        # below it by its instrumentation (`finish_module`).
        size = max(limits.memory, limits.kernel_memory, kernel.PAGE) if links.uses_kernel else limits.memory
        capi.store_limiter(store, size, limits.table_elements, modules, 8 * modules, modules)
        capi.epoch_callback(store, callbacks.EPOCH, None, None)
        capi.set_epoch_deadline(self.context, 1)

    @property
    def closed(self) -> bool:
        """Whether everything was freed."""
        return not self._store

    # --- what it does next: each begins a future that is then polled to its end ----------------------------------

    def begin_kernel(self, pre: int) -> None:
        """Starts the kernel. `pre` is the address of its linked module."""
        base = self._base
        self._begin(
            capi.instance_pre_instantiate_async(pre, self.context, base + box.KERNEL, base + box.TRAP, base + box.ERROR)
        )

    def finish_kernel(self) -> None:
        """Finds the kernel's memory."""
        base = self._base
        if not capi.instance_export(self.context, base + box.KERNEL, b"memory", 6, base + box.KERNEL_MEMORY):
            raise InternalError("the kernel has no memory")
        self._memories.append(base + box.KERNEL_MEMORY + capi.EXTERN_OF)
        self.has_kernel = True

    def begin_module(self, module: int) -> None:
        """Starts a module with what is linked so far. `module` is its address."""
        base = self._base
        self._begin(
            capi.linker_instantiate_async(
                self._linker, self.context, module, base + box.INSTANCE, base + box.TRAP, base + box.ERROR
            )
        )

    def finish_module(self, name: bytes | None, *, owns_memory: bool) -> None:
        """Finds the module's own memory and, if it has a name, links its exports under it for the modules to come."""
        base = self._base
        self.has_instance = True
        at = base + box.MEMORIES + len(self._memories) * box.EXTERN_SIZE
        if owns_memory and capi.instance_export(self.context, base + box.INSTANCE, _MEMORY, len(_MEMORY), at):
            self._memories.append(at + capi.EXTERN_OF)
        limits = self.call.limits
        if limits.memory < limits.kernel_memory:
            # The store's limiter has one size for both, so the module's own growth is held by its instrumentation.
            refusals.hold_below(self.context, base + box.INSTANCE, limits.memory // kernel.PAGE)
        if name is not None:
            self._check(capi.linker_define_instance(self._linker, self.context, name, len(name), base + box.INSTANCE))
            self._linked.append(capi.Instance.from_buffer_copy(self._box.instance))

    def link(self, linker: int) -> None:
        """Takes a linker of the program's and shadows in it what the kernel exports.

        The linker belongs to this guest until it is closed: a future may look at it.
        """
        self._linker = linker
        if not self.program.links.uses_kernel:
            return
        base = self._base
        env = kernel.ENV.encode()
        self._check(capi.linker_define_instance(linker, self.context, env, len(env), base + box.KERNEL))
        for namespace, name, wrapper in self.program.links.wrappers:
            scratch = base + box.SCRATCH
            if not capi.instance_export(self.context, base + box.KERNEL, wrapper, len(wrapper), scratch):
                raise InternalError(f"the kernel has no {wrapper.decode()}")
            self._check(capi.linker_define(linker, self.context, namespace, len(namespace), name, len(name), scratch))

    def begin_function(self, name: str, results: int, arguments: int = 0) -> None:
        """Calls an exported function of the last module, whose type was checked.

        Args:
            name: of the export.
            results: number of its results, 0 or 1.
            arguments: number of its parameters, 0 to 2; each is an i32 and gets 0.
        """
        base = self._base
        encoded = name.encode()
        if not capi.instance_export(self.context, base + box.INSTANCE, encoded, len(encoded), base + box.FUNCTION):
            raise InternalError(f"the export {name!r} is gone")
        self._begin(
            capi.func_call_async(
                self.context,
                base + box.FUNCTION + capi.EXTERN_OF,
                base + box.ARGUMENTS if arguments else None,
                arguments,
                base + box.RESULT if results else None,
                results,
                base + box.TRAP,
                base + box.ERROR,
            )
        )

    def _begin(self, future: int) -> None:
        self._future = future
        self.done = False

    # --- polling --------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def poll(self, function: Any) -> None:
        """Lets the guest run until it ends, gives way or waits; `done` says which. Never raises.

        Args:
            function: `capi.future_poll_held` or `capi.future_poll_free`.
        """
        thread = threading.get_ident()
        callbacks.running[thread] = self
        self.program.ticker.need()
        before = time.thread_time_ns()
        try:
            self.done = function(self._future)
        except BaseException as error:
            self.fail(error)
        finally:
            self.call.usage.cpu += (time.thread_time_ns() - before) / 1e9
            callbacks.running.pop(thread, None)

    def step(self) -> bool:
        """One turn on a worker. True when trio's thread has to look at the guest."""
        self.poll(capi.future_poll_free)
        call = self.call
        return self.done or self.pending is not None or call.failure is not None or call.usage.cpu > call.limits.cpu

    def fail(self, error: BaseException) -> None:
        """Keeps what ends the call."""
        self.call.fail(error)

    def end_future(self) -> tuple[int, int]:
        """Deletes the future, and with it the fiber. Returns the addresses of a trap and of an error, 0 for none;
        the caller deletes them."""
        future, self._future = self._future, 0
        if future:
            capi.future_delete(future)
        self.let_go()
        self.pending = None
        out = self._box
        trap, error = out.trap or 0, out.error or 0
        out.trap = out.error = None
        return trap, error

    def let_go(self) -> None:
        """Gives back the bytes in flight of what it asked a host function with."""
        pending = self.pending
        if pending is not None and pending.held:
            held, pending.held = pending.held, 0
            self.program.in_flight.give(held)

    def settle(self) -> None:
        """Deletes the future and what it left behind: the store may be looked at again."""
        trap, error = self.end_future()
        if trap:
            capi.trap_delete(trap)
        if error:
            capi.error_delete(error)

    # --- memory ---------------------------------------------------------------------------------------------------

    def count_memory(self) -> bool:
        """Takes what the guest's memories have grown by from the host's budget. False if it is not free: the call
        then ends with `busy`. To be called inside of a callback, or without a future."""
        size = self._size()
        if size <= self._counted:
            return True
        budget = self.program.memory_budget
        if not budget.grow(size - self._counted):
            self.fail(
                BusyError(
                    f"the host was busy: the guests' memory together would exceed the bound of {budget.limit} bytes "
                    f"on {budget.name}; try again later, or raise 'guest_memory' in innkeeper.toml",
                    bound=budget.name,
                )
            )
            return False
        self._counted = size
        return True

    def _size(self) -> int:
        # What it takes of the host: its memories, what its instances consist of, what it keeps in variables.
        return self.memory_size() + self.program.links.instance_size + self.variables.used

    def memory_size(self) -> int:
        """Bytes of linear memory, the kernel's included."""
        return sum(capi.memory_data_size(self.context, memory) for memory in self._memories)

    def module_memory(self) -> int:
        """Bytes of the largest memory of a module, without the kernel's."""
        modules = self._memories[1:] if self.program.links.uses_kernel else self._memories
        return max((capi.memory_data_size(self.context, memory) for memory in modules), default=0)

    def kernel_window(self) -> Window:
        """The kernel's memory, as it is now."""
        return Window(self.context, self._base + box.KERNEL_MEMORY + capi.EXTERN_OF)

    def caller_window(self, caller: int) -> Window | None:
        """The memory of the module that called the host, inside of a callback; None if it has none."""
        scratch = self._base + box.SCRATCH
        if not capi.caller_export(caller, _MEMORY, len(_MEMORY), scratch):
            return None
        return Window(capi.caller_context(caller), scratch + capi.EXTERN_OF)

    def grow_kernel(self, size: int) -> None:
        """Makes the kernel's memory at least `size` bytes large, without a future.

        Raises:
            MemoryError: its limit does not allow it.
        """
        window = self.kernel_window()
        missing = size - window.size
        if missing > 0:
            base = self._base
            pages = (missing + kernel.PAGE - 1) // kernel.PAGE
            error = capi.memory_grow(self.context, base + box.KERNEL_MEMORY + capi.EXTERN_OF, pages, base + box.OLD)
            if error:
                raise MemoryError(capi.take_error(error))

    def result(self) -> int:
        """The i32 that the last function returned."""
        return int(self._box.result.of.i32)

    def instances(self) -> list[int]:
        """Addresses of its modules' instances, the plugin's own first."""
        return [self._base + box.INSTANCE, *map(c.addressof, self._linked)]

    @property
    def wasi(self) -> Wasi:
        """The state of its WASI, made when it is first used."""
        if self._wasi is None:
            self._wasi = Wasi(self.program.seed, self.program.rights, lambda level, line: self.call.log(level, line))
        return self._wasi

    def flush(self) -> None:
        """Logs what the guest wrote without an end of line."""
        if self._wasi is not None:
            self._wasi.flush()

    # --- the end --------------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Frees everything, future first. Safe to call twice; does nothing while a worker has the guest."""
        if self.lent or not self._store:
            return
        self.settle()
        if self._wasi is not None:
            self._wasi.close()
        # Whoever looks at it afterwards finds no memory, where there is none any more.
        self._memories.clear()
        store, self._store = self._store, 0
        linker, self._linker = self._linker, 0
        counted, self._counted = self._counted, 0
        self.program.guest_closed(store, linker, counted, large=counted > _LARGE)

    def abandon(self) -> None:
        """A worker frees the guest: nobody waits for it any more."""
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_store", 0):
            self.close()

    def _check(self, error: int | None) -> None:
        if error:
            raise InternalError(f"wasmtime: {capi.take_error(error)}")
