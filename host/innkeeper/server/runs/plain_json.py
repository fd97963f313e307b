"""Values that guests wrote, as JSON for browsers: bytes become base64 text, and NaN and the infinities null."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from typing import Any, Final

import msgpack

from innkeeper.bridge.codec import json_from_msgpack
from innkeeper.bridge.pieces import unpack_own
from innkeeper.bridge.scan import DataBounds, MalformedError, scan_msgpack
from innkeeper.errors import UsageError

_BOUNDS: Final = DataBounds(size=1 << 30, depth=200, elements=200_000_000)
"""Of what was bounded as it was written."""


def json_text(data: bytes) -> bytes:
    """One msgpack value of the host's own as JSON text. For a thread: it may take seconds.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return b"".join(json_from_msgpack(data, scan_msgpack(data, _BOUNDS).large))
    except (UsageError, MalformedError):
        # NaN, an infinity or half of a character: rare, so that all others need not be built for it.
        pass
    try:
        return _written(unpack_own(data))
    except (msgpack.UnpackException, TypeError, RecursionError) as error:
        raise ValueError(type(error).__name__) from None


def _written(value: Any) -> bytes:
    text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
