"""The memories of a guest: where they are, how far they may grow, and what they take of the host's bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innkeeper.errors import BusyError, InternalError, LimitError
from innkeeper.sandbox import box, capi, growth, kernel, refusals
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.compilation.settings import RESERVATION
from innkeeper.sandbox.limits import DEFAULTS, Limits
from innkeeper.sandbox.variables import Variables
from innkeeper.sandbox.window import KernelWindow, Window

if TYPE_CHECKING:
    from innkeeper.sandbox.program import FiberProgram

_MEMORY, _KERNEL = growth.MEMORY.encode(), kernel.MEMORY.encode()


class Memories:
    """What of a `Guest` is about its memories. Each method wants a store without a future, or a callback of it.

    Attributes:
        program: what it is a guest of.
        call: the call that it works for.
        context: address of the store's context.
        counted_memory: bytes of linear memory, when they were last counted.
    """

    __slots__ = (
        "_base",
        "_counted",
        "_held",
        "_kernel_instance",
        "_kernel_limit",
        "_kernel_memory",
        "_kernel_pages",
        "_own_memory",
        "_variables",
        "_window",
        "call",
        "context",
        "counted_memory",
        "program",
    )

    _base: int
    context: int

    def __init__(self, program: FiberProgram, call: Call, counted: int) -> None:
        """Args:
        program: compiled and linked.
        call: the first call.
        counted: bytes of the host's memory budget that are taken for this guest already.
        """
        self.program = program
        self.call = call
        self.counted_memory = 0
        self._counted = counted
        self._variables: Variables | None = None
        self._own_memory = 0
        self._window: KernelWindow | None = None
        self._kernel_memory = 0
        self._kernel_instance = 0
        self._kernel_limit = 0
        self._kernel_pages = DEFAULTS.kernel_memory // kernel.PAGE
        # The limits that the kernel's memory is held by.
        self._held: Limits | None = None

    @property
    def has_kernel(self) -> bool:
        """Whether its kernel is there."""
        return self._window is not None

    @property
    def variables(self) -> Variables:
        """What `var_set` keeps; they live as long as the guest."""
        if self._variables is None:
            self._variables = Variables()
        return self._variables

    # --- finding them -----------------------------------------------------------------------------------------------

    def find_own(self, instance: int) -> None:
        """Finds the module's own memory. `instance`: its address."""
        at = self._base + box.MEMORIES
        if capi.instance_export(self.context, instance, _MEMORY, len(_MEMORY), at):
            self._own_memory = at + capi.EXTERN_OF

    def find_kernel(self, instance: int) -> None:
        """Finds the kernel's memory.

        Args:
            instance: address of the instance that has it.
        """
        at = self._base + box.KERNEL_MEMORY
        if not capi.instance_export(self.context, instance, _KERNEL, len(_KERNEL), at):
            raise InternalError("the kernel has no memory")
        self._kernel_memory = at + capi.EXTERN_OF
        limits = self.call.limits
        self._window = window = KernelWindow(
            self.context, self._kernel_memory, steady=limits.kernel_memory <= RESERVATION
        )
        if self.program.layout.starts:
            # A guest may allocate while it starts, before there is an input.
            window.lay_out(b"", kernel.capacity(0))
        self._kernel_instance = instance
        self._kernel_limit = max(limits.kernel_memory, kernel.PAGE)
        self.hold_kernel()

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

    # --- their sizes ------------------------------------------------------------------------------------------------

    def measure(self) -> tuple[int, int]:
        """Bytes of the largest memory of a module, and of all of them, the kernel's included."""
        own = self._own_memory
        size = capi.memory_data_size(self.context, own) if own else 0
        window = self._window
        if window is None:
            return size, size
        window.look()
        return size, size + window.size

    def check_memory(self) -> None:
        """Looks at what the limiter let through because the kernel may have more, and at what grew since the last tick.

        Raises:
            LimitError, BusyError: it is more than the guest, or all guests together, may have.
        """
        own, total = self.measure()
        call = self.call
        limit = call.limits.memory
        if own > limit:
            raise LimitError(
                f"the guest has {own} bytes of memory; the limit 'memory' is {limit}",
                limit="memory",
                value=limit,
                used=own,
            )
        if not self.count_memory(total):
            assert call.failure is not None
            raise call.failure

    def count_memory(self, memory: int | None = None) -> bool:
        """Takes what the guest's memories have grown by from the host's bound. False if it is not free: the call then
        ends with `busy`.

        Args:
            memory: bytes of all its memories, where the caller knows them.
        """
        # What it takes of the host: its memories, what its instances consist of, what it keeps in variables.
        self.counted_memory = memory = self.measure()[1] if memory is None else memory
        size = memory + self.program.layout.instance_size
        if self._variables is not None:
            size += self._variables.used
        if size <= self._counted:
            return True
        budget = self.program.places.memory
        if not budget.grow(size - self._counted):
            self.call.fail(
                BusyError(
                    f"the host was busy: the guests' memory together would exceed the bound of {budget.limit} bytes "
                    f"on {budget.name}; try again later, or raise 'guest_memory' in innkeeper.toml",
                    bound=budget.name,
                )
            )
            return False
        self._counted = size
        return True

    # --- how far they grow ------------------------------------------------------------------------------------------

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
        if window.size // kernel.PAGE + pages > self._kernel_most():
            raise MemoryError
        error = capi.memory_grow(self.context, self._kernel_memory, pages, self._base + box.OLD)
        if error:
            raise MemoryError(capi.take_error(error))
        window.look()

    def hold_kernel(self) -> None:
        """Holds the kernel's memory below what its call may have, and never above what it was opened with."""
        limits = self.call.limits
        if limits is self._held:
            return
        self._held = limits
        pages = self._kernel_most()
        if self._window is not None and pages != self._kernel_pages:
            refusals.hold_kernel_below(self.context, self._kernel_instance, pages)
            self._kernel_pages = pages

    def _kernel_most(self) -> int:
        # Pages: what the guest was opened with, and what this call may have.
        return min(self._kernel_limit, max(self.call.limits.kernel_memory, kernel.PAGE)) // kernel.PAGE

    def hold_own(self, instance: int) -> None:
        """Holds a module's memory below its limit, where the store's one limit for all memories is the kernel's, which
        is larger. `instance`: the module's address."""
        limits = self.call.limits
        if limits.memory < limits.kernel_memory:
            refusals.hold_below(self.context, instance, limits.memory // kernel.PAGE)
