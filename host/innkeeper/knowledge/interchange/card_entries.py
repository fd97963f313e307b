"""A card's fields as entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from innkeeper.knowledge.interchange.cards import Card
from innkeeper.knowledge.interchange.world_import import FROM_SILLYTAVERN
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.model.base import Item
from innkeeper.knowledge.model.entry import ALWAYS

PREFIX: Final = "card-"
"""The beginning of the ids of these entries."""

KEY: Final = "card"
"""In `extensions` of an entry that was made of a field: which; in a base's `kb_extensions`: the card."""

_KINDS: Final = (
    # field, entry_type, name, placement, role, priority
    ("system_prompt", "st_system_override", "System prompt", "system_context", "system", 1000),
    ("description", "st_character_description_fragment", "Description", "before_prompt", "system", 900),
    ("personality", "st_character_personality_trait", "Personality", "before_prompt", "system", 800),
    ("scenario", "st_scenario_context", "Scenario", "before_prompt", "system", 700),
    ("mes_example", "st_dialogue_example", "Dialogue examples", "before_prompt", "system", 600),
    ("post_history_instructions", "st_jailbreak_instruction", "After the history", "after_prompt", "system", 1000),
)
"""Fields that go to a prompt. Notes of the creator, tags and versions are for people."""

GREETING: Final = "st_greeting_message"
AUTHORS_NOTE: Final = "st_authors_note"


def is_field(item: Item) -> bool:
    """Whether an entry was made of a field of a card (bool)."""
    given = (item.document.get("extensions") or {}).get(KEY)
    return isinstance(given, dict) and isinstance(given.get("field"), str)


def field_documents(card: Card) -> Iterator[tuple[dict[str, Any], str]]:
    """The documents of the entries of a card's fields, each with the place of its field."""
    for key, kind, name, placement, role, priority in _KINDS:
        text = card.text(key)
        if text:
            usage: dict[str, Any] = {"priority": priority, "placement": placement, "role": role}
            yield _document(card, key, key, kind, name, text, usage), f"data.{key}"
    note = _depth_prompt(card)
    if note is not None:
        yield note, "data.extensions.depth_prompt"
    greetings = [("first_mes", "first_mes", card.text("first_mes"))]
    for key in ("alternate_greetings", "group_only_greetings"):
        greetings += [(f"{key}-{number}", key, text) for number, text in _numbered(card, key)]
    for id_, key, text in greetings:
        if text:
            name = "Greeting" if key == "first_mes" else f"Greeting {id_.rpartition('-')[2]}"
            usage = {"priority": 100, "placement": None, "role": "assistant"}
            yield _document(card, id_, key, GREETING, name, text, usage, always=False), f"data.{key}"


def _numbered(card: Card, key: str) -> list[tuple[int, str]]:
    # By its place in the card, whatever else is in the list.
    value = card.data.get(key)
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [(number, text) for number, text in enumerate(texts[:1000], 1) if isinstance(text, str)]


def _depth_prompt(card: Card) -> dict[str, Any] | None:
    extensions = card.data.get("extensions")
    note = extensions.get("depth_prompt") if isinstance(extensions, dict) else None
    if not isinstance(note, dict) or not isinstance(note.get("prompt"), str) or not note["prompt"]:
        return None
    depth, role = note.get("depth"), note.get("role")
    whole = isinstance(depth, int) and not isinstance(depth, bool) and 0 <= depth <= 1_000_000
    usage = {
        "priority": 500,
        "depth_offset": depth if whole else 4,
        "role": role if role in ("system", "user", "assistant") else "system",
    }
    return _document(card, "depth_prompt", "depth_prompt", AUTHORS_NOTE, "Author's note", note["prompt"], usage)


def _document(
    card: Card, id_: str, key: str, kind: str, name: str, text: str, usage: dict[str, Any], *, always: bool = True
) -> dict[str, Any]:
    called = f"{card.name}: {name}" if card.name else name
    return {
        "id": PREFIX + id_,
        "version": 1,
        "entry_type": kind,
        "displayName": called[: bounds.MOST_NAME],
        "content": {"mime_type": "text/plain", "value": text},
        "activation_criteria": {"keywords": []},
        "usage_metadata": usage,
        "management_metadata": {
            "tags": [ALWAYS] if always else [],
            "source": FROM_SILLYTAVERN,
            "is_enabled": True,
        },
        "extensions": {KEY: {"field": key, "place": id_, "character": card.name[: bounds.MOST_NAME]}},
    }
