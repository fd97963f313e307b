"""Writes which bytes come with Innkeeper: the sha256 of each module in plugins/, into the host's own code and into the
grants of manifests/. What those give stays as it is.

python pdk-samples/digests.py
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "host" / "innkeeper" / "plugins" / "shipped.py"
GRANTS = ROOT / "manifests"
_DIGEST = re.compile(r'^sha256 = "[0-9a-f]*"$', re.MULTILINE)


def grants() -> dict[Path, str]:
    """The text of each grant, for the module of its name as it is now."""
    found = {}
    for path in sorted(GRANTS.glob("*.toml")):
        digest = hashlib.sha256((ROOT / "plugins" / f"{path.stem}.wasm").read_bytes()).hexdigest()
        found[path] = _DIGEST.sub(f'sha256 = "{digest}"', path.read_text("utf-8"))
    return found


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
    for path, text in grants().items():
        path.write_text(text, "utf-8")
        print(path.relative_to(ROOT).as_posix())
