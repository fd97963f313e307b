"""Random tokens, and the hashes by which they are kept: whoever reads the database has none of them."""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

KEY: Final = re.compile(r"ctsk_[A-Za-z0-9_-]{43}")
"""The shape of an API key, as ComfyTavern has it."""

TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""The shape of any other token."""

PREFIX: Final = 13
"""Characters of an API key by which it is found and known."""


def new_token() -> str:
    """256 random bits in base64url (str, 43 characters)."""
    return secrets.token_urlsafe(32)


def new_key() -> str:
    """An API key (str)."""
    return f"ctsk_{new_token()}"


def hash_of(token: str) -> str:
    """The sha256 of a token, hexadecimal (str). One of 256 random bits needs no salt, and is found by its hash: how
    long a look-up takes says nothing of a token that would fit."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
