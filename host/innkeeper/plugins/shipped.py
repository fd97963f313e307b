"""Which bytes come with Innkeeper. Written by pdk-samples/digests.py, which `make plugins` runs."""

from __future__ import annotations

from typing import Final

DIGESTS: Final[frozenset[str]] = frozenset(
    {
        "77ac670d0203c663f08659d71ddb1f89ce7f7d6286c8eafff1df4f4d8e3030fd",  # core-basics.wasm
        "16598f8f29d4bdba674c1249c6fba640d2be7f543edc42e20a1d158ca42b76cd",  # core-loaders.wasm
        "d78bd7519c29df7c3297be49c31db1231d821443a4b05c3c5848ec205a2486ff",  # core-messages.wasm
        "22777c441078f1395c7898e4274bb957ae3a9c5f69539f2040533e4cb5f10a35",  # core-streams.wasm
        "079a6d29afc2fc10e8fa7df36e0b5c85da5727b24eef4af7b51a999d6aee85e0",  # kb-tools.wasm
        "53765c3a87add2523dbdb303eab690785c9e501c6936fd9b08a62e76bc6ec449",  # kb.wasm
        "1754a79b786c622df8d805636169cf32b9e6f81b17e1396f8f4eaeba13680845",  # logic.wasm
        "fb06c5cbe82e1487a2ec1aec7ffcc160726610954455fc9a58deed151f337295",  # text-streams.wasm
    }
)
"""sha256 of the plugins that may use another namespace than their id, wherever they lie."""
