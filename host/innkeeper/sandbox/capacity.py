"""What all calls share: a budget that callers wait for, first in, first out."""

from __future__ import annotations

import contextlib
import threading
from collections import deque

import trio

from innkeeper.errors import BusyError
from innkeeper.sandbox.clock import WallClock


class Budget:
    """An amount that calls take from and give back.

    Guarantees: what is taken never exceeds the limit, but for `take_anyway`; who waits is served in the order of
    arrival, so a large request is not overtaken for ever by small ones; who is cancelled while it waits takes nothing.
    `take_now`, `take_anyway` and `give` are safe from any thread; the rest belongs to trio's thread.

    Attributes:
        name: for messages.
        limit: the whole amount (int; its unit is the owner's).
        taken: what is in use.
        line: amounts and tasks of those who wait; whoever looks at it has the lock.
    """

    __slots__ = ("_lock", "_token", "limit", "line", "name", "taken")

    def __init__(self, name: str, limit: int, lock: threading.RLock | None = None) -> None:
        """Args:
        name: for messages.
        limit: the whole amount.
        lock: of the budgets that are taken together; its own where None. Reentrant: the garbage collector may run
            inside of it, and free a guest.
        """
        self.name = name
        self.limit = limit
        self.taken = 0
        self.line: deque[tuple[int, trio.lowlevel.Task]] = deque()
        self._lock = threading.RLock() if lock is None else lock
        self._token: trio.lowlevel.TrioToken | None = None

    @property
    def waiting(self) -> int:
        """How many callers wait."""
        return len(self.line)

    def take_now(self, amount: int) -> bool:
        """Takes `amount` if it is free and nobody waits."""
        with self._lock:
            if self.line or self.taken + amount > self.limit:
                return False
            self.taken += amount
            return True

    def grow(self, amount: int) -> bool:
        """Takes `amount` for one that is inside already, if it is free: those who wait outside do not hold it up."""
        with self._lock:
            if self.taken + amount > self.limit:
                return False
            self.taken += amount
            return True

    def take_anyway(self, amount: int) -> None:
        """Takes `amount` even beyond the limit: for one that was inside before and may not be made to wait."""
        with self._lock:
            self.taken += amount

    async def take(self, amount: int, clock: WallClock) -> None:
        """Takes `amount`, waiting for it until the call's deadline, which then ends the call with `busy`.

        Raises:
            BusyError: it is more than there will ever be; everybody else would wait behind it.
        """
        if self.take_now(amount):
            return
        if amount > self.limit:
            raise BusyError(
                f"the call needs {amount} of the bound of {self.limit} on {self.name}; raise that bound in "
                "innkeeper.toml",
                bound=self.name,
            )
        clock.bound = self.name
        clock.arm()
        task = trio.lowlevel.current_task()
        entry = (amount, task)
        self._token = trio.lowlevel.current_trio_token()
        with self._lock:
            self.line.append(entry)

        def abort(_: object) -> trio.lowlevel.Abort:
            with self._lock:
                self.line.remove(entry)
            self._serve()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        clock.bound = None

    def give(self, amount: int) -> None:
        """Gives `amount` back and wakes those for whom there is room now."""
        with self._lock:
            self.taken -= amount
            if not self.line:
                return
            token = self._token
        assert token is not None
        if trio.lowlevel.in_trio_run() and trio.lowlevel.current_trio_token() is token:
            self._serve()
        else:
            # From a worker or a finalizer: waking is for trio's thread.
            self._serve_soon(token)

    def _serve(self) -> None:
        while True:
            with self._lock:
                if not self.line or self.taken + self.line[0][0] > self.limit:
                    return
                if trio.lowlevel.in_trio_task() and self.line[0][1] is trio.lowlevel.current_task():
                    # It gives back on its way into its own wait: a task that is about to sleep cannot be woken yet.
                    self._serve_soon(trio.lowlevel.current_trio_token())
                    return
                amount, task = self.line.popleft()
                self.taken += amount
            trio.lowlevel.reschedule(task)

    def _serve_soon(self, token: trio.lowlevel.TrioToken) -> None:
        # A run that has ended has nobody who waits; one that crashed has closed its wake-up socket.
        with contextlib.suppress(trio.RunFinishedError, OSError):
            token.run_sync_soon(self._serve)
