"""What commands that work on kept bases share: the library of a home, and a user's mistakes as such."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from innkeeper.cli.output import write_error
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.knowledge.library import Library
    from innkeeper.storage.knowledge_model import Place

T = TypeVar("T")


@asynccontextmanager
async def open_bases(home: str | None) -> AsyncIterator[Library]:
    """The library of a home, for the time of an `async with`; what it changed is in the files afterwards.

    Raises:
        UsageError: nothing was ever kept there.
        RejectedError, BusyError: as `storage.database.open_database`.
    """
    from innkeeper.cli.records import open_kept
    from innkeeper.plugins.home import open_home

    async with open_kept(open_home(home)) as database:
        if database is None:
            raise UsageError("this home keeps no knowledge bases: make one with `innkeeper kb new` or `kb import`")
        from innkeeper.knowledge.opening import open_library

        library = open_library(database)
        try:
            yield library
        finally:
            await library.aclose()


def with_base(home: str | None, base: str, work: Callable[[Library, Place], Awaitable[T]]) -> T:
    """Runs `work` on a base of a home, and says what is to be said of its file.

    Args:
        home: --home, or None.
        base: id of the base.
        work: gets the library, and the base's place.

    Raises:
        UsageError: there is no such base or entry, or it was changed meanwhile.
    """
    import trio

    from innkeeper.bridge.bridge import OWNER
    from innkeeper.storage.knowledge_model import FullError, NoSuchError, Place, VersionError

    async def main() -> T:
        async with open_bases(home) as library:
            place = Place(OWNER, base)
            try:
                await library.base(place)
                return await work(library, place)
            except (NoSuchError, VersionError, FullError, ValueError) as error:
                raise UsageError(str(error)) from None
            finally:
                for note in library.notes(place):
                    write_error(f"innkeeper: {note}")

    return trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)


def plain_time(at: float) -> str:
    """A time as people read it, in the zone of this machine (str)."""
    import time

    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (OverflowError, OSError, ValueError):
        return "-"


def applied_object(base: str, applied: Any) -> dict[str, Any]:
    """What a step did, as JSON says it."""
    counts = {"created": applied.created, "changed": applied.changed, "deleted": applied.deleted}
    return {"base": base, "revision": applied.revision, **counts}
