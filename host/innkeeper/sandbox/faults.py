"""What ended a guest, in words: from a trap, an error or a failure to one of the closed list of errors."""

from __future__ import annotations

from innkeeper.errors import GuestError, InnkeeperError, LimitError, RejectedError
from innkeeper.sandbox import capi, kernel, refusals
from innkeeper.sandbox.guest import Guest
from innkeeper.sandbox.wasi import ProcExit
from innkeeper.sandbox.wasi.memory import MemoryFault
from innkeeper.sandbox.window import KernelWindow

_TEXT_MAX = 4096
"""Characters of a guest's own error text that are kept."""


def describe(guest: Guest, trap: int, error: int, *, starting: bool) -> BaseException | None:
    """What to raise after a future has ended; None if it went well. Deletes trap and error.

    Args:
        guest: without a future.
        trap: address of a trap, or 0.
        error: address of an error, or 0.
        starting: whether the guest was still starting; what traps there is not fit to run.
    """
    code, text = capi.take_trap(trap) if trap else (None, "")
    if error:
        text = capi.take_error(error)
    failure = guest.call.failure
    if failure is not None:
        return _from_failure(failure)
    if not trap and not error:
        return None
    if code == capi.TRAP_STACK_OVERFLOW:
        return LimitError(
            "the guest's stack overflowed: it calls itself too deep; the limit 'stack' is 512 KiB for all guests",
            limit="stack",
            value=guest.program.stack,
        )
    ran_out = _ran_out(guest)
    if ran_out is not None:
        return ran_out
    if code is None:
        return _trapped(
            RejectedError(f"the module does not start: {_first_line(text)}")
            if starting
            else GuestError(f"the guest ended: {_first_line(text)}")
        )
    words = capi.TRAP_NAMES.get(code, f"trap {code}")
    if starting:
        return _trapped(
            RejectedError(f"the module trapped while it started: {words}; ask its author for one that starts")
        )
    return _trapped(GuestError(f"the guest trapped: {words}"))


def _trapped(error: InnkeeperError) -> InnkeeperError:
    error.trap = True
    return error


def _from_failure(failure: BaseException) -> BaseException | None:
    if isinstance(failure, ProcExit):
        if failure.code == 0:
            return None
        return GuestError(f"the guest exited with code {failure.code}", code=failure.code)
    if isinstance(failure, MemoryFault):
        return _trapped(GuestError("the guest gave the host an offset or a length outside of its memory"))
    return failure


def _ran_out(guest: Guest) -> InnkeeperError | None:
    limits = guest.call.limits
    pages = refusals.memory_pages(guest.context, guest.instances()) if guest.has_instance else 0
    if pages:
        size = pages * kernel.PAGE
        limit = f"the limit 'memory' is {limits.memory}"
        return LimitError(
            f"the guest ran out of memory: it has {guest.measure()[0]} bytes and wanted {size}; "
            + (limit if size > limits.memory else f"the module's own maximum is less ({limit})"),
            limit="memory",
            value=limits.memory,
            used=size,
        )
    elements = refusals.table_elements(guest.context, guest.instances()) if guest.has_instance else 0
    if elements:
        limit = f"the limit 'table_elements' is {limits.table_elements}"
        return LimitError(
            f"the guest ran out of table elements: it wanted {elements}; "
            + (limit if elements > limits.table_elements else f"the module's own maximum is less ({limit})"),
            limit="table_elements",
            value=limits.table_elements,
            used=elements,
        )
    if guest.has_kernel:
        window = guest.kernel_window()
        block = window.word(kernel.RAN_OUT)
        if block:
            return LimitError(
                f"the guest ran out of memory for input, output and what passes between: it wanted a block of {block} "
                f"bytes; the limit 'kernel_memory' is {limits.kernel_memory}",
                limit="kernel_memory",
                value=limits.kernel_memory,
                used=block,
            )
    return None


def own_error(window: KernelWindow, offset: int) -> str:
    """The text that the guest gave to `error_set`. What it claims is checked like everything it writes.

    Args:
        offset: what it gave.
    """
    try:
        if offset < kernel.HEADER:
            raise MemoryFault(offset, 0)
        length = window.word(offset - kernel.HEADER)
        data = window.read(offset, min(length, _TEXT_MAX)) if length <= window.size else b""
    except MemoryFault:
        data = b""
    return data.decode("utf-8", "replace") or "(the guest set an error without a text)"


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("0:")]
    cause = next((line for line in reversed(lines) if line[:1].isdigit() and ":" in line), None)
    return cause.split(":", 1)[1].strip() if cause else (lines[0] if lines else "for a reason that it does not give")
