"""What the commands that change bases share: the home's registry, what keeps bases, and bars on long work."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from innkeeper.cli.output import is_terminal, printable, write_error

if TYPE_CHECKING:
    from innkeeper.knowledge.files.decoding import Progress
    from innkeeper.knowledge.files.keeper import Keeper
    from innkeeper.knowledge.files.registry import Registry
    from innkeeper.knowledge.model.problems import Problem
    from innkeeper.plugins.home import Home

MOST_SHOWN = 20
"""Problems that are shown of one file; --json has all."""


def open_registry(home: str | None) -> tuple[Home, Registry]:
    """The home that a command means, and its global bases."""
    from innkeeper.knowledge.files.registry import Registry
    from innkeeper.plugins.home import open_home

    opened = open_home(home)
    return opened, Registry(opened.path, opened.doubt)


def writable_registry(home: str | None) -> tuple[Home, Registry]:
    """As `open_registry`, for a command that makes or registers a base.

    Raises:
        UsageError: the home is not believed, so that nothing there would count.
    """
    from innkeeper.plugins.home import refuse_doubted

    opened, registry = open_registry(home)
    refuse_doubted(opened.path, opened.doubt)
    return opened, registry


@asynccontextmanager
async def open_keeper(home: Home) -> AsyncIterator[Keeper]:
    """What keeps the bases of a home, for the time of an `async with`."""
    from innkeeper.composition.knowledge import open_knowledge
    from innkeeper.knowledge.joined.keeper import keeper_of
    from innkeeper.storage.run_model import USER

    async with open_knowledge(home) as knowledge:
        yield keeper_of(knowledge.bases, USER)


@contextmanager
def bar(title: str, shown: bool = True) -> Iterator[Progress | None]:
    """A bar on standard error for the time of a `with`, where that is a terminal; None elsewhere. What it gives may be
    called from a thread of trio's, and ends the work there once that is cancelled."""
    if not shown or not is_terminal(sys.stderr):
        yield _cancelled
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as drawn:
        task = drawn.add_task(printable(title, 60), total=None)

        def show(done: int, total: int) -> None:
            _cancelled(done, total)
            drawn.update(task, completed=done, total=max(total, 1))

        yield show


def _cancelled(_done: int, _total: int) -> None:
    import trio

    # Outside of such a thread nobody cancels.
    with contextlib.suppress(RuntimeError):
        trio.from_thread.check_cancelled()


def say_problems(name: str, problems: list[Problem]) -> None:
    """Says on standard error what was left out of a file."""
    for problem in problems[:MOST_SHOWN]:
        write_error(f"{name}: {problem}")
    if len(problems) > MOST_SHOWN:
        write_error(f"{name}: and {len(problems) - MOST_SHOWN:,} more (--json lists all)")


def problem_object(problem: Problem) -> dict[str, object]:
    """A problem as JSON says it."""
    return {"where": problem.where, "message": problem.message, "entry": problem.entry, "line": problem.line or None}
