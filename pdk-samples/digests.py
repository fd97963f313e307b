"""Writes which bytes come with Innkeeper: the sha256 of each module in plugins/, into the host's own code.

python pdk-samples/digests.py
"""

from __future__ import annotations

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "host" / "innkeeper" / "plugins" / "shipped.py"


def source() -> str:
    """The module's text."""
    modules = sorted((ROOT / "plugins").glob("*.wasm"))
    lines = [f'        "{hashlib.sha256(path.read_bytes()).hexdigest()}",  # {path.name}' for path in modules]
    return "\n".join(
        [
            '"""Which bytes come with Innkeeper. Written by pdk-samples/digests.py, which `make plugins` runs."""',
            "",
            "from __future__ import annotations",
            "",
            "from typing import Final",
            "",
            "DIGESTS: Final[frozenset[str]] = frozenset(",
            "    {",
            *lines,
            "    }",
            ")",
            '"""sha256 of the plugins that may use another namespace than their id, wherever they lie."""',
            "",
        ]
    )


if __name__ == "__main__":
    TARGET.write_text(source(), "utf-8")
    print(TARGET.relative_to(ROOT).as_posix())
