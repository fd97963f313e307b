"""What commands that work on kept bases share: finding a base, the store that keeps it, a user's mistakes as such."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from innkeeper.cli.output import write_error
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.knowledge.files.known import Known
    from innkeeper.knowledge.joined.opening import Knowledge
    from innkeeper.knowledge.model.problems import KnowledgeError
    from innkeeper.plugins.home import Home
    from innkeeper.storage.knowledge_model import Place

T = TypeVar("T")


@asynccontextmanager
async def open_bases(
    home: Home, texts: Sequence[str], *, notes: bool = True
) -> AsyncIterator[tuple[Knowledge, list[Place]]]:
    """Some bases of a home, for the time of an `async with`: those that lie in its folders or are registered, taken up
    if no command did so before, and those that only the store has. What was changed is in the files afterwards.

    Args:
        home: whose they are.
        texts: each the id, alias, name or path of a base.
        notes: whether what is to be said of their files is said on standard error afterwards.

    Raises:
        KnowledgeError, UsageError: there is no such base, or it cannot be used.
        RejectedError, BusyError: as `storage.database.open_database`.
    """
    import trio

    from innkeeper.composition.knowledge import open_knowledge
    from innkeeper.knowledge.joined.keeper import keeper_of
    from innkeeper.storage.knowledge_model import NoSuchError, Place
    from innkeeper.storage.run_model import USER

    found = await trio.to_thread.run_sync(_all_known, home, texts)
    async with open_knowledge(home) as knowledge:
        keeper = keeper_of(knowledge.bases, USER)
        places: list[Place] = []
        for text, (known, error) in zip(texts, found, strict=True):
            if known is not None:
                await keeper.follow(known)
            elif error is not None and not await _is_kept(knowledge, Place(USER, text)):
                raise error
            places.append(Place(USER, text if known is None else known.id))
        try:
            yield knowledge, places
        finally:
            with trio.CancelScope(shield=True):
                await knowledge.bases.library.flush()
            for place in dict.fromkeys(places if notes else ()):
                with suppress(NoSuchError):
                    for note in knowledge.bases.library.notes(place):
                        write_error(f"innkeeper: {note}")


def with_base(home: str | None, base: str, work: Callable[[Knowledge, Place], Awaitable[T]]) -> T:
    """Runs `work` on a base of a home.

    Args:
        home: --home, or None.
        base: id, alias, name or path of the base.
        work: gets the knowledge bases of the home, and the base's place.

    Raises:
        KnowledgeError, UsageError: there is no such base or entry, or it was changed meanwhile.
    """
    import trio

    from innkeeper.plugins.home import open_home
    from innkeeper.storage.knowledge_model import FullError, NoSuchError, VersionError

    opened = open_home(home)

    async def main() -> T:
        async with open_bases(opened, [base]) as (knowledge, (place,)):
            try:
                return await work(knowledge, place)
            except (NoSuchError, VersionError, FullError, ValueError) as error:
                raise UsageError(str(error)) from None

    return trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)


def _all_known(home: Home, texts: Sequence[str]) -> list[tuple[Known | None, KnowledgeError | None]]:
    """What the registry of a home knows by each text; None where it knows nothing, and what it says then."""
    from innkeeper.cli.records import database_of
    from innkeeper.knowledge.files.registry import Registry
    from innkeeper.knowledge.model.problems import KnowledgeError

    registry = Registry(home.path, home.doubt)
    found: list[tuple[Known | None, KnowledgeError | None]] = []
    for text in texts:
        try:
            found.append((registry.find(text), None))
        except KnowledgeError as error:
            missing = error
            broken = [known for known in registry.bases(whole=False) if known.problem and known.path.name == text]
            if broken:
                missing = KnowledgeError(broken[0].problem, source=broken[0].label)
            # A base that plugins made has no file, and one whose file is broken has its last good state. But a look
            # makes no database.
            if home.doubt or not database_of(home).may_be_there():
                raise missing from None
            found.append((None, missing))
    return found


async def _is_kept(knowledge: Knowledge, place: Place) -> bool:
    from innkeeper.storage.knowledge_model import NoSuchError

    try:
        await knowledge.bases.base(place)
    except (NoSuchError, ValueError):
        return False
    return True


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
