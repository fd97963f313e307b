"""Runs and schedules of a home as commands reach them: through the database, beside a host that may be running."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from innkeeper.cli.records import database_of, open_kept, say_doubted
from innkeeper.errors import Kind, RejectedError, UsageError

if TYPE_CHECKING:
    from innkeeper.plugins.home import Home
    from innkeeper.storage.database import Database
    from innkeeper.storage.run_model import Ended, QueueBounds, StoredRun
    from innkeeper.storage.run_store import RunStore
    from innkeeper.storage.schedules import ScheduleStore
    from innkeeper.storage.schedules_model import Schedule
    from innkeeper.workflow.scheduling.events import SqlEvents

T = TypeVar("T")

LOCK: Final = "work.lock"
"""The file in a home's `state` that `innkeeper work` holds while it runs."""

_SHORTEST = 4
"""Characters of an id that stand for all of it."""


@dataclass(frozen=True)
class KeptRuns:
    """What a home keeps of runs. What a command does not need it does not import.

    Attributes:
        database: where it lies.
        bounds: how many runs may be queued.
    """

    database: Database
    bounds: QueueBounds

    @cached_property
    def runs(self) -> RunStore:
        """The runs."""
        from innkeeper.storage.run_store import RunStore

        return RunStore(self.database, bounds=self.bounds)

    @cached_property
    def schedules(self) -> ScheduleStore:
        """The schedules."""
        from innkeeper.storage.schedules import ScheduleStore

        return ScheduleStore(self.database, bounds=self.bounds)

    @cached_property
    def events(self) -> SqlEvents:
        """What runs said."""
        from innkeeper.workflow.scheduling.events import SqlEvents

        return SqlEvents(self.database)

    async def find(self, name: str) -> StoredRun:
        """A run by its id, or by the beginning of it where no other of the newest begins so.

        Raises:
            UsageError: there is none, or there are several.
        """
        found = await self.runs.find(name, time.time())
        if found is not None:
            return found
        newest = await self.runs.list(time.time()) if len(name) >= _SHORTEST else []
        close = [run for run in newest if run.id.startswith(name)]
        if len(close) == 1:
            return close[0]
        if close:
            raise UsageError(f"{name[:100]!r} stands for {len(close)} runs: write more of the id")
        raise UsageError(f"there is no run {name[:100]!r}; `innkeeper runs` lists them")

    async def find_schedule(self, name: str) -> Schedule:
        """A schedule by its id, the beginning of it, or its name where no other has it.

        Raises:
            UsageError: there is none, or there are several.
        """
        found = await self.schedules.find(name)
        if found is not None:
            return found
        each = await self.schedules.list()
        close = [one for one in each if one.name == name]
        close = close or [one for one in each if len(name) >= _SHORTEST and one.id.startswith(name)]
        if len(close) == 1:
            return close[0]
        if close:
            raise UsageError(f"{name[:100]!r} stands for {len(close)} schedules: write the id")
        raise UsageError(f"there is no schedule {name[:100]!r}; `innkeeper schedule list` lists them")


@asynccontextmanager
async def open_runs(home: Home, *, make: bool) -> AsyncIterator[KeptRuns | None]:
    """What a home keeps of runs, for the time of an `async with`; None where nothing was ever kept.

    Args:
        home: the home.
        make: whether the database is made where there is none.

    Raises:
        RejectedError, BusyError, UsageError: as `storage.database.open_database`.
    """
    from innkeeper.storage.database import open_database

    opening = open_database(database_of(home), readers=2) if make else open_kept(home)
    async with opening as database:
        yield None if database is None else kept_in(database, home)


def kept_in(database: Database, home: Home) -> KeptRuns:
    """What a database keeps of runs, with the bounds of a home."""
    from innkeeper.storage.run_model import QueueBounds

    settings = home.configuration.runs
    return KeptRuns(database, QueueBounds(settings.queued, settings.queued_by_all))


def on_runs(
    home: str | None,
    work: Callable[[KeptRuns], Awaitable[T]],
    *,
    make: bool = False,
    nothing: Callable[[], T] | None = None,
) -> T:
    """Runs a function on what a home keeps.

    Args:
        home: as `open_home`.
        work: the function.
        make: whether it keeps something new, which only a home that counts does.
        nothing: called instead where nothing was ever kept; None: that is an error.

    Raises:
        UsageError: nothing was ever kept; or the home does not count and `make` is true.
        as `open_runs`.
    """
    import trio

    from innkeeper.plugins.home import open_home, refuse_doubted

    opened = open_home(home)
    if make:
        refuse_doubted(opened.path, opened.doubt)

    async def main() -> T:
        await say_doubted(opened)
        async with open_runs(opened, make=make) as kept:
            if kept is None:
                if nothing is None:
                    raise UsageError("nothing ever ran from the queue of this home")
                return nothing()
            return await work(kept)

    return trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)


def works(home: Home) -> bool:
    """Whether an `innkeeper work` of this home runs on this machine, or may run on another (bool). Blocks on a file."""
    from innkeeper.composition.databases import database_server
    from innkeeper.storage.process_lock import ProcessLock

    if database_server(home):
        return True
    path = home.state.absolute() / LOCK
    if not path.exists():
        return False
    lock = ProcessLock(path)
    taken = lock.take()
    lock.release()
    return not taken


# --- as they are said -------------------------------------------------------------------------------------------------


def run_object(run: StoredRun) -> dict[str, Any]:
    """A run as JSON says it."""
    return {
        "run": run.id,
        "name": run.name,
        "status": run.status,
        "owner": run.account.owner,
        "plugin": run.account.plugin or None,
        "schedule": run.schedule or None,
        "priority": run.priority,
        "deadline": run.deadline,
        "after_crash": run.after_crash,
        "cancel": run.cancel,
        "attempt": run.attempt,
        "submitted": run.submitted,
        "started": run.started,
        "ended": run.ended,
        "seq": run.seq,
    }


def failure_of(ended: Ended) -> Mapping[str, Any] | None:
    """Why a run failed ({kind, message, node, plugin}), or None."""
    if not ended.error:
        return None
    try:
        found = json.loads(ended.error)
    except (ValueError, RecursionError):
        raise damaged(ended.run.id) from None
    return found if isinstance(found, dict) else None


def damaged(run: str) -> RejectedError:
    """What is said where what the database keeps of a run (its id) cannot be read."""
    return RejectedError(
        f"what the database keeps of the run {run!r} is damaged: put back a copy of the database, or do without the run"
    )


def exit_code(ended: Ended) -> int:
    """What a command ends with that waited for a run: 0, or the exit code of the kind of failure."""
    status = ended.run.status
    if status in ("cancelled", "interrupted"):
        return Kind.CANCELLED.exit_code
    if status != "error":
        return 0
    kind = (failure_of(ended) or {}).get("kind")
    known = {each.value: each for each in Kind}
    return known.get(str(kind), Kind.INTERNAL).exit_code


def failure_line(ended: Ended) -> str:
    """Why a run came to nothing, as one line; "" where it did not."""
    failure = failure_of(ended)
    if failure is None:
        return "" if ended.run.status in ("complete", "queued", "running") else f"the run was {ended.run.status}"
    where = [f"{word} {failure[word]!r}" for word in ("node", "plugin") if failure.get(word)]
    return f"{', '.join(where)}: {failure.get('message')}" if where else str(failure.get("message"))


def outputs_of(ended: Ended) -> dict[str, Any]:
    """A run's outputs by key, as plain data.

    Raises:
        RejectedError: they are damaged.
    """
    import msgpack

    if ended.outputs is None:
        return {}
    try:
        found: Any = msgpack.unpackb(ended.outputs, unicode_errors="surrogatepass", strict_map_key=False)
    except (ValueError, RecursionError):
        raise damaged(ended.run.id) from None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise damaged(ended.run.id)
    return found


def time_text(at: float | None) -> str:
    """A time for people, in the machine's time zone; "-" for None."""
    return _local("%Y-%m-%d %H:%M:%S", at, "-")


def clock_text(at: float | None) -> str:
    """The time of day for people, in the machine's time zone; "--:--:--" for None."""
    return _local("%H:%M:%S", at, "--:--:--")


def _local(pattern: str, at: float | None, unknown: str) -> str:
    if at is None:
        return unknown
    try:
        return time.strftime(pattern, time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return unknown


def duration_text(seconds: float | None) -> str:
    """A duration for people: "12 ms", "3.4 s", "5:07 min", "2:10:00 h"; "-" for None."""
    if seconds is None:
        return "-"
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"
