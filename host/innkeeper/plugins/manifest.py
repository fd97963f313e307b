"""What the author says of a plugin: id, version, nodes, and which capabilities it requests.

TOML in the module's custom section `innkeeper.manifest`, or in NAME.toml beside NAME.wasm. Both are the author's
words, so where both are present they must be equal byte for byte.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from innkeeper.errors import RejectedError
from innkeeper.plugins.quantities import LIMITS, read_quantities
from innkeeper.plugins.tables import ManifestError, Table, TableError, parse_toml, shown

if TYPE_CHECKING:
    from innkeeper.plugins.capabilities import Capability
    from innkeeper.plugins.nodes import NodeDefinition

SECTION = "innkeeper.manifest"
"""Name of the custom section that carries a manifest."""

ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
ID_RIGHT = "1 to 64 of the characters a-z 0-9 . _ -, the first a letter or a digit"

_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_KEYS = (
    "id", "version", "name", "description", "author", "license", "homepage", "namespace", "abi", "codec", "instance",
    "limits", "nodes", "capabilities",
)  # fmt: skip
_MAX_DEPTH = 32
_MAX_CAPABILITIES = 64
_MAX_NODES = 1000

Codec = Literal["msgpack", "json", "raw"]
Instance = Literal["fresh", "shared"]


@dataclass(frozen=True, slots=True)
class CapabilityRequest:
    """A capability that a plugin asks for.

    Attributes:
        name: such as "http:https://api.example.com/v1/*", in normal form.
        reason: the author's, shown to the operator.
        optional: whether the plugin works without it.
    """

    name: str
    reason: str
    optional: bool = True

    @property
    def capability(self) -> Capability:
        """What it asks for (Capability)."""
        from innkeeper.plugins.capabilities import parse_capability

        return parse_capability(self.name)

    @property
    def available(self) -> bool:
        """Whether this version of the host has it (bool)."""
        return self.capability.kind.available


@dataclass(frozen=True, slots=True)
class Dependency:
    """Another plugin that a plugin works with.

    Attributes:
        id: its id.
        versions: those that will do, such as ">=1.2, <2".
    """

    id: str
    versions: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The author's words about a plugin.

    Attributes:
        id: the plugin's id.
        version: as its author writes versions.
        namespace: of its nodes; the id by default.
        abi: "extism-1".
        codec: how the inputs and outputs of nodes cross the border.
        instance: "fresh" for a new guest per call; "shared" asks for one that stays, which a grant must allow.
        limits: what it would like, by field of `Limits`, in bytes, seconds or counts; nothing by itself.
        capabilities: what it requests.
        nodes: functions that graphs can place.
        embedded: whether it came from the module itself.
        unknown: top-level keys that this version does not know.
        dependencies: other plugins that it works with, and the only ones that it can call.
        unused: what a plugin.json or plugin.yaml has for other parts than this host has yet, as it was written.
    """

    id: str
    version: str
    namespace: str
    name: str | None = None
    description: str | None = None
    author: str | None = None
    license: str | None = None
    homepage: str | None = None
    abi: Literal["extism-1"] = "extism-1"
    codec: Codec = "raw"
    instance: Instance = "fresh"
    limits: Mapping[str, int | float] = field(default_factory=dict)
    capabilities: tuple[CapabilityRequest, ...] = ()
    nodes: tuple[NodeDefinition, ...] = ()
    embedded: bool = True
    unknown: tuple[str, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    unused: Mapping[str, Any] = field(default_factory=dict)


def manifest_name(label: str) -> str:
    """The name of the manifest beside a file (str)."""
    return f"{label.removesuffix('.wasm')}.toml"


def read_manifest(
    sections: Sequence[bytes],
    beside: bytes | None,
    *,
    where: str,
    exports: Collection[str],
) -> Manifest | None:
    """The manifest of a module, or None where it has none.

    Args:
        sections: contents of the module's custom sections named `SECTION`.
        beside: contents of NAME.toml beside it, or None.
        where: the module's file name, for messages.
        exports: names of the functions that the module exports.

    Raises:
        ManifestError: it is not a manifest; one sentence per problem.
        RejectedError: there is more than one.
    """
    if len(sections) > 1:
        raise RejectedError(f"{where}: has {len(sections)} sections {SECTION!r}; one is the most")
    if sections and beside is not None and sections[0].strip() != beside.strip():
        raise RejectedError(
            f"{where}: its section {SECTION!r} and the .toml file beside it differ: remove the file or make it equal"
        )
    data = sections[0] if sections else beside
    if data is None:
        return None
    what = f"{where}: manifest" if sections else manifest_name(where)
    try:
        return parse_manifest(data, where=what, exports=exports, embedded=bool(sections))
    except TableError as error:
        raise ManifestError(error) from None


def parse_manifest(data: bytes, *, where: str, exports: Collection[str], embedded: bool = True) -> Manifest:
    """A manifest from its text.

    Raises:
        TableError: with every problem of it.
    """
    return manifest_of(parse_toml(data, where), where=where, exports=exports, embedded=embedded)


def manifest_of(
    data: dict[str, Any], *, where: str, exports: Collection[str] | None, embedded: bool = False
) -> Manifest:
    """A manifest from what its file holds, in whatever notation.

    Args:
        data: its keys and values.
        where: the file's name, for messages.
        exports: functions that nodes may name; None where that is not known yet.
        embedded: whether it came from the module itself.

    Raises:
        TableError: with every problem of it.
    """
    problems: list[str] = []
    table = Table(data, where, problems)
    plugin_id = table.text("id", required=True, pattern=ID, right=ID_RIGHT) or ""
    version = table.text("version", required=True, pattern=_VERSION, right='a version such as "1.0.0"') or ""
    namespace = table.text("namespace", pattern=ID, right=ID_RIGHT) or plugin_id
    table.choice("abi", ("extism-1",), "extism-1")
    manifest = Manifest(
        id=plugin_id,
        version=version,
        namespace=namespace,
        name=table.text("name"),
        description=table.text("description", most=20_000),
        author=table.text("author"),
        license=table.text("license"),
        homepage=table.text("homepage"),
        codec=table.choice("codec", ("msgpack", "json", "raw"), "msgpack" if table.data.get("nodes") else "raw"),
        instance=table.choice("instance", ("fresh", "shared"), "fresh"),
        limits=read_quantities(table.table("limits"), LIMITS),
        capabilities=_capabilities(table),
        nodes=_nodes(table, namespace, exports),
        embedded=embedded,
        unknown=table.unknown(_KEYS),
    )
    if manifest.nodes and manifest.codec == "raw":
        table.problem("codec", "is 'raw': a plugin with nodes needs 'msgpack' or 'json'")
    if problems:
        raise TableError(problems)
    return manifest


def _capabilities(table: Table) -> tuple[CapabilityRequest, ...]:
    entries = table.tables("capabilities")
    if len(entries) > _MAX_CAPABILITIES:
        table.problem("capabilities", f"has {len(entries)} entries: the most is {_MAX_CAPABILITIES}")
        return ()
    if not entries:
        return ()
    from innkeeper.plugins.capabilities import parse_capability

    requests: dict[str, CapabilityRequest] = {}
    for entry in entries:
        entry.only(("name", "reason", "optional"))
        name = entry.text("name", required=True, right='a capability such as "log"')
        reason = entry.text("reason", required=True, right="a sentence that says what it is for")
        optional = entry.flag("optional", True)
        if name is None:
            continue
        try:
            # The operator sees what is meant, not how it was spelled: a host in punycode, no escape without need.
            name = str(parse_capability(name))
        except ValueError as error:
            entry.problem("name", f"is not right: {error}")
            continue
        if name in requests:
            entry.problem("name", f"is {shown(name)}, which another entry asks for")
        elif reason is not None:
            requests[name] = CapabilityRequest(name, reason, optional)
    return tuple(requests.values())


def _nodes(table: Table, namespace: str, exports: Collection[str] | None) -> tuple[NodeDefinition, ...]:
    entries = table.tables("nodes")
    if not entries:
        return ()
    if len(entries) > _MAX_NODES:
        table.problem("nodes", f"has {len(entries)} entries: the most is {_MAX_NODES}")
        return ()
    from innkeeper.plugins.definitions import define_node

    nodes: dict[str, NodeDefinition] = {}
    for entry in entries:
        given = entry.data.get("namespace", namespace)
        if given != namespace:
            entry.problem("namespace", f"is {shown(given)}: it must be the plugin's, {namespace!r}, or be left out")
            continue
        if (odd := not_plain(entry.data)) is not None:
            entry.problem(odd, "holds what JSON cannot: use text, numbers of up to 64 bits, true, false, lists, tables")
            continue
        node = define_node(entry, namespace)
        if node is None:
            continue
        if node.type in nodes:
            entry.problem("type", f"is {node.type!r}, which another node of this plugin has")
        if exports is not None and node.function not in exports:
            entry.problem("function", f"is {shown(node.function)}, which the module does not export")
        nodes[node.type] = node
    return tuple(nodes.values())


def not_plain(value: Any, key: str = "", depth: int = 0) -> str | None:
    """Where a value first holds what JSON has no word for (dates, NaN) or is nested too deeply; None if nowhere."""
    if isinstance(value, dict | list):
        if depth == _MAX_DEPTH:
            return key
        items = value.items() if isinstance(value, dict) else enumerate(value)
        found = (not_plain(item, f"{key}.{name}" if key else str(name), depth + 1) for name, item in items)
        return next((odd for odd in found if odd is not None), None)
    if isinstance(value, bool | str):
        return None
    if isinstance(value, int):
        return None if -(1 << 63) <= value < 1 << 64 else key
    if isinstance(value, float):
        return None if math.isfinite(value) else key
    return key
