"""Pictures and sounds of a session: named by what they are, so that none ever changes."""

from __future__ import annotations

import hashlib
import re
from typing import Final

import trio
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from innkeeper.server.answers import AnswerError
from innkeeper.server.chats import bounds
from innkeeper.server.chats.folder import Item
from innkeeper.server.chats.media import KINDS, sniffed
from innkeeper.server.chats.places import Place
from innkeeper.server.chats.store import Chats

NAME: Final = re.compile(rf"[0-9a-f]{{32}}\.(?:{'|'.join(KINDS)})")
"""A digest of the bytes, and what they are."""


class ChatAsset(BaseModel):
    """An asset.

    Attributes:
        id: its name, under which it is asked for.
        mime_type: what it is, by its bytes.
        size: in bytes.
        last_modified: when it came, in milliseconds since 1970.
        url: where it is.
    """

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    id: str
    mime_type: str
    size: int
    last_modified: int
    url: str


async def keep(chats: Chats, place: Place, data: bytes) -> ChatAsset:
    """Keeps an asset; the same bytes once.

    Raises:
        AnswerError: 404: there is no such session; 413: one too many; 415: nothing that is taken; 422: it is empty.
    """
    await _there(chats, place)
    if not data:
        raise AnswerError(422, "the file is empty")
    ending = sniffed(data)
    if ending is None:
        raise AnswerError(415, f"the file is none of what is taken: {', '.join(sorted(set(KINDS.values())))}")
    digest = await trio.to_thread.run_sync(lambda: hashlib.sha256(data).hexdigest(), limiter=chats.limiter)
    name = f"{digest[:32]}.{ending}"
    folder = chats.folders(place.uid)
    # One at a time: what is counted is what there is.
    async with chats.counting:
        stamp = await folder.stat(*place.assets, name)
        if stamp is None:
            there = await listed(chats, place)
            size = len(data) + sum(each.size for each in there)
            if len(there) >= bounds.MOST_ASSETS or size > bounds.MOST_ASSETS_SIZE:
                said = f"a chat has at most {bounds.MOST_ASSETS} assets of {bounds.MOST_ASSETS_SIZE:,} bytes together"
                raise AnswerError(413, said)
            stamp = await folder.write_atomic(*place.assets, name, data=data)
    return _asset(place, Item(name, stamp, False))


async def listed(chats: Chats, place: Place) -> list[ChatAsset]:
    """The assets of a session, the oldest first.

    Raises:
        AnswerError: 404: there is no such session.
    """
    await _there(chats, place)
    items = await chats.folders(place.uid).items(*place.assets, most=4 * bounds.MOST_ASSETS)
    found = [item for item in items if not item.is_folder and NAME.fullmatch(item.name)]
    found.sort(key=lambda item: (item.stamp.modified, item.name))
    return [_asset(place, item) for item in found]


async def modified(chats: Chats, place: Place, name: str) -> int:
    """When an asset came, in nanoseconds since 1970.

    Raises:
        AnswerError: 404: there is none.
    """
    stamp = await chats.folders(place.uid).stat(*place.assets, name) if NAME.fullmatch(name) else None
    if stamp is None:
        raise AnswerError(404, "there is no such asset")
    return stamp.modified


async def read(chats: Chats, place: Place, name: str) -> tuple[bytes, str, int]:
    """The bytes of an asset, its media type, and when it came, in nanoseconds since 1970.

    Raises:
        AnswerError: 404: there is none.
    """
    await modified(chats, place, name)
    found = await chats.folders(place.uid).read(*place.assets, name, most=bounds.MOST_ASSET)
    if found is None:
        raise AnswerError(404, "there is no such asset")
    return found[0], KINDS[name.rpartition(".")[2]], found[1].modified


async def delete(chats: Chats, place: Place, name: str) -> None:
    """Deletes an asset.

    Raises:
        AnswerError: 404: there is none.
    """
    await modified(chats, place, name)
    await chats.folders(place.uid).delete(*place.assets, name)


async def _there(chats: Chats, place: Place) -> None:
    if await chats.folders(place.uid).stat(*place.file) is None:
        raise AnswerError(404, "there is no such chat session")


def _asset(place: Place, item: Item) -> ChatAsset:
    return ChatAsset(
        id=item.name,
        mime_type=KINDS[item.name.rpartition(".")[2]],
        size=item.stamp.size,
        last_modified=item.stamp.modified // 1_000_000,
        url=f"/api/chat/{place.session}/assets/{item.name}",
    )
