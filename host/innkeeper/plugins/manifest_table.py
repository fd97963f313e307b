"""From the table of a manifest to what it says; every problem is found in one pass.

The table may have been read from any notation: what it holds is bounded and copied before it is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from innkeeper.plugins.manifest import ID, ID_RIGHT, CapabilityRequest, Dependency, Manifest
from innkeeper.plugins.quantities import LIMITS, read_quantities
from innkeeper.plugins.tables import Table, TableError, shown
from innkeeper.plugins.trees import not_plain, tree_of

if TYPE_CHECKING:
    from innkeeper.plugins.config_schema import ConfigSchema
    from innkeeper.plugins.nodes import NodeDefinition
    from innkeeper.plugins.serving import Serve

KEYS: Final = (
    "id", "version", "name", "description", "author", "license", "homepage", "namespace", "abi", "codec", "instance",
    "limits", "nodes", "capabilities", "innkeeper", "keywords", "category", "repository", "readme", "config_schema",
    "dependencies", "serve",
)  # fmt: skip
"""Top-level keys of a manifest."""

_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_MAX_CAPABILITIES = 64
_MAX_NODES = 1000
_MAX_DEPENDENCIES = 64
_MAX_KEYWORDS = 32
_MAX_KEYWORD = 64
_MAX_README = 64 << 10


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
    return read_table(tree_of(table, where), where=where, exports=exports, embedded=embedded)


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
        innkeeper=_range(table, "innkeeper"),
        keywords=_keywords(table),
        category=table.text("category", most=_MAX_KEYWORD),
        repository=table.text("repository"),
        readme=table.text("readme", most=_MAX_README),
        config_schema=_config_schema(table),
        dependencies=_dependencies(table, plugin_id),
        serve=_serve(table, exports),
    )
    if manifest.serve is not None and not any(each.capability.name == "http.serve" for each in manifest.capabilities):
        table.problem("serve", "needs the capability 'http.serve': request it in [[capabilities]]")
    if manifest.nodes and manifest.codec == "raw":
        table.problem("codec", "is 'raw': a plugin with nodes needs 'msgpack' or 'json'")
    if problems:
        raise TableError(problems)
    return manifest


def _range(table: Table, key: str) -> str:
    text = table.text(key, right='a range of versions such as ">=1.2, <2"') or ""
    if text:
        from innkeeper.plugins.versions import check_range

        try:
            check_range(text)
        except ValueError as error:
            table.problem(key, str(error))
    return text


def _keywords(table: Table) -> tuple[str, ...]:
    value = table.data.get("keywords", [])
    if not isinstance(value, list) or not all(
        isinstance(each, str) and 0 < len(each) <= _MAX_KEYWORD for each in value
    ):
        table.problem("keywords", f"must be a list of texts of 1 to {_MAX_KEYWORD} characters")
        return ()
    if len(value) > _MAX_KEYWORDS:
        table.problem("keywords", f"has {len(value)} entries: the most is {_MAX_KEYWORDS}")
    return tuple(dict.fromkeys(value))


def _config_schema(table: Table) -> ConfigSchema | None:
    if "config_schema" not in table.data:
        return None
    from innkeeper.plugins.config_schema import read_schema

    inner = table.table("config_schema")
    if (odd := not_plain(inner.data)) is not None:
        inner.problem(odd, "holds what JSON cannot: use text, numbers of up to 64 bits, true, false, lists, tables")
        return None
    return read_schema(inner)


def _serve(table: Table, exports: Collection[str] | None) -> Serve | None:
    if "serve" not in table.data:
        return None
    from innkeeper.plugins.serving import read_serve

    return read_serve(table.table("serve"), exports)


def _dependencies(table: Table, plugin_id: str) -> tuple[Dependency, ...]:
    entries = table.tables("dependencies")
    if len(entries) > _MAX_DEPENDENCIES:
        table.problem("dependencies", f"has {len(entries)} entries: the most is {_MAX_DEPENDENCIES}")
        return ()
    found: dict[str, Dependency] = {}
    for entry in entries:
        entry.only(("id", "versions", "optional"))
        wanted = entry.text("id", required=True, pattern=ID, right=ID_RIGHT)
        versions, optional = _range(entry, "versions"), entry.flag("optional", False)
        if wanted is None:
            continue
        if wanted == plugin_id:
            entry.problem("id", f"is {wanted!r}: that is this plugin itself")
        if wanted in found:
            entry.problem("id", f"is {wanted!r}, which another entry has")
        found[wanted] = Dependency(wanted, versions, optional)
    return tuple(found.values())


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
        if (odd := not_plain(entry.data)) is not None:
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
