"""Homes with knowledge bases in them, and a plugin that passes on what a test asks of the service `kb`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from innkeeper import Host
from innkeeper.bridge.bridge import bridge_of
from innkeeper.composition import open_host
from innkeeper.knowledge.joined.guests import GuestBases
from innkeeper.plugins import home as home_module
from relays import install, relay

ALL = ("kb.read:*", "kb.write:*")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose plugin `lore` may do everything with all bases."""
    # None of the plugins that come along but the guest of regular expressions.
    regexes = Path(__file__).parent.parent / "plugins/_regexes/regexes.wasm"
    place = tmp_path / "package/shipped/plugins/_regexes"
    place.mkdir(parents=True)
    (place / "regexes.wasm").write_bytes(regexes.read_bytes())
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    install(tmp_path / "home", "lore", relay("kb"), ALL)
    return tmp_path / "home"


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[Host]:
    """A host of a home."""
    async with open_host(home, watch=False) as host:
        yield host


def entry(id: str, value: str = "", *, keywords: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """A document of an entry."""
    return {"id": id, "content": {"value": value}, "activation_criteria": {"keywords": list(keywords)}, **more}


def base_file(home: Path, base: str, entries: Sequence[Mapping[str, Any]], *, folder: str = "", **info: Any) -> Path:
    """A base that lies in the home, as an author wrote it."""
    place = home / "knowledge" / (folder or base)
    place.mkdir(parents=True, exist_ok=True)
    file = place / "knowledge.json"
    file.write_text(json.dumps({"kb_id": base, **info, "entries": list(entries)}, ensure_ascii=False))
    return file


async def guest_bases(host: Host) -> GuestBases:
    """What the service of a host asks."""
    knowledge = bridge_of(host).knowledge
    assert knowledge is not None
    made = await knowledge()
    assert isinstance(made, GuestBases)
    return made


def settings(home: Path, text: str) -> None:
    """What the operator decided."""
    (home / "innkeeper.toml").write_text(text)
