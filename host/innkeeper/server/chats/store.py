"""The chats of all users: read through a cache, and changed one version at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from innkeeper.errors import InnkeeperError, RejectedError
from innkeeper.server.answers import AnswerError
from innkeeper.server.cache.caches import Caches
from innkeeper.server.cache.interface import Loaded
from innkeeper.server.cache.invalidations import Invalidation
from innkeeper.server.chats import bounds
from innkeeper.server.chats.edits import stamped
from innkeeper.server.chats.encoding import decoded, encoded
from innkeeper.server.chats.folder import ANY_FILE, ChangedError, Expected, Folder, Folders, Stamp
from innkeeper.server.chats.model import ChatHistoryTree
from innkeeper.server.chats.names import is_project, is_session, new_session
from innkeeper.server.chats.places import Kept, Place, now
from innkeeper.server.chats.sessions import ChatSession, summary
from innkeeper.server.files.bin import ITEM, ORIGIN, new_entry, origin_of
from innkeeper.server.files.logical import USER, LogicalPath
from innkeeper.server.files.roots import BIN

Edit = Callable[[ChatHistoryTree], ChatHistoryTree]
"""Makes a tree of a tree (`edits`). In a thread."""

THREADS: Final = 2
"""Threads that parse, check and encode: as many as help beside a thread that serves."""

_TIMES, _EACH = 4, 2_500
"""Bytes of memory that a tree takes for each byte of its file and for each message, as measured, with room."""


class Chats:
    """Reads and changes sessions. What is read is what the file holds at that time, whoever wrote it: the cache is
    believed only where the file's stamp is the one that was read."""

    def __init__(self, folders: Folders, caches: Caches) -> None:
        """Args:
        folders: of users.
        caches: make the two that stand before the files.
        """
        self.folders = folders
        self.limiter = trio.CapacityLimiter(THREADS)
        """Of threads that compute."""
        self.counting = trio.Lock()
        """Held while sessions or assets are counted and one is added."""
        self._trees = caches.named("chats", entries=bounds.KEPT, size=bounds.KEPT_SIZE, ttl=bounds.KEPT_FOR)
        self._summaries = caches.named("chat-sessions", entries=5_000, size=16 << 20, ttl=bounds.KEPT_FOR)

    async def place(self, uid: str, session: str, project: str | None) -> Place:
        """Where a session is; without its project, which clients do not always send, all of the user's are asked.

        Raises:
            AnswerError: 404: there is none; 409: two projects have one of this id.
        """
        if not is_session(session) or (project is not None and not is_project(project)):
            raise _missing()
        folder = self.folders(uid)
        if project is not None:
            found = [project]
        else:
            items = await folder.items("projects", most=bounds.MOST_PROJECTS)
            found = [
                item.name
                for item in items
                if item.is_folder
                and is_project(item.name)
                and await folder.stat(*Place(uid, item.name, session).file) is not None
            ]
        if len(found) > 1:
            raise AnswerError(409, "several projects have a session of this id: say which with projectId", found[:10])
        if not found:
            raise _missing()
        return Place(uid, found[0], session)

    async def read(self, place: Place) -> Kept:
        """A session.

        Raises:
            AnswerError: 404: there is none.
            BrokenTreeError: its file is no chat.
        """
        stamp = await self.folders(place.uid).stat(*place.file)
        key = self._key(place)
        if stamp is None:
            await self._trees.invalidate(Invalidation("key", key))
            raise _missing()
        kept: Kept = await self._trees.load(key, lambda: self._load(place))
        if kept.stamp != stamp:
            await self._trees.invalidate(Invalidation("key", key))
            kept = await self._trees.load(key, lambda: self._load(place))
        return kept

    async def change(self, place: Place, version: int, edit: Edit) -> Kept:
        """Changes a session, or nothing: of all who change one version, one does.

        Args:
            place: where it is.
            version: that the change was made from.
            edit: makes the new tree.

        Raises:
            AnswerError: 404: there is none; 409: it has another version, which the details say; whatever `edit` says.
            BrokenTreeError: the chat is too large now.
        """
        kept = await self.read(place)
        if kept.tree.version != version:
            raise _conflict(kept.tree.version)

        def made() -> tuple[ChatHistoryTree, bytes]:
            tree = stamped(edit(kept.tree), version + 1, now())
            return tree, encoded(tree)

        tree, data = await trio.to_thread.run_sync(made, limiter=self.limiter)
        try:
            return await self._write(place, tree, data, kept.stamp)
        except ChangedError:
            raise _conflict((await self.read(place)).tree.version) from None

    async def create(self, uid: str, project: str, tree: Callable[[str], ChatHistoryTree], wanted: str = "") -> Place:
        """Makes a session.

        Args:
            uid: whose.
            project: it must be there.
            tree: makes it, of its id. In a thread.
            wanted: an id; where it is taken, or none, there is another.

        Raises:
            AnswerError: 404: there is no such project; 413: it has as many sessions as it may.
        """
        folder = self.folders(uid)
        await self._project(folder, project)
        async with self.counting:
            return await self._created(folder, uid, project, tree, wanted)

    async def _created(
        self, folder: Folder, uid: str, project: str, tree: Callable[[str], ChatHistoryTree], wanted: str
    ) -> Place:
        if len(await self._files(folder, project)) >= bounds.MOST_SESSIONS:
            raise AnswerError(413, f"the project has {bounds.MOST_SESSIONS:,} chat sessions; delete one first")
        for session in (wanted, new_session(), new_session()):
            if not is_session(session):
                continue
            place = Place(uid, project, session)

            def made(name: str = session) -> tuple[ChatHistoryTree, bytes]:
                found = tree(name)
                return found, encoded(found)

            new, data = await trio.to_thread.run_sync(made, limiter=self.limiter)
            try:
                await self._write(place, new, data, None)
            except ChangedError:
                continue
            return place
        raise AnswerError(503, "no id was free: try again")

    async def delete(self, place: Place, version: int) -> None:
        """Moves a session, with its assets, to the user's recycle bin.

        Raises:
            AnswerError: as `change`.
        """
        folder = self.folders(place.uid)
        stamp = await folder.stat(*place.file)
        if stamp is None:
            raise _missing()
        expected: Expected = stamp
        try:
            kept = await self.read(place)
            if kept.tree.version != version:
                raise _conflict(kept.tree.version)
            expected = kept.stamp
        except RejectedError:
            # One that cannot be read has no version; that must not keep it there for ever.
            pass
        try:
            await _recycle(folder, place.file, expected)
        except ChangedError:
            raise _conflict((await self.read(place)).tree.version) from None
        for cache in (self._trees, self._summaries):
            await cache.invalidate(Invalidation("key", self._key(place, cache.name)))
        # It may have none.
        with suppress(ChangedError):
            await _recycle(folder, place.assets)

    async def sessions(self, uid: str, project: str, offset: int, limit: int) -> tuple[list[ChatSession], int]:
        """Sessions of a project, the one that changed last first, and how many there are.

        Raises:
            AnswerError: 404: there is no such project.
        """
        folder = self.folders(uid)
        await self._project(folder, project)
        found = await self._files(folder, project)
        found.sort(key=lambda each: (-each[1].modified, each[0]))
        page = found[offset : offset + limit]
        return [await self._summary(Place(uid, project, session), stamp) for session, stamp in page], len(found)

    async def _summary(self, place: Place, stamp: Stamp) -> ChatSession:
        key = self._key(place, "chat-sessions")
        known = await self._summaries.get(key)
        if known is not None and known[0] == stamp:
            shown: ChatSession = known[1]
            return shown
        try:
            # Not through the cache of trees: a list would drive out those that somebody works with.
            loaded = await self._load(place)
            stamp, shown = loaded.value.stamp, summary(place.project, loaded.value.tree, place.session)
        except (InnkeeperError, AnswerError) as error:
            said = error.message if isinstance(error, InnkeeperError) else error.error
            shown = ChatSession(id=place.session, project_id=place.project, title=place.session, error=said[:500])
        await self._summaries.put(key, (stamp, shown), 2_000 + len(repr(shown.settings)))
        return shown

    async def _files(self, folder: Folder, project: str) -> list[tuple[str, Stamp]]:
        items = await folder.items("projects", project, "chats", most=4 * bounds.MOST_SESSIONS)
        return [
            (item.name[:-5], item.stamp)
            for item in items
            if not item.is_folder and item.name.endswith(".json") and is_session(item.name[:-5])
        ][: bounds.MOST_SESSIONS]

    async def _project(self, folder: Folder, project: str) -> None:
        if not is_project(project) or await folder.stat("projects", project, "project.json") is None:
            raise AnswerError(404, "there is no such project")

    async def _load(self, place: Place) -> Loaded:
        found = await self.folders(place.uid).read(*place.file, most=bounds.FILE.size)
        if found is None:
            raise _missing()
        data, stamp = found
        tree = await trio.to_thread.run_sync(decoded, data, limiter=self.limiter)
        return _loaded(Kept(tree, data, stamp))

    async def _write(self, place: Place, tree: ChatHistoryTree, data: bytes, expected: Expected) -> Kept:
        stamp = await self.folders(place.uid).write_atomic(*place.file, data=data, expected=expected)
        kept = Kept(tree, data, stamp)
        key = self._key(place)
        await self._trees.invalidate(Invalidation("key", key))
        await self._trees.put(key, kept, _loaded(kept).size)
        return kept

    def _key(self, place: Place, cache: str = "chats") -> str:
        of = self._trees if cache == "chats" else self._summaries
        return of.key(place.uid, place.project, place.session)


def _loaded(kept: Kept) -> Loaded:
    return Loaded(kept, _TIMES * len(kept.data) + _EACH * len(kept.tree.nodes))


async def _recycle(folder: Folder, path: tuple[str, ...], expected: Expected = ANY_FILE) -> None:
    """Moves something to the recycle bin, if it is still what was read.

    Raises:
        ChangedError: it is another, or not there.
    """
    at = time.time()
    entry = (BIN, new_entry(at))
    await folder.write_atomic(*entry, ORIGIN, data=origin_of(LogicalPath(USER, path), at))
    try:
        await folder.move(path, (*entry, ITEM, path[-1]), expected)
    except BaseException:
        with trio.CancelScope(shield=True):
            for part in ((ITEM,), (ORIGIN,), ()):
                with suppress(ChangedError):
                    await folder.delete(*entry, *part)
        raise


def _missing() -> AnswerError:
    return AnswerError(404, "there is no such chat session")


def _conflict(version: int) -> AnswerError:
    said = f"the chat was changed meanwhile: it has version {version} now; read it again"
    return AnswerError(409, said, {"version": version})
