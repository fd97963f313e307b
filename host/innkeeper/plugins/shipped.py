"""Which bytes come with Innkeeper. Written by pdk-samples/digests.py, which `make plugins` runs."""

from __future__ import annotations

from typing import Final

DIGESTS: Final[frozenset[str]] = frozenset(
    {
        "ddfdef8c89a52c1b6f5007ba054f5e95448d768b542ae2051cf9ac50e3481f21",  # core-basics.wasm
        "6dae3707dc58a5c5cb901ffbbcc4b6a399bbb6a7e64a1eec858c8b9991a712c3",  # core-loaders.wasm
        "d78bd7519c29df7c3297be49c31db1231d821443a4b05c3c5848ec205a2486ff",  # core-messages.wasm
        "362ec3168c591f92303ff9068c578c29e100c47317730ae3ba9db514b2522e05",  # kb-tools.wasm
        "0bbbe062d7d882bf334e1ccc181e11529d43abaefbc51390ddcf8b363a04338e",  # kb.wasm
    }
)
"""sha256 of the plugins that may use another namespace than their id, wherever they lie."""
