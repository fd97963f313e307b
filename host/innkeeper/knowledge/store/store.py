"""The store of knowledge bases: one step changes text, keywords, terms, vectors and history together, or nothing."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import trio
from sqlalchemy import Connection

from innkeeper.errors import InnkeeperError
from innkeeper.knowledge.store import reading, staging
from innkeeper.knowledge.store import statements as sql
from innkeeper.knowledge.store.legs import Legs, Prepared, check_info, prepare
from innkeeper.knowledge.store.limits import AT_ONCE, BYTES_AT_ONCE, DEAD_AFTER, StoreQuota
from innkeeper.knowledge.store.settling import Tally, add_step, check_quota, info_values, legs_after, settle
from innkeeper.knowledge.store.values import Applied, BaseState, Change, InStep, Origin, Past, Step, Stored
from innkeeper.knowledge.store.writing import FoldingError, base_to_change, make_base, put_rows, where_of
from innkeeper.storage.database import Database
from innkeeper.storage.knowledge_model import Place, VersionError

T = TypeVar("T")

_TRIES: Final = 5
"""How often a large step begins again because somebody changed the same entries meanwhile."""


MOST_REMEMBERED: Final = 16 << 20
"""Characters of documents that one look into the history of an entry gives."""

_FETCHED: Final = 16


class KnowledgeStore:
    """What is kept of knowledge bases.

    All methods raise ValueError for names that are none, `NoSuchError` where there is no such base or entry, and what
    `Database.write` and `Database.read` raise.
    """

    def __init__(
        self, db: Database, legs: Legs, *, now: Callable[[], float] = time.time, quota: StoreQuota | None = None
    ) -> None:
        """Args:
        db: where it is kept.
        legs: makes what is kept beside documents.
        now: seconds since 1970; called from any thread.
        quota: what an owner's bases may have.
        """
        self.db = db
        self.legs = legs
        self.now = now
        self.quota = quota or StoreQuota()
        # The writer is everybody's: one step at a time, so that others' writes come in between.
        self._changing = trio.CapacityLimiter(1)
        self._preparing = trio.CapacityLimiter(1)

    async def state(self, place: Place) -> BaseState:
        """A base."""
        where = where_of(place)
        return await self.db.read(lambda connection: reading.read_state(connection, place, where))

    async def bases(self, owner: str) -> list[BaseState]:
        """An owner's bases in the order of their ids; a thousand at most."""
        where = where_of(Place(owner, "-"))
        return await self.db.read(
            lambda connection: [reading.state_of(row) for row in connection.execute(sql.BASES, where)]
        )

    async def create(self, place: Place, info: Mapping[str, Any]) -> BaseState:
        """Makes an empty base, or leaves alone the one that is there; gives what is there.

        Args:
            info: the top level of its file without `entries`.

        Raises:
            FullError: the owner has too many.
        """
        where = where_of(place)
        check_info(info)

        def write(connection: Connection) -> BaseState:
            make_base(connection, place, where, self.quota, self.now(), info, self.legs.key)
            return reading.read_state(connection, place, where)

        return await self.db.write(write)

    async def get(self, place: Place, id: str) -> Stored | None:
        """An entry, or None."""
        where = where_of(place)
        return await self.whole(place, lambda each: reading.read_entry_row(each, place, where, id))

    async def change(
        self,
        place: Place,
        changes: Sequence[Change],
        origin: Origin,
        *,
        info: Mapping[str, Any] | None = None,
        at: int | None = None,
        in_step: InStep | None = None,
    ) -> Applied:
        """Takes one step: all changes, or none. The base is made where it is missing and a change can make it.

        Cancelled before the step is valid, nothing happened; later, it happens.

        Args:
            changes: each entry once.
            origin: whose step it is.
            info: what the base says of itself from now on.
            at: the revision that the base must have.
            in_step: where the step brings the base in step with its file.

        Raises:
            KnowledgeError: a document is not one.
            VersionError: an entry, or the base, has another version than was expected.
            FullError: it does not fit.
            ValueError: a change is out of bounds, or the base is read-only.
        """
        where = where_of(place)
        check_info(info)
        first = await self._prepare(changes, 0)
        if len(first) < len(changes):
            for _ in range(_TRIES):
                applied = await self._large(place, where, changes, origin, info, at, in_step)
                if applied is not None:
                    return applied
            raise VersionError((await self.state(place)).revision)
        makes = any(change.document is not None and change.expect in (None, 0) for change in changes)

        def write(connection: Connection) -> Applied:
            now = self.now()
            create = self.legs.key if makes else None
            file = in_step is not None
            base = base_to_change(connection, place, where, self.quota, now, create=create, file=file)
            if at is not None and base.revision != at:
                raise VersionError(base.revision)
            values, before = info_values(base, info)
            tally = Tally(base.last)
            revision = base.revision
            if first or values:
                revision += 1
                if first:
                    put_rows(connection, place, where, first, tally, revision=revision, now=now, author=origin.author)
                check_quota(base, tally, self.quota, origin.author)
                add_step(connection, place, revision, now, origin, len(first), before, self.quota.infos)
            if in_step is not None:
                values |= {"digest": in_step.digest, "note": "", "refused": ""}
            values |= {"revision": revision, "legs": legs_after(base, self.legs.key)}
            settle(connection, where, base, tally, self.quota, values, now=now)
            return tally.applied(revision)

        async with self._changing:
            return await self.unfolded(place, lambda: self.db.write(write))

    async def history(
        self, place: Place, id: str, *, below: int = 1 << 62, most: int = 100, whole: bool = True
    ) -> list[Past]:
        """What was done to an entry, the newest first.

        Args:
            below: only steps below this revision.
            most: how many at most, 1 to 1000; fewer where what the entry was is more than `MOST_REMEMBERED`
                characters, but at least one.
            whole: whether documents come along; without, `before` is "" where there was one.
        """
        where = where_of(place)
        statement = sql.OF_ENTRY if whole else sql.MARKS_OF_ENTRY

        def read(connection: Connection) -> list[Past]:
            reading.read_state(connection, place, where)
            asked = {**where, "its_id": id, "below": min(below, 1 << 62), "most": min(most, 1000)}
            found: list[Past] = []
            size = 0
            result = connection.execute(statement, asked, execution_options={"yield_per": _FETCHED})
            try:
                for row in result:
                    past = reading.past_of(row)
                    size += len(past.before or "")
                    if found and size > MOST_REMEMBERED:
                        break
                    found.append(past)
            finally:
                result.close()
            return found

        return await self.read(place, read)

    async def steps(self, place: Place, *, below: int = 1 << 62, most: int = 100) -> list[Step]:
        """The steps of a base, the newest first."""
        where = where_of(place)

        def read(connection: Connection) -> list[Step]:
            reading.read_state(connection, place, where)
            rows = connection.execute(sql.STEPS, {**where, "below": min(below, 1 << 62), "most": min(most, 1000)})
            return [reading.step_of(row) for row in rows]

        return await self.read(place, read)

    async def whole(self, place: Place, function: Callable[[Connection], T]) -> T:
        """Reads with `function` in a thread, in one state in which no batch is half in place.

        Args:
            function: raises FoldingError where one is, as `reading.read_state(whole=True)` does.

        Raises:
            RejectedError: rows are not what a host writes, so that `function` cannot make anything of them.
        """
        return await self.unfolded(place, lambda: self.read(place, function))

    async def read(self, place: Place, function: Callable[[Connection], T]) -> T:
        """Reads with `function` in a thread, in one state.

        Raises:
            RejectedError: rows are not what a host writes, so that `function` cannot make anything of them.
        """

        def checked(connection: Connection) -> T:
            try:
                return function(connection)
            except InnkeeperError as error:
                said = error.with_traceback(None)
            except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError):
                # Nothing of that is said of rows that were checked when they were written.
                said = reading.damaged(place.base)
            # Here nothing holds what was being read any more: it is closed in this thread, before its connection is.
            raise said

        return await self.db.read(checked)

    async def clean(self, place: Place) -> None:
        """Finishes or removes what processes left that died: valid batches are put in place, others deleted."""
        where = where_of(place)
        state = await self.state(place)
        if state.folding:
            await self._fold(place, state.folding)
        before = self.now() - DEAD_AFTER
        dead = await self.db.read(lambda each: list(each.scalars(sql.DEAD_BATCHES, {**where, "before": before})))
        for batch in dead:
            await self._remove(where, batch)

    async def _remove(self, where: dict[str, Any], batch: str) -> None:
        while not await self.db.write(lambda connection: staging.clean(connection, where, batch)):
            pass

    async def unfolded(self, place: Place, work: Callable[[], Awaitable[T]]) -> T:
        """Does `work`, and where that finds a batch that is being put in place (FoldingError), after finishing it."""
        while True:
            try:
                return await work()
            except FoldingError as error:
                await self._fold(place, error.batch)

    async def _fold(self, place: Place, batch: str) -> None:
        where = where_of(place)

        def write(connection: Connection) -> Applied | None:
            return staging.fold(connection, place, where, self.quota, batch, self.now())

        while await self.db.write(write) is None:
            pass

    async def _prepare(self, changes: Sequence[Change], first: int) -> list[Prepared]:
        """The next changes that fit into one transaction, prepared; at least one, if there is one."""

        def work() -> list[Prepared]:
            made: list[Prepared] = []
            size = 0
            for prepared in prepare(changes[first : first + AT_ONCE], self.legs):
                size += prepared.size
                if made and size > BYTES_AT_ONCE:
                    break
                made.append(prepared)
            return made

        return await trio.to_thread.run_sync(work, limiter=self._preparing)

    async def _large(
        self,
        place: Place,
        where: dict[str, Any],
        changes: Sequence[Change],
        origin: Origin,
        info: Mapping[str, Any] | None,
        at: int | None,
        in_step: InStep | None,
    ) -> Applied | None:
        """A step of several transactions; None where somebody changed the same entries meanwhile."""
        ids = {change.id for change in changes}
        if len(ids) < len(changes):
            raise ValueError("an entry is changed twice in one step")
        batch = secrets.token_hex(8)

        def begin(connection: Connection) -> int:
            return staging.begin(connection, place, where, self.quota, batch, self.now(), origin, self.legs.key)

        seen = await self.unfolded(place, lambda: self.db.write(begin))
        if at is not None and seen != at:
            raise VersionError(seen)
        total = Tally(0.0)
        valid = False
        try:
            number = 0
            while number < len(changes):
                rows = await self._prepare(changes, number)

                def stage(connection: Connection, rows: list[Prepared] = rows, number: int = number) -> Tally:
                    return staging.stage(connection, place, where, batch, rows, number, self.now(), origin.author)

                tally = await self.db.write(stage)
                total.created, total.changed = total.created + tally.created, total.changed + tally.changed
                total.deleted, total.bytes = total.deleted + tally.deleted, total.bytes + tally.bytes
                number += len(rows)
            while not valid:

                def switch(connection: Connection, seen: int = seen) -> None:
                    staging.switch(
                        connection,
                        place,
                        where,
                        self.quota,
                        batch,
                        seen=seen,
                        tally=total,
                        author=origin.author,
                        now=self.now(),
                        info=info,
                        in_step=in_step,
                        legs=self.legs.key,
                    )

                try:
                    await self.unfolded(place, lambda: self.db.write(switch))
                    valid = True
                except staging.MovedError as error:
                    if at is not None:
                        raise VersionError(error.revision) from None
                    touched, seen = await self.whole(place, partial(reading.read_touched, place, where, seen))
                    if not touched.isdisjoint(ids):
                        return None
        finally:
            if not valid:
                with trio.CancelScope(shield=True):
                    await self._remove(where, batch)
        await self._fold(place, batch)
        return total.applied(seen + 1)
