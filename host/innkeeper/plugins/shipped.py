"""Which bytes come with Innkeeper. Written by pdk-samples/digests.py, which `make plugins` runs."""

from __future__ import annotations

from typing import Final

DIGESTS: Final[frozenset[str]] = frozenset(
    {
        "ddfdef8c89a52c1b6f5007ba054f5e95448d768b542ae2051cf9ac50e3481f21",  # core-basics.wasm
        "00c210e8a211f5490a918da83bff207316b2c352e2836d7ebe5e388170dd5d6e",  # core-messages.wasm
    }
)
"""sha256 of the plugins that may use another namespace than their id, wherever they lie."""
