"""An event as it is sent: encoded once, then shared by all who watch its run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import trio

from innkeeper.bridge.scan import CHUNK
from innkeeper.errors import RejectedError
from innkeeper.workflow.engine.events import LOG, RETRY, SKIPPED, STATUS, RunEvent
from innkeeper.workflow.engine.wire_json import event_text
from innkeeper.workflow.scheduling.seams import Gone

GONE: Final = "EVENTS_GONE"

OURS: Final = frozenset({SKIPPED, RETRY, LOG, GONE})
"""Types that ComfyTavern does not have: clients that know only its own are not sent them."""

ENDS: Final = frozenset({"complete", "error", "interrupted"})
"""Statuses that a run ends with."""

_COUNTED: Final = 160
"""Bytes that a message takes beside its text, about."""


@dataclass(frozen=True, slots=True)
class Message:
    """An event of a run as JSON text.

    Attributes:
        seq: its number; of `EVENTS_GONE` 0, since it is none of the run's.
        kind: its type.
        text: the JSON object, in UTF-8 and on one line.
        status: of EXECUTION_STATUS_UPDATE, else "".
        upto: of `EVENTS_GONE`, the last number that is gone, else 0.
    """

    seq: int
    kind: str
    text: bytes
    status: str = ""
    upto: int = 0

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.text) + _COUNTED

    @property
    def ends(self) -> bool:
        """Whether it says how the run ended."""
        return self.status in ENDS


def encoded_object(kind: str, payload: Any, **more: Any) -> bytes:
    """A message that is no event of a run: {"type", ..., "payload"} as JSON in UTF-8."""
    return compact({"type": kind, **more, "payload": payload})


def compact(value: Any) -> bytes:
    """Plain data as JSON in UTF-8, on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


class Encoder:
    """Makes messages of events; large ones in a few threads of its own."""

    def __init__(self) -> None:
        # Since the interpreter runs one thread at a time, more would not be faster.
        self._limiter = trio.CapacityLimiter(2)

    async def message(self, run: str, item: RunEvent | Gone) -> Message:
        """What is said of a run (its id), as a message.

        Raises:
            RejectedError: what the database keeps of it is damaged.
        """
        if isinstance(item, Gone):
            payload = {"promptId": run, "first": item.first, "last": item.last}
            return Message(0, GONE, encoded_object(GONE, payload), upto=item.last)
        status = str(item.fields.get("status", "")) if item.kind == STATUS else ""
        try:
            if item.size <= CHUNK:
                text = event_text(item, run)
            else:
                # An abandoned thread has changed nothing.
                text = await trio.to_thread.run_sync(
                    event_text, item, run, limiter=self._limiter, abandon_on_cancel=True
                )
        except (ValueError, TypeError):
            raise RejectedError(
                f"what the database keeps of the run {run!r} is damaged: put back a copy of it, or do without the run"
            ) from None
        return Message(item.seq, item.kind, text, status)
