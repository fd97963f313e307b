"""What the author says of a plugin: id, version, nodes, and which capabilities it requests.

TOML in the module's custom section `innkeeper.manifest`, or in NAME.toml beside NAME.wasm. Both are the author's
words, so where both are present they must be equal byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from innkeeper.errors import RejectedError
from innkeeper.plugins.tables import ManifestError, TableError, parse_toml

if TYPE_CHECKING:
    from innkeeper.plugins.capabilities import Capability
    from innkeeper.plugins.config_schema import ConfigSchema
    from innkeeper.plugins.nodes import NodeDefinition
    from innkeeper.plugins.serving import Serve

SECTION = "innkeeper.manifest"
"""Name of the custom section that carries a manifest."""

ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
ID_RIGHT = "1 to 64 of the characters a-z 0-9 . _ -, the first a letter or a digit"

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
        versions: those that will do, such as ">=1.2, <2"; "" for all.
        optional: whether it works without.
    """

    id: str
    versions: str = ""
    optional: bool = False


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
        innkeeper: versions of the host with which it works, such as ">=0.1, <1"; "" for all.
        keywords: words by which people find it.
        category: among which kind of plugins it is listed.
        repository: where its source is.
        readme: what its author tells users, or the name of a file beside the module (`readme`).
        config_schema: what its configuration may be, or None for anything.
        unused: what a plugin.json or plugin.yaml has for other parts than this host has yet, as it was written.
        serve: which HTTP requests it answers, or None.
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
    innkeeper: str = ""
    keywords: tuple[str, ...] = ()
    category: str | None = None
    repository: str | None = None
    readme: str | None = None
    config_schema: ConfigSchema | None = None
    unused: Mapping[str, Any] = field(default_factory=dict)
    serve: Serve | None = None

    @property
    def has_streams(self) -> bool:
        """Whether it has a node with a stream among its inputs or outputs, in whatever mode (bool)."""
        sets = [slots for node in self.nodes for slots in (node.inputs, node.outputs)]
        modes = [mode for node in self.nodes for mode in node.modes.values()]
        sets += [slots for mode in modes for slots in (mode.inputs or {}, mode.outputs or {})]
        return any(slot.is_stream for slots in sets for slot in slots.values())


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
    """A manifest from its text. `manifest_table.parse_manifest_table` takes one that is parsed already.

    Raises:
        TableError: with every problem of it.
    """
    from innkeeper.plugins.manifest_table import read_table

    return read_table(parse_toml(data, where), where=where, exports=exports, embedded=embedded)
