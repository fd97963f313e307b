"""Events as JSON text, as clients get them: written once, however many read it.

JSON has no bytes, which become base64 text, and no NaN, which becomes null, as JavaScript writes it. Large values are
written piece by piece, since the C code keeps the interpreter's lock for as long as one piece takes.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from typing import Any, Final

import msgpack

from innkeeper.bridge.codec import json_from_msgpack
from innkeeper.bridge.scan import CHUNK, DataBounds, MalformedError, scan_msgpack
from innkeeper.errors import UsageError
from innkeeper.workflow.engine.call import plain
from innkeeper.workflow.engine.events import VALUES, RunEvent, wire_event

MOST_VALUES: Final = 8 << 20
"""Bytes of an event's outputs, and of its text, that are written into it: a picture or a long document. The outputs
are kept with the run, and whoever wants more asks for them there."""


def as_json(value: Any) -> Any:
    """A value as JSON has it: bytes become base64 text, NaN and the infinities null, as JavaScript writes them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value


def event_text(event: RunEvent, prompt_id: str, most: int = MOST_VALUES) -> bytes:
    """An event as clients get it, as JSON in UTF-8. Where it is large this takes long, and belongs into a thread.

    Args:
        event: the event.
        prompt_id: the run's id.
        most: bytes of its outputs, and of the text. Beyond, they are left out: the payload has no output, but
            `outputOmitted`: true and `outputBytes`.

    Raises:
        ValueError: what the database kept of it is damaged.
    """
    size = sum(map(len, event.values.values()))
    if size <= CHUNK:
        return _text(as_json(wire_event(event, prompt_id)))
    values = _values(event, most) if size <= most else None
    rest = RunEvent(event.seq, event.kind, event.fields, {}, event.chunk, event.at)
    whole = wire_event(rest, prompt_id, {})
    if values is None:
        whole["payload"] |= {"outputOmitted": True, "outputBytes": size}
        return _text(as_json(whole))
    # The payload comes last, and in it the outputs: their text is put before the two closing brackets.
    payload = whole.pop("payload")
    del payload[VALUES[event.kind]]
    head = _text(as_json({**whole, "payload": payload}))[:-2]
    return b"".join((head, b"," if payload else b"", _text(VALUES[event.kind]), b":", values, b"}}"))


def _values(event: RunEvent, most: int) -> bytes | None:
    """The text of an event's outputs; None where it is too long. Many keys may have one value, written once."""
    written: dict[int, bytes] = {}
    parts: list[bytes] = []
    size = 0
    for key, value in event.values.items():
        if id(value) not in written:
            written[id(value)] = _value(value)
        parts.append(_text(key) + b":" + written[id(value)])
        size += len(parts[-1])
        if size > most:
            return None
    return b"{" + b",".join(parts) + b"}"


def _value(value: bytes) -> bytes:
    if len(value) <= CHUNK:
        return _text(as_json(msgpack.unpackb(value)))
    try:
        # It was bounded before: of these bounds none can be reached.
        return b"".join(
            json_from_msgpack(value, scan_msgpack(value, DataBounds(len(value), elements=len(value))).large)
        )
    except (UsageError, MalformedError):
        # NaN, or half of a surrogate pair, or deeper than a guest may answer: rare enough to be written at once.
        return _text(as_json(plain(value)))


def _text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
