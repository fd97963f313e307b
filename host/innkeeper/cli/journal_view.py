"""How commands show what stands in a journal: readable, and bounded whatever it is."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final

from innkeeper.bridge.codec import decode, encode
from innkeeper.bridge.journal.model import Given, HostCall, Journal, Printed, Raised, Wrote
from innkeeper.bridge.journal.player import Asked, Departure
from innkeeper.bridge.scan import DataBounds
from innkeeper.errors import GuestError, UsageError

MOST: Final = 400
"""Characters of one value."""

_DECODED: Final = DataBounds(size=64 * 1024, depth=32, elements=5000)
_MOST_VALUES: Final = 16
_MOST_TEXT: Final = 4096


def value_text(value: Any, most: int = MOST) -> str:
    """A value as people read it: msgpack as JSON, text as text, other bytes in hexadecimal digits, cut where it is
    long. Whoever prints it makes it safe (`output.printable`)."""
    if value is None:
        return "nothing"
    if isinstance(value, list):
        shown = ", ".join(value_text(each, most) for each in value[:_MOST_VALUES])
        return f"[{shown}{', ...' if len(value) > _MOST_VALUES else ''}]"
    if not isinstance(value, bytes):
        return str(value)
    text = _readable(value)
    if text is None:
        text = value[: most // 2].hex(" ")
        return f"{len(value)} bytes {text}{' ...' if len(value) > most // 2 else ''}" if value else "0 bytes"
    return text if len(text) <= most else f"{text[:most]} ... ({len(value)} bytes)"


def _readable(data: bytes) -> str | None:
    if not data or len(data) > _DECODED.size:
        return None
    # A map or a list: almost any byte is a number in msgpack.
    if data[0] >> 4 in (0x8, 0x9) or data[0] in (0xDC, 0xDD, 0xDE, 0xDF):
        try:
            return encode(decode(data, "msgpack", _DECODED), "json").decode()
        except (GuestError, UsageError):
            pass
    try:
        return repr(data.decode())
    except UnicodeDecodeError:
        return None


def asked_text(asked: Asked | None) -> str:
    """A call as people read it: "innkeeper_kv_get({"key":"a"})"."""
    if asked is None:
        return "nothing more"
    return f"{asked.name}({', '.join(value_text(each) for each in asked.values[:_MOST_VALUES])})"


def call_text(journal: Journal, call: HostCall) -> str:
    """A call of a journal and its answer as people read them."""
    function = journal.functions[call.function]
    answer = call.answer
    if isinstance(answer, Given):
        said = value_text(answer.value)
    elif isinstance(answer, Wrote):
        parts = [value_text(data) for _, _, data in answer.written[:_MOST_VALUES]]
        said = ", ".join(["ok" if not answer.errno else f"errno {answer.errno}", *parts])
    elif isinstance(answer, Printed):
        said = "printed"
    else:
        said = "failed" if isinstance(answer, Raised) else "no answer"
    return f"{asked_text(Asked(function.name, call.asked))} -> {said}"


def departure_text(departure: Departure) -> Sequence[str]:
    """Where a guest departed, in lines."""
    if not departure.answer_fits:
        lines = [f"departs at call {departure.number}: the answer does not fit into what it gave for it"]
        return [*lines, f"  asked: {asked_text(departure.now)}"]
    return [
        f"departs at call {departure.number}",
        f"  recorded: {asked_text(departure.recorded)}",
        f"  now:      {asked_text(departure.now)}",
    ]


def asked_object(asked: Asked | None) -> dict[str, Any] | None:
    """A call as JSON says it."""
    return None if asked is None else {"name": asked.name, "arguments": [value_object(each) for each in asked.values]}


def value_object(value: Any) -> Any:
    """A value as JSON says it: bytes as an object, with the beginning of long ones."""
    if isinstance(value, list):
        return [value_object(each) for each in value]
    if isinstance(value, float) and value - value != 0:
        return str(value)
    if isinstance(value, str):
        return value[:_MOST_TEXT]
    if not isinstance(value, bytes):
        return value
    return {"bytes": len(value), "text": value_text(value), "base64": b64encode(value[:_MOST_TEXT]).decode()}


def call_object(journal: Journal, number: int, call: HostCall) -> dict[str, Any]:
    """A call of a journal as JSON says it."""
    function = journal.functions[call.function]
    answer = call.answer
    found: dict[str, Any] = {"number": number, "answered": answer is not None and not isinstance(answer, Raised)}
    found |= asked_object(Asked(function.name, call.asked)) or {}
    if isinstance(answer, Given):
        found["answer"] = value_object(answer.value)
    elif isinstance(answer, Wrote):
        found |= {"errno": answer.errno, "answer": [value_object(data) for _, _, data in answer.written]}
    return found


def size_text(size: float) -> str:
    """Bytes as people read them."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} B"
