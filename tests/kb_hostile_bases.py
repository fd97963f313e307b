"""Knowledge bases that attacks are made on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from innkeeper.knowledge.joined.opening import Knowledge, Surroundings
from innkeeper.knowledge.store.values import Change
from innkeeper.storage.database import open_database
from innkeeper.storage.knowledge_model import Place

WORLD = Place("default_user", "world")
PLUGIN = "lore"


def document(id: str, value: str = "dragon", **more: Any) -> dict[str, Any]:
    return {
        "id": id, "displayName": id.upper(), "content": {"value": value},
        "activation_criteria": {"keywords": ["dragon"]}, **more,
    }  # fmt: skip


def put(id: str, value: str = "dragon", **more: Any) -> Change:
    return Change(id, document(id, value, **more))


def request(**said: Any) -> dict[str, Any]:
    """The arguments of kb.activate."""
    return {
        "messages": [{"content": "a dragon"}], "profile": "native", "texts": {}, "injected": [], "scan_depth": 4,
        "budget": None, "recursion": 3, "variables": {}, "session": "", "seed": 1, "trigger": "normal",
        "character": "", "character_tags": [], "user": "", "scope": [], "force": [], "related": True, "explain": [],
        "dry_run": False, "seconds": 20.0, "settings": {}, "trace": "active", **said,
    }  # fmt: skip


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[Knowledge]:
    async with open_database(home / "state" / "innkeeper.db") as database:
        knowledge = Knowledge(database, Surroundings(home=home, default="none"))
        try:
            yield knowledge
        finally:
            await knowledge.aclose()


def lay(home: Path, folder: str, id: str, *entries: dict[str, Any], **info: Any) -> Path:
    place = home / "knowledge" / folder
    place.mkdir(parents=True, exist_ok=True)
    file = place / "knowledge.json"
    file.write_text(json.dumps({"kb_id": id, **info, "entries": list(entries or (document("e"),))}))
    return file
