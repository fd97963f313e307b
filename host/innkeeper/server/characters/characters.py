"""The cards in a user's library, read once for as long as their files stay."""

from __future__ import annotations

from typing import Final

import trio

from innkeeper.errors import InnkeeperError
from innkeeper.knowledge.interchange.cards import Card, read_card
from innkeeper.sandbox.limits import MIB
from innkeeper.server.answers import AnswerError
from innkeeper.server.cache.caches import Caches
from innkeeper.server.cache.interface import Loaded
from innkeeper.server.characters.entry import ApiCharacterEntry, entry_of
from innkeeper.server.chats.folder import Folders, Item, Stamp
from innkeeper.server.chats.media import KINDS, sniffed

FOLDER: Final = ("library", "SillyTavern", "CharacterCard")
"""The folder of cards, in a user's own."""

MOST_CARD: Final = 32 * MIB
"""Bytes of a card's file: pictures in the wild have a few megabytes."""

MOST_FILES: Final = 10_000
"""Files of the folder that are looked at."""

_LASTING: Final = 24 * 3600.0
"""Seconds for which an entry is kept: its key has its files' stamps, so that it is never a wrong one."""

_THREADS: Final = 2


class Characters:
    """Lists cards and gives their pictures. What is broken is listed with its error, and hides nothing else."""

    def __init__(self, folders: Folders, caches: Caches) -> None:
        """Args:
        folders: of users.
        caches: make the one of entries.
        """
        self._folders = folders
        self._entries = caches.named("characters", entries=10_000, size=32 * MIB, ttl=_LASTING)
        self._limiter = trio.CapacityLimiter(_THREADS)

    async def listed(self, uid: str, offset: int, limit: int) -> list[ApiCharacterEntry]:
        """The cards of a user, by name of their files."""
        found: dict[str, dict[str, Item]] = {}
        for item in await self._folders(uid).items(*FOLDER, most=MOST_FILES):
            stem, _, ending = item.name.rpartition(".")
            if stem and not item.is_folder and ending.lower() in ("png", "json"):
                found.setdefault(stem, {}).setdefault(ending.lower(), item)
        return [await self._entry(uid, stem, found[stem]) for stem in sorted(found)[offset : offset + limit]]

    async def image_stamp(self, uid: str, name: str) -> Stamp:
        """The stamp of a picture.

        Raises:
            AnswerError: 404: there is none.
        """
        stamp = await self._folders(uid).stat(*FOLDER, name) if name.lower().endswith(".png") else None
        if stamp is None:
            raise _missing()
        return stamp

    async def image(self, uid: str, name: str) -> tuple[bytes, str, Stamp]:
        """A picture, its media type, by its bytes, and its stamp.

        Raises:
            AnswerError: 404: there is none; 415: it is no picture.
            RejectedError: it is too large.
        """
        await self.image_stamp(uid, name)
        found = await self._folders(uid).read(*FOLDER, name, most=MOST_CARD)
        if found is None:
            raise _missing()
        ending = sniffed(found[0])
        if ending is None or not KINDS[ending].startswith("image/"):
            raise AnswerError(415, "the file is no picture")
        return found[0], KINDS[ending], found[1]

    async def _entry(self, uid: str, stem: str, files: dict[str, Item]) -> ApiCharacterEntry:
        stamps = [
            f"{end}.{item.stamp.inode:x}.{item.stamp.modified:x}.{item.stamp.size:x}" for end, item in files.items()
        ]
        key = self._entries.key(uid, stem, *sorted(stamps))

        async def load() -> Loaded:
            entry = await self._read(uid, stem, files)
            return Loaded(entry, 1_000 + 4 * (len(entry.description or "") + len(entry.creator_comment or "")))

        entry: ApiCharacterEntry = await self._entries.load(key, load)
        return entry

    async def _read(self, uid: str, stem: str, files: dict[str, Item]) -> ApiCharacterEntry:
        cards: list[Card] = []
        problems: dict[str, str] = {}
        # A file of JSON beside a picture is what was edited last: it goes before.
        for ending in ("json", "png"):
            if ending not in files:
                continue
            name = files[ending].name
            try:
                found = await self._folders(uid).read(*FOLDER, name, most=MOST_CARD)
                if found is not None:
                    cards.append(await trio.to_thread.run_sync(read_card, found[0], name, limiter=self._limiter))
            except InnkeeperError as wrong:
                problems[ending] = wrong.message
        if cards:
            # A picture without a card in it is nothing wrong beside a file with one.
            problems.pop("png", None)
        image = files["png"].name if "png" in files else None
        return entry_of(stem, image, cards, "; ".join(problems.values())[:500] or None)


def _missing() -> AnswerError:
    return AnswerError(404, "there is no such picture")
