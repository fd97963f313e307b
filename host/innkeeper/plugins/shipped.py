"""Which bytes come with Innkeeper. Written by pdk-samples/digests.py, which `make plugins` runs."""

from __future__ import annotations

from typing import Final

DIGESTS: Final[frozenset[str]] = frozenset(
    {
        "ddfdef8c89a52c1b6f5007ba054f5e95448d768b542ae2051cf9ac50e3481f21",  # core-basics.wasm
        "5f3cf2e926ad12d339384225ccc22b434ac9fcb6b188db3d3e390b0c6ea61cca",  # core-loaders.wasm
        "d78bd7519c29df7c3297be49c31db1231d821443a4b05c3c5848ec205a2486ff",  # core-messages.wasm
        "cc434fa42aa659ac7b7f23cb313dbee0e1f06a2058eceb00ba81b18f47104b91",  # kb-tools.wasm
        "2a495fe256bf590332e5fcbc525feb9d2fbb17db4692b660e6b64953d4cb2630",  # kb.wasm
    }
)
"""sha256 of the plugins that may use another namespace than their id, wherever they lie."""
