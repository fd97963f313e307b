"""plugin.json and plugin.yaml: a folder that is one plugin, with a Wasm module or with Python code as its entry.

A manifest as others are, and `wasm` or `python` beside it. What ComfyTavern's manifests say of front ends and the
like is kept, and has no effect yet.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from innkeeper.plugins.documents import parse_json, parse_yaml
from innkeeper.plugins.manifest import ID, Codec, Manifest
from innkeeper.plugins.manifest_table import parse_manifest_table
from innkeeper.plugins.tables import Table, TableError, shown

FOREIGN: Final = frozenset(
    (
        "frontend", "front_end", "backend", "configOptions", "config_options", "content_scripts", "contentScripts",
        "ui_slots", "uiSlots", "panels", "widgets", "prefabs", "clientScripts", "client_scripts", "assets", "paths",
        "components", "hooks", "tools", "routes", "permissions", "scope", "tavernVersion",
    )
)  # fmt: skip
"""Keys of such manifests elsewhere. Known here so that none is taken for a slip of the pen."""

_PYTHON = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", re.ASCII)
_PYTHON_RIGHT = 'a module and a function of it, such as "main:setup"'
_WASM_RIGHT = 'the name of a .wasm file in this folder, such as "shout.wasm"'


@dataclass(frozen=True, slots=True)
class FolderManifest:
    """What plugin.json or plugin.yaml says.

    Attributes:
        label: its name in messages, such as "plugins/shout/plugin.json".
        kind: "wasm" or "native".
        entry: the module's name below the folder, with "/"; or "module:function".
        data: the keys of the manifest proper.
        unused: the others, as they were written.
    """

    label: str
    kind: Literal["wasm", "native"]
    entry: str
    data: dict[str, Any]
    unused: dict[str, Any]

    def manifest(self, exports: Collection[str] | None) -> Manifest:
        """The manifest.

        Args:
            exports: functions that its nodes may name; None where that is not known yet.

        Raises:
            TableError: with every problem of it.
        """
        found = parse_manifest_table(self.data, where=self.label, exports=exports)
        if self.kind == "native" and found.codec != "msgpack" and "codec" in self.data:
            raise TableError([f"{self.label}: codec is {found.codec!r}: a native plugin gets values; leave it out"])
        codec: Codec = "msgpack" if self.kind == "native" else found.codec
        return replace(found, codec=codec, unused=self.unused | {key: self.data[key] for key in found.unknown})


def parse_folder_manifest(data: bytes, *, label: str) -> FolderManifest:
    """What the bytes of a plugin.json or plugin.yaml say.

    Args:
        data: the file's bytes.
        label: its name, for messages.

    Raises:
        TableError: with every problem of it.
    """
    table = parse_json(data, label) if label.endswith(".json") else parse_yaml(data, label)
    problems: list[str] = []
    own, unused = dict(table), {}
    for key in table:
        if key in FOREIGN:
            unused[key] = own.pop(key)
    if isinstance(own.get("nodes"), dict):
        # ComfyTavern's `nodes` names a module that defines them; here it is a list of definitions.
        unused["nodes"] = own.pop("nodes")
    if "id" not in own and isinstance(own.get("name"), str) and ID.fullmatch(own["name"]):
        # In ComfyTavern's manifests `name` is the id.
        own["id"] = own.pop("name")
    if "displayName" in own:
        own.setdefault("name", own.pop("displayName"))
    reader = Table(own, label, problems)
    wasm = reader.text("wasm", right=_WASM_RIGHT, most=500)
    python = reader.text("python", pattern=_PYTHON, right=_PYTHON_RIGHT, most=500)
    if wasm is not None and not _inside(wasm):
        reader.problem("wasm", f"is {shown(wasm)}: it must be {_WASM_RIGHT}")
    if "wasm" in own and "python" in own:
        problems.append(f"{label}: has both 'wasm' and 'python': a plugin is one or the other; remove one")
    elif "wasm" not in own and "python" not in own:
        problems.append(
            f"{label}: has no entry: add 'wasm', {_WASM_RIGHT}, or 'python', {_PYTHON_RIGHT}; "
            "code in JavaScript or TypeScript is not run here"
        )
    own.pop("wasm", None)
    own.pop("python", None)
    found = FolderManifest(label, "native" if python is not None else "wasm", python or wasm or "", own, unused)
    try:
        found.manifest(None)
    except TableError as error:
        problems += error.problems
    if problems:
        raise TableError(problems)
    return found


def _inside(name: str) -> bool:
    parts = name.split("/")
    return (
        name.endswith(".wasm")
        and all(part not in ("", ".", "..") for part in parts)
        and not any(character in name for character in "\\:\0")
        and name.isprintable()
    )
