"""Prints the tables of nodes of docs/core-nodes.md and docs/knowledge-nodes.md, from the manifests of the plugins that
the pages are about.

python pdk-samples/node_table.py          prints them
python pdk-samples/node_table.py --write  puts them into the pages
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "core-nodes.md": ("c/core-basics", "c/logic", "c/core-streams", "c/text-streams", "javascript/core-messages"),
    "knowledge-nodes.md": ("javascript/kb", "javascript/kb-tools", "javascript/core-loaders"),
}
"""Pages in docs/ to the folders of plugins that each is about."""
BEGIN, END = "<!-- the tables of pdk-samples/node_table.py -->\n", "<!-- end of the tables -->\n"


def _slots(slots: dict[str, Any]) -> str:
    """Slots with their types; those that must be given in bold."""
    shown = []
    for key, slot in slots.items():
        many = ", several" if slot.get("multi") else ""
        stream = ", a stream" if slot.get("isStream") else ""
        name = f"**`{key}`**" if slot.get("required") else f"`{key}`"
        shown.append(f"{name} {slot['dataFlowType']}{stream}{many}")
    return "<br>".join(shown) or "none"


def tables(plugins: Sequence[str]) -> str:
    """A table of nodes for each plugin, below what it asks for and why."""
    lines: list[str] = []
    for plugin in plugins:
        manifest = tomllib.loads((ROOT / "pdk-samples" / plugin / "manifest.toml").read_text("utf-8"))
        lines += [f"### {manifest['id']}", f"{manifest['description']}.", ""]
        if "capabilities" in manifest:
            lines += ["| capability | why |", "|---|---|"]
            for each in manifest["capabilities"]:
                optional = " (optional)" if each.get("optional") else ""
                lines.append(f"| `{each['name']}`{optional} | {each['reason']} |")
            lines.append("")
        lines += ["| node | what it does | inputs | outputs |", "|---|---|---|---|"]
        for node in manifest["nodes"]:
            inputs, outputs = _slots(node.get("inputs", {})), _slots(node.get("outputs", {}))
            lines.append(f"| `{manifest['namespace']}:{node['type']}` | {node['description']} | {inputs} | {outputs} |")
        lines.append("")
    return "\n".join(lines)


def written(page: str, name: str = "knowledge-nodes.md") -> str:
    """The text of a page with its tables as they are now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables(PAGES[name])}\n{END}{after}"


if __name__ == "__main__":
    for name, plugins in PAGES.items():
        page = ROOT / "docs" / name
        if "--write" in sys.argv[1:]:
            page.write_text(written(page.read_text("utf-8"), name), "utf-8")
        else:
            print(tables(plugins))
