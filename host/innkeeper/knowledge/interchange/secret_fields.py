"""Fields of presets that can hold a secret, or an address that a secret is sent to: dropped by name, never shown."""

from __future__ import annotations

import re
from typing import Any

_NAMES = frozenset(
    {
        "reverse_proxy", "proxy_password", "custom_url", "custom_include_headers", "custom_include_body",
        "custom_exclude_body", "azure_base_url", "vertexai_express_project_id", "vertexai_service_account_json",
    }
)  # fmt: skip
_WORDS = re.compile(
    r"(?:^|_)(?:api_?key|key_id|password|passwd|passphrase|secrets?|credentials?|authorization|bearer|cookie|"
    r"(?:access|auth|refresh|session|id)_token|private_key)(?:$|_)"
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def without_secrets(value: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A document without the fields that can hold a secret, at any depth.

    Args:
        value: plain data of bounded depth; not changed.

    Returns:
        a new document, and the places of what was dropped, without their values.
    """
    dropped: list[str] = []
    return _kept(value, "", dropped), dropped


def is_secret(key: str) -> bool:
    """Whether a field of this name can hold a secret (bool)."""
    plain = _HUMP.sub("_", key[:200]).lower().replace("-", "_").replace(" ", "_")
    return plain in _NAMES or _WORDS.search(plain) is not None


def _kept(value: Any, where: str, dropped: list[str]) -> Any:
    if isinstance(value, dict):
        out = {}
        for key, item in value.items():
            place = f"{where}.{key[:80]}" if where else key[:80]
            if not is_secret(key):
                out[key] = _kept(item, place, dropped)
            elif item not in (None, "", [], {}):
                dropped.append(place)
        return out
    if isinstance(value, list):
        return [_kept(item, f"{where}[{at}]", dropped) for at, item in enumerate(value)]
    return value
