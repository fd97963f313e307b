"""The nodes of a host as ComfyTavern's editors list them, written once for all who ask."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import trio
from pydantic_core import PydanticSerializationError

from innkeeper.plugins.host import Host
from innkeeper.plugins.nodes import NodeDefinition
from innkeeper.server.cache.etags import etag_of
from innkeeper.workflow.checking.own_nodes import OWN_NODES

logger = logging.getLogger("innkeeper.server")

_HIDDEN: Final = {"function", "filePath", "file_path", "clientScriptUrl"}
"""What is the host's own affair, and what would lead to files and scripts that are not there."""

_NATIVE: Final = " (native)"

_Known = tuple[tuple[str, NodeDefinition], ...]


class NodeList:
    """The list as JSON text. What it is made of never changes, so that it is made anew only where others are there."""

    def __init__(self) -> None:
        self._known: _Known = ()
        self._text = b"[]"
        self._etag = etag_of(b"[]")
        self._making = trio.Lock()

    async def text(self, host: Host, hidden: Callable[[str], bool]) -> tuple[bytes, str]:
        """The list (bytes), and its ETag (str).

        Args:
            host: whose nodes.
            hidden: whether nodes of a plugin (its id) are left out.
        """
        async with self._making:
            found = _nodes(host, hidden)
            if not _same(found, self._known):
                self._text = await trio.to_thread.run_sync(_written, found)
                self._etag, self._known = etag_of(self._text), found
            return self._text, self._etag


def _nodes(host: Host, hidden: Callable[[str], bool]) -> _Known:
    own = [("", definition) for definition in OWN_NODES.values()]
    theirs = [(plugin, definition) for plugin, definition in host.definitions.values() if not hidden(plugin)]
    return tuple(sorted((*own, *theirs), key=lambda each: each[1].full_type))


def _same(some: _Known, others: _Known) -> bool:
    # A comparison of what they say would take as long as writing them.
    return len(some) == len(others) and all(
        one[0] == other[0] and one[1] is other[1] for one, other in zip(some, others, strict=True)
    )


def _written(nodes: Sequence[tuple[str, NodeDefinition]]) -> bytes:
    found = []
    for plugin, definition in nodes:
        try:
            said: dict[str, Any] = json.loads(definition.model_dump_json(by_alias=True, exclude_none=True))
        except (PydanticSerializationError, ValueError):
            # Fields that this host does not know may hold what no JSON does.
            logger.warning("the node %s is not listed: its definition is no JSON", definition.full_type)
            continue
        for key in _HIDDEN:
            said.pop(key, None)
        said["innkeeper"] = {"plugin": plugin.removesuffix(_NATIVE), "native": plugin.endswith(_NATIVE)}
        found.append(said)
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
