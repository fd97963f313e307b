"""Which bytes come with Innkeeper. Written by pdk-samples/digests.py, which `make plugins` runs."""

from __future__ import annotations

from typing import Final

DIGESTS: Final[frozenset[str]] = frozenset(
    {
        "ddfdef8c89a52c1b6f5007ba054f5e95448d768b542ae2051cf9ac50e3481f21",  # core-basics.wasm
        "8003f5f3ba9b999b4dbb65b253badd6c3926d981ac67291a8939e08813a64f18",  # core-loaders.wasm
        "d78bd7519c29df7c3297be49c31db1231d821443a4b05c3c5848ec205a2486ff",  # core-messages.wasm
        "533b9c24f083ee3c2c1ef2ac87703e768d1c4d1548c3256d8f2c92bb9890dc81",  # kb-tools.wasm
        "4fa79f0577459b384be1741bc109b7cd4a8d553d9352a5f77ff270c625e2e906",  # kb.wasm
    }
)
"""sha256 of the plugins that may use another namespace than their id, wherever they lie."""
