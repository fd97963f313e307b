"""Keeps a base and its file in step, both ways.

The file is looked at when the base is opened, and now and then while it is open. Whatever dies at whatever moment, the
file is the old one or the new one, the base has a step or not, and the next look finds what is left to do: what was
last in step (a digest and a revision) is changed only after both are.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import trio
from sqlalchemy import Connection

from innkeeper.errors import BusyError, UsageError
from innkeeper.knowledge.model.bounds import MOST_FILE
from innkeeper.knowledge.model.problems import KnowledgeError
from innkeeper.knowledge.settling import unsearched
from innkeeper.knowledge.store import binding, reading
from innkeeper.knowledge.store import statements as sql
from innkeeper.knowledge.store.merging import Ours, Plan, Row, Theirs, merge
from innkeeper.knowledge.store.store import KnowledgeStore
from innkeeper.knowledge.store.values import FILE, BaseState, InStep, Origin
from innkeeper.knowledge.store.writing import where_of
from innkeeper.storage.knowledge_model import Place, VersionError
from innkeeper.storage.process_lock import ProcessLock

LOCK: Final = "knowledge.lock"
"""The lock file beside the database: one process at a time brings bases in step with their files."""

PATIENCE: Final = 10.0
"""Seconds to wait for another process that does so."""

_TRIES: Final = 5

_GONE: Final = "gone"
"""In place of the digest of a file that is not there."""


class FileState(Protocol):
    """What a file has."""

    @property
    def info(self) -> Mapping[str, Any]:
        """The top level without `entries`."""
        ...

    @property
    def documents(self) -> Sequence[Mapping[str, Any]]:
        """Its entries in their order; no id twice, each a sound entry."""
        ...

    @property
    def digest(self) -> str:
        """sha256 of the file's bytes, hexadecimal."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether a newer version wrote it, so that it must not be written."""
        ...


class BaseFiles(Protocol):
    """Reads and writes the file of a base. Blocks, for a thread."""

    def read(self, path: Path) -> FileState:
        """What a file has.

        Raises:
            KnowledgeError: it is no base, or has a mistake; with line and key.
            UsageError: it cannot be read.
        """
        ...

    def write(self, path: Path, info: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> str:
        """Replaces a file by a new one, which is there whole or not at all; gives the sha256 of its bytes (str).

        Raises:
            KnowledgeError, UsageError: it cannot be written.
        """
        ...


class _MovedError(Exception):
    """The file is not the one that was read."""


class FileSync:
    """Brings bases in step with their files, one at a time."""

    def __init__(self, store: KnowledgeStore, files: BaseFiles) -> None:
        """Args:
        store: of the bases.
        files: reads and writes files.

        Raises:
            UsageError: the database is on a server, and nobody said which folder belongs to it.
        """
        folder = store.db.location.folder
        if folder is None:
            raise UsageError(f"the database {store.db.name!r} has no folder beside it, so no base of it has a file")
        self._store = store
        self._files = files
        self._lock = ProcessLock(folder.absolute() / LOCK)
        self._turn = trio.Lock()
        self._seen: dict[str, tuple[tuple[int, int, int], str]] = {}
        self._threads = trio.CapacityLimiter(1)

    async def step(self, place: Place) -> bool:
        """Brings a base in step with its file; True where there was something to do.

        A file that cannot be read changes nothing but what the base notes of it.

        Raises:
            BusyError: another process does so for longer than `PATIENCE`, or somebody changes one of both all the time.
            UsageError: the file cannot be written.
        """
        state = await self._store.state(place)
        if not state.file or not await self._is_due(state):
            return False
        async with self._locked():
            with unsearched(state.entries):
                return await self._steps(place)

    async def _steps(self, place: Place) -> bool:
        for _ in range(_TRIES):
            try:
                await self._step(place, await self._store.state(place))
                return True
            except (VersionError, _MovedError):
                continue
        raise BusyError(
            f"the knowledge base {place.base!r} and its file are changed all the time: try again", bound="database"
        )

    async def _is_due(self, state: BaseState) -> bool:
        digest = await self._digest(Path(state.file))
        if (digest or _GONE) == state.refused:
            return False
        return digest != state.digest or state.revision != state.synced or bool(state.refused) or not state.digest

    async def _step(self, place: Place, state: BaseState) -> None:
        path = Path(state.file)
        digest = await self._digest(path)
        if (digest or _GONE) == state.refused:
            return
        if digest is None and state.digest:
            gone = f"its file {path.name!r} is gone: put it back, or write it with `innkeeper kb export`"
            await binding.refuse(self._store, place, _GONE, [gone])
            return
        if digest is not None and digest != state.digest:
            await self._take(place, state, path, digest)
            return
        if state.refused:
            # Somebody put back what was in step.
            await binding.refuse(self._store, place, "", [])
        if state.revision != state.synced or not state.digest:
            await self._write(place, path, digest)

    async def _take(self, place: Place, state: BaseState, path: Path, digest: str) -> None:
        try:
            read = await trio.to_thread.run_sync(self._files.read, path, limiter=self._threads)
        except KnowledgeError as error:
            notes = [f"its file {path.name!r} is not used, and the last good state stays:", *str(error).splitlines()]
            await binding.refuse(self._store, place, digest, notes)
            return
        except UsageError as error:
            await binding.refuse(self._store, place, digest, [error.message])
            return
        ours, revision = await self._ours(place, state)
        theirs = Theirs(read.info, read.documents)
        plan: Plan = await trio.to_thread.run_sync(merge, ours, theirs, limiter=self._threads)
        applied = await self._store.change(
            place, plan.changes, Origin(FILE), info=plan.info, at=revision, in_step=InStep(read.digest)
        )
        read_only, notes, write, taken = read.read_only, plan.notes, plan.write, read.digest
        # To let go of a hundred thousand documents takes longer than trio's thread may be kept.
        gone = [read, ours, theirs, plan]
        del read, ours, theirs, plan
        await trio.to_thread.run_sync(gone.clear, limiter=self._threads)
        if read_only != state.read_only:
            await binding.mark_read_only(self._store, place, read_only)
        if notes:
            await binding.remark(self._store, place, notes)
        if write and not read_only:
            await self._write(place, path, taken)
        else:
            await binding.written(self._store, place, taken, applied.revision)

    async def _ours(self, place: Place, state: BaseState) -> tuple[Ours, int]:
        where = where_of(place)

        def read(connection: Connection) -> tuple[Ours, int]:
            now = reading.read_state(connection, place, where, whole=True)
            rows = {
                each.id: Row(each.document, each.version, each.position)
                for each in reading.stream(connection, where, full=False)
            }
            before: dict[str, str | None] = {}
            if now.revision != state.synced:
                since = connection.execute(sql.FIRST_SINCE, {**where, "since": state.synced})
                before = {row.entry: row.before for row in since}
            return Ours(rows, state.synced, before, now.info), now.revision

        ours, revision = await self._store.whole(place, read)
        info_before = await binding.info_since(self._store, place, state.synced)
        return Ours(ours.rows, ours.synced, ours.before, ours.info, info_before), revision

    async def _write(self, place: Place, path: Path, expected: str | None) -> None:
        where = where_of(place)

        # They come and go in threads: to let go of so many takes a while, too.
        documents: list[dict[str, Any]] = []

        def read(connection: Connection) -> BaseState:
            state = reading.read_state(connection, place, where, whole=True)
            documents[:] = [each.plain() for each in reading.stream(connection, where, full=False)]
            return state

        state = await self._store.whole(place, read)

        def write() -> str:
            try:
                # Somebody may have saved it since it was looked at. What is left of the time in between is the writing
                # of a name.
                if _digest_of(path) != expected:
                    raise _MovedError
                return self._files.write(path, state.info, documents)
            finally:
                documents.clear()

        digest = await trio.to_thread.run_sync(write, limiter=self._threads)
        await binding.written(self._store, place, digest, state.revision)

    async def _digest(self, path: Path) -> str | None:
        """sha256 of a file, or None where there is none; not read again where nothing says that it changed."""

        def work() -> str | None:
            try:
                status = os.stat(path)
            except OSError:
                return None
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            seen = self._seen.get(str(path))
            if seen is not None and seen[0] == stamp:
                return seen[1]
            digest = _digest_of(path)
            # One that was written just now may be written again without another time.
            if digest is not None and self._store.now() - status.st_mtime > 2.0:
                self._seen[str(path)] = (stamp, digest)
            return digest

        return await trio.to_thread.run_sync(work, limiter=self._threads)

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        async with self._turn:
            await self._take_lock()
            try:
                yield
            finally:
                self._lock.release()

    async def _take_lock(self) -> None:
        ends = trio.current_time() + PATIENCE
        while not await trio.to_thread.run_sync(self._lock.take, limiter=self._threads):
            if trio.current_time() > ends:
                raise BusyError("another process brings knowledge bases and files in step: try again", bound="database")
            await trio.sleep(0.05)


def _digest_of(path: Path) -> str | None:
    try:
        # Opening a pipe waits for whoever writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return "no regular file"
    with os.fdopen(descriptor, "rb") as file:
        try:
            if status.st_size > MOST_FILE:
                return f"larger than {MOST_FILE} bytes"
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return "not readable"


def notes_of(state: BaseState) -> list[str]:
    """What every command and answer says of a base's file (list of sentences)."""
    return [f"knowledge base {state.base!r}: {note}" for note in state.note]
