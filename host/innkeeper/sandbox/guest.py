"""One guest: a store, its instances, its memories, and the future of what it is doing.

Guarantees: nothing else touches the store while its future is alive, except callbacks from inside a poll; the future
is deleted before the store on every path; a guest is freed exactly once; after an error it is never called again.
"""

from __future__ import annotations

import ctypes as c
from threading import get_ident
from time import perf_counter, thread_time_ns
from typing import TYPE_CHECKING, Any

import trio

from innkeeper.errors import BusyError, InternalError
from innkeeper.sandbox import box, callbacks, capi, growth, kernel, refusals
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.compilation.settings import RESERVATION
from innkeeper.sandbox.limits import DEFAULTS
from innkeeper.sandbox.spots import Spot
from innkeeper.sandbox.variables import Variables
from innkeeper.sandbox.wasi import Wasi
from innkeeper.sandbox.window import KernelWindow, Window, lay_out_input

if TYPE_CHECKING:
    from innkeeper.sandbox.program import FiberProgram

_LARGE = 8 << 20
"""Bytes of memory from which on giving them back is left to a worker: the system takes milliseconds for 60 MB that
were written to."""


_RESULT: int = box.RESULT + capi.Val.of.offset
_MEMORY, _KERNEL = growth.MEMORY.encode(), kernel.MEMORY.encode()


class Guest:
    """A live guest of one module, its kernel included. `linked_guest.LinkedGuest` has several.

    Attributes:
        program: what it is a guest of.
        call: the call that it works for.
        pending: the host function that it waits for, if it does.
        incoming: bytes that a host function returned, until the kernel takes them.
        has_instance: whether a module of its own is an instance.
        has_kernel: whether its kernel is.
        lent: whether a worker thread has it (`Workers` sets it).
        answered: when a quick host function last gave its answer, or the poll began (`time.perf_counter`).
        stretch: the longest time that it ran before one of them in this poll; 0: it called none.
        done: whether what its future does has ended.
        context: address of the store's context.
        counted_memory: bytes of linear memory, when they were last counted.
    """

    __slots__ = (
        "__weakref__",
        "_base",
        "_box",
        "_counted",
        "_found",
        "_future",
        "_kernel_instance",
        "_kernel_limit",
        "_kernel_memory",
        "_kernel_pages",
        "_own_memory",
        "_refusals",
        "_spot",
        "_store",
        "_variables",
        "_wasi",
        "_window",
        "answered",
        "call",
        "context",
        "counted_memory",
        "done",
        "has_instance",
        "has_kernel",
        "incoming",
        "lent",
        "pending",
        "program",
        "stretch",
    )

    counts = (1, 8, 2)
    """How many instances, tables and memories its store may have."""

    def __init__(self, program: FiberProgram, call: Call, counted: int, spot: Spot) -> None:
        """Args:
        program: compiled and linked.
        call: the first call.
        counted: bytes of the host's memory budget that are taken for this guest already; it gives them back.
        spot: the engine that it lives in; the guest gives its place there back.
        """
        self.program = program
        self.call = call
        self.pending: callbacks.Pending | None = None
        self.incoming = b""
        self.has_instance = False
        self.has_kernel = False
        self.lent = False
        self.done = False
        self.answered = 0.0
        self.stretch = 0.0
        self.counted_memory = 0
        self._variables: Variables | None = None
        self._counted = counted
        self._kernel_memory = 0
        self._kernel_instance = 0
        self._kernel_limit = 0
        self._kernel_pages = DEFAULTS.kernel_memory // kernel.PAGE
        self._own_memory = 0
        self._refusals: list[tuple[int, int, Any]] | None = None
        # The export that the box has, so that it need not be looked for again.
        self._found = ""
        self._wasi: Wasi | None = None
        self._window: KernelWindow | None = None
        self._future = 0
        self._spot = spot
        self._box = box.Box()
        self._base = c.addressof(self._box)
        # Until it is whole there is no store to close: who made it gives back what was taken for it.
        self._store = 0
        limits = call.limits
        # One size for all memories of the store, the larger one: the guest's own growth is held below it by what was
        # added to its module, the kernel's by the kernel itself.
        size = limits.memory
        if program.layout.uses_kernel:
            size = max(size, limits.kernel_memory, kernel.PAGE)
        store: int = capi.store_new(spot.engine, None, None)
        try:
            self.context: int = capi.store_context(store)
            capi.store_limiter(store, size, limits.table_elements, *self.counts)
            capi.epoch_callback(store, callbacks.EPOCH, None, None)
            capi.set_epoch_deadline(self.context, 1)
        except BaseException:
            capi.store_delete(store)
            raise
        self._store = store

    @property
    def closed(self) -> bool:
        """Whether everything was freed."""
        return not self._store

    @property
    def variables(self) -> Variables:
        """What `var_set` keeps; they live as long as the guest."""
        if self._variables is None:
            self._variables = Variables()
        return self._variables

    # --- what it does next: each begins a future that is then polled to its end ----------------------------------

    def begin_instance(self, pre: int) -> None:
        """Starts the module. `pre` is its address with its imports resolved."""
        base = self._base
        self._begin(
            capi.instance_pre_instantiate_async(
                pre, self.context, base + box.INSTANCE, base + box.TRAP, base + box.ERROR
            )
        )

    def ends_at_once(self) -> bool:
        """Polls a future that runs nothing of the guest's. Whether it ended, and went well."""
        self.done = bool(capi.future_poll_held(self._future))
        out = self._box
        if not self.done or out.trap or out.error:
            return False
        future, self._future = self._future, 0
        capi.future_delete(future)
        return True

    @property
    def engine(self) -> int:
        """Address of the engine that it lives in."""
        return self._spot.engine

    def finish_instance(self) -> None:
        """Finds the module's memory and its kernel's."""
        base = self._base
        self.has_instance = True
        limits = self.call.limits
        own = base + box.MEMORIES
        if self.program.layout.owns_memory and capi.instance_export(
            self.context, base + box.INSTANCE, _MEMORY, len(_MEMORY), own
        ):
            self._own_memory = own + capi.EXTERN_OF
        if self.program.layout.uses_kernel:
            self._find_kernel(base + box.INSTANCE)
            if limits.memory < limits.kernel_memory:
                refusals.hold_below(self.context, base + box.INSTANCE, limits.memory // kernel.PAGE)

    def _find_kernel(self, instance: int) -> None:
        at = self._base + box.KERNEL_MEMORY
        if not capi.instance_export(self.context, instance, _KERNEL, len(_KERNEL), at):
            raise InternalError("the kernel has no memory")
        self._kernel_memory = at + capi.EXTERN_OF
        self.has_kernel = True
        self._window = KernelWindow(
            self.context, self._kernel_memory, steady=self.call.limits.kernel_memory <= RESERVATION
        )
        if self.program.layout.starts:
            # A guest may allocate while it starts, before there is an input.
            lay_out_input(self._window, b"", kernel.capacity(0))
        self._kernel_instance = instance
        self._kernel_limit = max(self.call.limits.kernel_memory, kernel.PAGE)
        self.hold_kernel()

    def begin_function(self, name: str, results: int, arguments: int = 0) -> None:
        """Calls an exported function of the last module, whose type was checked.

        Args:
            name: of the export.
            results: number of its results, 0 or 1.
            arguments: number of its parameters, 0 to 2; each is an i32 and gets 0.
        """
        base = self._base
        function = base + box.FUNCTION
        if name != self._found:
            encoded = name.encode()
            if not capi.instance_export(self.context, base + box.INSTANCE, encoded, len(encoded), function):
                raise InternalError(f"the export {name!r} is gone")
            self._found = name
        self._begin(
            capi.func_call_async(
                self.context,
                function + capi.EXTERN_OF,
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
    def poll(self, function: Any, *, by_clock: bool = True) -> float:
        """Lets the guest run until it ends, gives way or waits; `done` says which. Never raises.

        Args:
            function: `capi.future_poll_held` or `capi.future_poll_free`.
            by_clock: whether its processor time is read from the thread's clock; else it is the time that passes, which
                is never less.

        Returns:
            Seconds of wall-clock time that it took.
        """
        thread = get_ident()
        running = callbacks.running
        # A host function may poll another guest.
        outer = running.pop(thread, None)
        running[thread] = self
        self.stretch = 0.0
        self.answered = begun = perf_counter()
        self._spot.ticker.need(begun)
        before = thread_time_ns() if by_clock else 0
        try:
            self.done = function(self._future)
        except BaseException as error:
            self.fail(error)
        if by_clock:
            self.call.usage.cpu += (thread_time_ns() - before) / 1e9
        if outer is None:
            running.pop(thread, None)
        else:
            running[thread] = outer
        elapsed = perf_counter() - begun
        if not by_clock:
            self.call.usage.cpu += elapsed
        return elapsed

    def wait_for(self, pending: callbacks.Pending) -> int:
        """Keeps what the guest waits for. Returns the address of two bytes that say whether it is there: 0 and 0, until
        they are 1 and 0."""
        self.pending = pending
        self._box.ready = 0
        return self._base + box.READY

    def go_on(self) -> None:
        """What the guest waited for is in its place."""
        self.pending = None
        self._box.ready = 1

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
        if self.pending is not None:
            self.let_go()
            self.pending = None
        out = self._box
        trap, error = out.trap, out.error
        if trap is None and error is None:
            return 0, 0
        out.trap = out.error = None
        return trap or 0, error or 0

    def let_go(self) -> None:
        """Gives back the bytes in flight of what it asked a host function with."""
        pending = self.pending
        if pending is not None and pending.held:
            held, pending.held = pending.held, 0
            self.program.in_flight.give(held)

    def settle(self) -> None:
        """Deletes the future and what it left behind: the store may be looked at again."""
        if not self._future and self.pending is None:
            return
        trap, error = self.end_future()
        if trap:
            capi.trap_delete(trap)
        if error:
            capi.error_delete(error)

    # --- memory ---------------------------------------------------------------------------------------------------

    def count_memory(self, memory: int | None = None) -> bool:
        """Takes what the guest's memories have grown by from the host's budget. False if it is not free: the call
        then ends with `busy`. To be called inside of a callback, or without a future.

        Args:
            memory: of `memory_size`, where the caller knows it.
        """
        # What it takes of the host: its memories, what its instances consist of, what it keeps in variables.
        self.counted_memory = memory = self.memory_size() if memory is None else memory
        size = memory + self.program.layout.instance_size
        if self._variables is not None:
            size += self._variables.used
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

    def memory_size(self) -> int:
        """Bytes of linear memory, the kernel's included."""
        return self.all_memory(self.module_memory()) or 0

    def all_memory(self, module: int) -> int | None:
        """As `memory_size`, given `module_memory`; None where that does not tell."""
        window = self._window
        if window is None:
            return module
        window.look()
        return module + window.size

    def module_memory(self) -> int:
        """Bytes of the largest memory of a module, without the kernel's."""
        return int(capi.memory_data_size(self.context, self._own_memory)) if self._own_memory else 0

    def kernel_window(self) -> KernelWindow:
        """The kernel's memory."""
        window = self._window
        assert window is not None
        if not window.steady:
            window.look()
        return window

    def caller_window(self, caller: int) -> Window | None:
        """The memory of the module that called the host, inside of a callback; None if it has none."""
        scratch = self._base + box.SCRATCH
        if not capi.caller_export(caller, _MEMORY, len(_MEMORY), scratch):
            return None
        return Window(capi.caller_context(caller), scratch + capi.EXTERN_OF)

    def grow_kernel(self, window: KernelWindow, size: int) -> None:
        """Makes the kernel's memory at least `size` bytes large, without a future.

        Raises:
            MemoryError: its limit does not allow it.
        """
        window.look()
        missing = size - window.size
        if missing <= 0:
            return
        pages = (missing + kernel.PAGE - 1) // kernel.PAGE
        # What the guest was opened with, and what this call may have.
        limit = min(self._kernel_limit, max(self.call.limits.kernel_memory, kernel.PAGE))
        if window.size + pages * kernel.PAGE > limit:
            raise MemoryError
        error = capi.memory_grow(self.context, self._kernel_memory, pages, self._base + box.OLD)
        if error:
            raise MemoryError(capi.take_error(error))
        window.look()

    def hold_kernel(self) -> None:
        """Holds the kernel's memory below what its call may have, and never above what it was opened with."""
        pages = min(self._kernel_limit, max(self.call.limits.kernel_memory, kernel.PAGE)) // kernel.PAGE
        if self.has_kernel and pages != self._kernel_pages:
            refusals.hold_kernel_below(self.context, self._kernel_instance, pages)
            self._kernel_pages = pages

    def forget_refusals(self) -> None:
        """What an earlier call was refused is no reason for the next one's failure."""
        if self._refusals is None:
            self._refusals = refusals.find(self.context, self.instances())
        if self._refusals:
            refusals.forget(self.context, self._refusals)

    def result(self) -> int:
        """The i32 that the last function returned."""
        return c.c_int32.from_address(self._base + _RESULT).value

    def instances(self) -> list[int]:
        """Addresses of its modules' instances, the plugin's own first."""
        return [self._base + box.INSTANCE]

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
        self._own_memory = self._kernel_memory = 0
        self._window = None
        store, self._store = self._store, 0
        counted, self._counted = self._counted, 0
        # One that takes long to start has written to much of its memory.
        if counted > _LARGE or self.program.stock.options is not None:
            self.program.workers.submit(lambda: self._delete(capi.store_delete_free, store, counted))
        else:
            self._delete(capi.store_delete, store, counted)

    def _delete(self, delete: Any, store: int, counted: int) -> None:
        delete(store)
        self.program.guest_closed(self._spot, counted)

    def abandon(self) -> None:
        """A worker frees the guest: nobody waits for it any more."""
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_store", 0):
            self.close()
