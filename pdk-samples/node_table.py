"""Prints docs/knowledge-nodes.md's tables, from the manifests of the plugins that it is about.

python pdk-samples/node_table.py          prints them
python pdk-samples/node_table.py --write  puts them into the page
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "knowledge-nodes.md"
PLUGINS = ("kb", "kb-tools", "core-loaders")
BEGIN, END = "<!-- the tables of pdk-samples/node_table.py -->\n", "<!-- end of the tables -->\n"


def _slots(slots: dict[str, Any]) -> str:
    """Slots with their types; those that must be given in bold."""
    shown = []
    for key, slot in slots.items():
        many = ", several" if slot.get("multi") else ""
        name = f"**`{key}`**" if slot.get("required") else f"`{key}`"
        shown.append(f"{name} {slot['dataFlowType']}{many}")
    return "<br>".join(shown) or "none"


def tables() -> str:
    """A table of nodes for each plugin, below what it asks for and why."""
    lines: list[str] = []
    for name in PLUGINS:
        manifest = tomllib.loads((ROOT / "pdk-samples" / "javascript" / name / "manifest.toml").read_text("utf-8"))
        lines += [f"### {name}", f"{manifest['description']}.", "", "| capability | why |", "|---|---|"]
        for each in manifest["capabilities"]:
            optional = " (optional)" if each.get("optional") else ""
            lines.append(f"| `{each['name']}`{optional} | {each['reason']} |")
        lines += ["", "| node | what it does | inputs | outputs |", "|---|---|---|---|"]
        for node in manifest["nodes"]:
            inputs, outputs = _slots(node.get("inputs", {})), _slots(node.get("outputs", {}))
            lines.append(f"| `{manifest['namespace']}:{node['type']}` | {node['description']} | {inputs} | {outputs} |")
        lines.append("")
    return "\n".join(lines)


def written(page: str) -> str:
    """The page with the tables as they are now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
    else:
        print(tables())
