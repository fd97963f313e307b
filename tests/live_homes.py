"""Servers and workflows for tests of runs that are watched."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import trio
from starlette.requests import HTTPConnection

from guests import assemble
from innkeeper.server.identity import Identity
from servers import Served, served
from test_docs import ROOT
from work_homes import MANIFEST, SLOW, one

FLOWS = ROOT / "docs" / "demo" / "flows"

# How a test says who asks: `{WHO: "ada"}` as a header.
WHO = "x-test-user"


@cache
def _slow() -> bytes:
    return assemble(SLOW)


@asynccontextmanager
async def slow_served(home: Path, settings: str = "") -> AsyncIterator[Served]:
    """A server whose home has nodes that answer at once, sleep or fail, beside the project's own."""
    (home / "plugins").mkdir(parents=True)
    (home / "plugins/slow.wasm").write_bytes(_slow())
    (home / "plugins/slow.toml").write_text(MANIFEST)
    (home / "innkeeper.toml").write_text(settings)
    async with served(home) as server:
        yield server


def many_users(server: Served, scopes: dict[str, frozenset[str]] | None = None) -> set[str]:
    """From now on the header says who asks; "root" is the administrator, and who has scopes is known by a key.

    Returns:
        Who is known no more: empty at first.
    """
    gone: set[str] = set()

    async def identify(connection: HTTPConnection) -> Identity | None:
        who = connection.headers.get(WHO)
        if who is None or who in gone:
            return None
        limited = (scopes or {}).get(who)
        return Identity(who, who, who == "root", "session" if limited is None else "key", limited)

    object.__setattr__(server.parts, "identify", identify)
    return gone


def flow(name: str, **inputs: Any) -> dict[str, Any]:
    """A workflow of docs/demo/flows as an editor sends it, with the workflows that its groups need."""
    found: dict[str, Any] = json.loads((FLOWS / f"{name}.json").read_text())
    for key, value in inputs.items():
        found["interfaceInputs"][key]["config"] = {"default": value}
    return found


def sleeping() -> dict[str, Any]:
    """A workflow that goes on for an hour."""
    return one("Sleep")


def quick(nodes: int = 1) -> dict[str, Any]:
    """A workflow of so many nodes that answer at once."""
    made = copy.deepcopy(one("Quick"))
    made["nodes"] += [{"id": f"more{number}", "fullType": "slow:Quick"} for number in range(nodes - 1)]
    return made


async def until_running(server: Served, run: str) -> None:
    """Waits until a run is executed."""
    while run not in server.parts.scheduler.worker.active:  # noqa: ASYNC110 (nobody is told)
        await trio.sleep(0.01)
