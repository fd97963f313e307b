"""A log message and its fields as one line of text, as logfmt has it: `message name=value name="another value"`."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from innkeeper.printable import printable

_BARE = re.compile(r'[^\s"=\\\[\]{}]+')
"""What needs no quotation marks."""


def as_line(message: str, fields: Mapping[str, Any]) -> str:
    """One line (str): no control characters, no line breaks, nothing that reorders text. Equal fields give equal lines,
    in whatever order they come.

    Args:
        message: text from anywhere.
        fields: plain data by name. Bytes become base64, lists and maps JSON.
    """
    parts = [message, *(f"{_word(name)}={_value(fields[name])}" for name in sorted(fields))]
    return printable(" ".join(parts))


def _value(value: Any) -> str:
    return _word(value) if isinstance(value, str) else _json(value)


def _word(text: str) -> str:
    return text if _BARE.fullmatch(text) else _json(text)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=_as_base64)


def _as_base64(value: bytes) -> str:
    return b64encode(value).decode("ascii")
