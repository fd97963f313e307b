"""Runs, leases and events for tests of what stands around the engine."""

from __future__ import annotations

from typing import Any

from innkeeper.storage.run_model import Account, NewRun, StoredRun
from innkeeper.workflow.engine.events import RunEvent


class NoSink:
    """Takes events and keeps none."""

    def emit(self, event: RunEvent) -> None:
        return None

    async def room(self) -> None:
        return None

    async def settled(self) -> None:
        return None


def stored_run(id: str, *, plugin: str = "", number: int = 1, **more: Any) -> StoredRun:
    """A run as if it had been taken for the first time."""
    fields: dict[str, Any] = {
        "number": number,
        "id": id,
        "account": Account("default_user", plugin),
        "name": "",
        "status": "running",
        "cancel": False,
        "priority": 0,
        "deadline": None,
        "after_crash": "interrupt",
        "generation": 1,
        "schedule": "",
        "holder": "host",
        "attempt": 1,
        "submitted": 0.0,
        "started": 0.0,
        "ended": None,
        "seq": 0,
    }
    return StoredRun(**{**fields, **more})


def new_run(id: str, owner: str = "default_user", plugin: str = "", **more: Any) -> NewRun:
    """A run that somebody wants."""
    return NewRun(id, Account(owner, plugin), more.pop("job", b"job"), **more)


def event(seq: int, kind: str = "NODE_EXECUTING", **fields: Any) -> RunEvent:
    """An event of a run's lifecycle."""
    return RunEvent(seq, kind, fields)


def chunk(seq: int, content: bytes = b"\xa1x") -> RunEvent:
    """An event that carries a chunk of a stream."""
    return RunEvent(seq, "NODE_YIELD", {"nodeId": "n", "slot": "out"}, {}, content)
