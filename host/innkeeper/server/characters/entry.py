"""What a gallery shows of a card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from innkeeper.knowledge.interchange.cards import Card

MOST_TEXT: Final = 4_000
"""Characters of a description and of a comment that are shown: a gallery of a thousand cards stays a few megabytes."""

_MOST_WORD: Final = 256
_MOST_TAGS: Final = 100


class ApiCharacterEntry(BaseModel):
    """A card.

    Attributes:
        id: the name of its files, without their endings.
        name: what the character is called.
        description, creator_comment: the beginning of what the card says.
        image_name: of its picture, null where it has none.
        tags, creator, create_date, character_version, avatar, chat: as the card says.
        talkativeness: 0 to 1.
        favorite: whether it is marked.
        error: why it cannot be read; the other fields are then empty.
    """

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    id: str
    name: str
    description: str | None = None
    image_name: str | None = None
    tags: list[str] = []
    creator: str | None = None
    creator_comment: str | None = None
    create_date: str | None = None
    character_version: str | None = None
    talkativeness: float | None = None
    favorite: bool | None = None
    avatar: str | None = None
    chat: str | None = None
    error: str | None = None


def entry_of(stem: str, image: str | None, cards: Sequence[Card], error: str | None) -> ApiCharacterEntry:
    """What is shown of a character.

    Args:
        stem: the name of its files.
        image: the name of its picture.
        cards: what its files say, the one first that counts most: field by field the first that has one.
        error: what is wrong with one of the files.
    """

    def field(*keys: str) -> Any:
        for card in cards:
            for place in (card.data, card.document):
                for key in keys:
                    if place.get(key) is not None:
                        return place[key]
        return None

    def extension(key: str) -> Any:
        for card in cards:
            extensions = card.data.get("extensions")
            if isinstance(extensions, dict) and extensions.get(key) is not None:
                return extensions[key]
        return field(key)

    tags = next((found for card in cards if (found := card.texts("tags"))), [])
    return ApiCharacterEntry(
        id=stem,
        name=_text(field("name"), _MOST_WORD) or stem,
        description=_text(field("description"), MOST_TEXT),
        image_name=image,
        tags=[tag[:_MOST_WORD] for tag in tags[:_MOST_TAGS]],
        creator=_text(field("creator"), _MOST_WORD),
        creator_comment=_text(field("creator_notes", "creatorcomment"), MOST_TEXT),
        create_date=_text(field("create_date"), _MOST_WORD),
        character_version=_text(field("character_version"), _MOST_WORD),
        talkativeness=_share(extension("talkativeness")),
        favorite=_flag(extension("fav")),
        avatar=_text(field("avatar"), _MOST_WORD),
        chat=_text(field("chat"), _MOST_WORD),
        error=error,
    )


def _text(value: Any, most: int) -> str | None:
    # Dates are numbers in some cards. A number from JSON has a bounded length.
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return value[:most] if isinstance(value, str) and value else None


def _share(value: Any) -> float | None:
    try:
        found = float(value[:20] if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if 0.0 <= found <= 1.0 else None


def _flag(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value[:5].lower())
    return value if isinstance(value, bool) else None
