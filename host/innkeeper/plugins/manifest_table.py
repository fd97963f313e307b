"""From the table of a manifest to what it says; every problem is found in one pass.

The table may have been read from any notation: what it holds is bounded and copied before it is looked at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from innkeeper.plugins.manifest import ID, ID_RIGHT, CapabilityRequest, Manifest
from innkeeper.plugins.quantities import LIMITS, read_quantities
from innkeeper.plugins.tables import MAX_BYTES, Table, TableError, shown, visible

if TYPE_CHECKING:
    from innkeeper.plugins.nodes import NodeDefinition

KEYS: Final = (
    "id", "version", "name", "description", "author", "license", "homepage", "namespace", "abi", "codec", "instance",
    "limits", "nodes", "capabilities",
)  # fmt: skip
"""Top-level keys of a manifest."""

_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_MAX_DEPTH = 32
_MAX_NESTING = 64
_MAX_ELEMENTS = 100_000
_MAX_CAPABILITIES = 64
_MAX_NODES = 1000


def parse_manifest_table(
    table: Mapping[str, Any], *, where: str, exports: Collection[str] | None, embedded: bool = False
) -> Manifest:
    """A manifest from its table, as TOML, JSON or YAML hold it. The table is not kept.

    A key whose value is None, which TOML has no word for, is absent.

    Args:
        table: tables are mappings whose keys are text, arrays are lists or tuples; it may be a cycle, or have parts
            that stand in many places at once.
        where: the file's name, for messages.
        exports: names of the functions that the module exports; None where there is no module to ask.
        embedded: whether it came from the module itself.

    Raises:
        TableError: with every problem of it.
    """
    return read_table(_Copy(where).of(table), where=where, exports=exports, embedded=embedded)


def read_table(data: dict[str, Any], *, where: str, exports: Collection[str] | None, embedded: bool) -> Manifest:
    """As `parse_manifest_table`, of a table that is a tree of plain values and whose file was bounded."""
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
        unknown=table.unknown(KEYS),
    )
    if manifest.nodes and manifest.codec == "raw":
        table.problem("codec", "is 'raw': a plugin with nodes needs 'msgpack' or 'json'")
    if problems:
        raise TableError(problems)
    return manifest


class _Copy:
    """Makes a tree of a table. What its notation lets stand in many places at once is counted in each of them, so a few
    hundred bytes of YAML cannot become a billion values."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._elements = 0
        self._text = 0

    def of(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """The copy.

        Raises:
            TableError: it is too large, or nested too deeply; or a key is no text.
        """
        return self._table(table, 1)

    def _table(self, table: Mapping[str, Any], depth: int) -> dict[str, Any]:
        copy: dict[str, Any] = {}
        for key, value in table.items():
            if not isinstance(key, str):
                raise self._error(f"has the key {shown(key)}: keys are text")
            self._count(key)
            if value is not None:
                copy[key] = self._value(value, depth)
        return copy

    def _value(self, value: Any, depth: int) -> Any:
        self._count(value if isinstance(value, str) else "")
        if not isinstance(value, Mapping | list | tuple):
            return value
        if depth == _MAX_NESTING:
            raise self._error(f"has more than {_MAX_NESTING} tables and lists inside of each other")
        if isinstance(value, Mapping):
            return self._table(value, depth + 1)
        return [self._value(item, depth + 1) for item in value]

    def _count(self, text: str) -> None:
        self._elements += 1
        self._text += len(text)
        if self._elements > _MAX_ELEMENTS:
            raise self._error(f"has more than {_MAX_ELEMENTS:,} values")
        if self._text > MAX_BYTES:
            raise self._error(f"has more than {MAX_BYTES:,} characters of text")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise self._error(f"has the text {visible(text, 60)!r}: half of a surrogate pair is no character")

    def _error(self, sentence: str) -> TableError:
        return TableError([f"{self._where}: {sentence}"])


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
        if namespace and given != namespace:
            entry.problem("namespace", f"is {shown(given)}: it must be the plugin's, {namespace!r}, or be left out")
            continue
        if (odd := _not_plain(entry.data)) is not None:
            entry.problem(odd, "holds what JSON cannot: use text, numbers of up to 64 bits, true, false, lists, tables")
            continue
        # Where the id is wrong, that is said, and what follows from it is not.
        node = define_node(entry, namespace or "-")
        if node is None:
            continue
        if node.type in nodes:
            entry.problem("type", f"is {node.type!r}, which another node of this plugin has")
        if exports is not None and node.function not in exports:
            entry.problem("function", f"is {shown(node.function)}, which the module does not export")
        nodes[node.type] = node
    return tuple(nodes.values())


def _not_plain(value: Any, key: str = "", depth: int = 0) -> str | None:
    """Where a value first holds what JSON has no word for (dates, NaN) or is nested too deeply; None if nowhere."""
    if isinstance(value, dict | list):
        if depth == _MAX_DEPTH:
            return key
        items = value.items() if isinstance(value, dict) else enumerate(value)
        found = (_not_plain(item, f"{key}.{name}" if key else str(name), depth + 1) for name, item in items)
        return next((odd for odd in found if odd is not None), None)
    if isinstance(value, bool | str):
        return None
    if isinstance(value, int):
        return None if -(1 << 63) <= value < 1 << 64 else key
    if isinstance(value, float):
        return None if math.isfinite(value) else key
    return key
