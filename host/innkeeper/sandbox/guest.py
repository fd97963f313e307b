"""One guest: a store, its instances, and the future of what it is doing.

Guarantees: nothing else touches the store while its future is alive, except callbacks from inside a poll; the future
is deleted before the store on every path; a guest is freed exactly once; after an error it is never called again.
"""

from __future__ import annotations

import ctypes as c
import struct
from threading import get_ident
from time import perf_counter, thread_time_ns
from typing import TYPE_CHECKING, Any

import trio

from innkeeper.errors import InternalError
from innkeeper.sandbox import box, callbacks, capi, kernel, refusals
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.inline import SHORT
from innkeeper.sandbox.memories import Memories
from innkeeper.sandbox.spots import Spot
from innkeeper.sandbox.wasi import NONE, Wasi

if TYPE_CHECKING:
    from innkeeper.sandbox.program import FiberProgram

_LARGE = 8 << 20
"""Bytes of memory from which on giving them back is left to a worker: the system takes milliseconds for 60 MB that
were written to."""

_RESULT: int = box.RESULT + capi.Val.of.offset
_I32 = struct.Struct("<i")


class Guest(Memories):
    """A live guest of one module, its kernel included. `linked_guest.LinkedGuest` has several.

    Attributes:
        pending: the host function that it waits for, if it does.
        incoming: bytes that a host function returned, until the kernel takes them.
        has_instance: whether a module of its own is an instance.
        lent: whether a worker thread has it (`Workers` sets it).
        begun: when its last poll began (`time.perf_counter`).
        answered: when a quick host function last gave its answer in it; as `begun` before that.
        stretch: the longest time that it ran before one of them in this poll; 0: it called none.
        done: whether what its future does has ended.
        stopped: when its last poll ended.
    """

    __slots__ = (
        "__weakref__",
        "_box",
        "_found",
        "_future",
        "_refusals",
        "_rights",
        "_spot",
        "_store",
        "_wasi",
        "answered",
        "begun",
        "done",
        "has_instance",
        "incoming",
        "lent",
        "pending",
        "stopped",
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
        super().__init__(program, call, counted)
        self.pending: callbacks.Pending | None = None
        self.incoming = b""
        self.has_instance = False
        self.lent = False
        self.done = False
        self.begun = self.answered = self.stopped = self.stretch = 0.0
        self._refusals: list[tuple[int, int, Any]] | None = None
        # The export that the box has, so that it need not be looked for again.
        self._found = ""
        self._wasi: Wasi | None = None
        self._rights = call.options.rights
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
            self.context = capi.store_context(store)
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
        instance = self._base + box.INSTANCE
        self.has_instance = True
        layout = self.program.layout
        if layout.owns_memory:
            self.find_own(instance)
        if layout.uses_kernel:
            self.find_kernel(instance)
            self.hold_own(instance)

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
        self.done = False
        self._future = capi.func_call_async(
            self.context,
            function + capi.EXTERN_OF,
            base + box.ARGUMENTS if arguments else None,
            arguments,
            base + box.RESULT if results else None,
            results,
            base + box.TRAP,
            base + box.ERROR,
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
                is never less. Where that is long, the whole process may have been stopped meanwhile: then it is what
                the thread has had for some time, if that is less.

        Returns:
            Seconds of wall-clock time that it took.
        """
        thread = get_ident()
        running = callbacks.running
        # A host function may poll another guest.
        outer = running.pop(thread, None)
        running[thread] = self
        self.stretch = 0.0
        self.begun = self.answered = begun = perf_counter()
        self._spot.ticker.need(begun)
        before = thread_time_ns() if by_clock else 0
        try:
            self.done = function(self._future)
        except BaseException as error:
            self.call.fail(error)
        if by_clock:
            self.call.usage.cpu += (thread_time_ns() - before) / 1e9
        if outer is None:
            running.pop(thread, None)
        else:
            running[thread] = outer
        self.stopped = stopped = perf_counter()
        elapsed = stopped - begun
        if not by_clock:
            used = elapsed if elapsed < SHORT else min(elapsed, self.program.loop_budget.since_mark())
            self.call.usage.cpu += used
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
            self.program.places.in_flight.give(held)

    def settle(self) -> None:
        """Deletes the future and what it left behind: the store may be looked at again."""
        if not self._future and self.pending is None:
            return
        trap, error = self.end_future()
        if trap:
            capi.trap_delete(trap)
        if error:
            capi.error_delete(error)

    # --- what it leaves behind --------------------------------------------------------------------------------------

    def forget_refusals(self) -> None:
        """What an earlier call was refused is no reason for the next one's failure."""
        if self._refusals is None:
            self._refusals = refusals.find(self.context, self.instances())
        if self._refusals:
            refusals.forget(self.context, self._refusals)

    def result(self) -> int:
        """The i32 that the last function returned."""
        return int(_I32.unpack_from(self._box, _RESULT)[0])

    def instances(self) -> list[int]:
        """Addresses of its modules' instances, the plugin's own first."""
        return [self._base + box.INSTANCE]

    @property
    def wasi(self) -> Wasi:
        """The state of its WASI, made when it is first used."""
        if self._wasi is None:
            self._wasi = Wasi(self.program.seed, self._rights or NONE, lambda level, line: self.call.log(level, line))
        return self._wasi

    def finish_call(self) -> None:
        """What its call used can be read from now on: no future any more, and what the guest wrote without an end of
        line is logged. Does nothing while a worker has the guest."""
        if self.lent:
            return
        self.settle()
        if self._wasi is not None:
            self._wasi.flush()
        usage = self.call.usage
        if not usage.memory:
            # Where it ended before it was counted.
            usage.memory = self.measure()[1]

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
        self.program.places.give_guest(self._spot, counted)

    def abandon(self) -> None:
        """A worker frees the guest: nobody waits for it any more."""
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_store", 0):
            self.close()
