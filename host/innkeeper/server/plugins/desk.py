"""What the routes of plugins and nodes keep for the life of a server."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from innkeeper.server.plugins.node_list import NodeList
from innkeeper.server.plugins.places import Places


@dataclass(frozen=True, slots=True)
class PluginDesk:
    """One for a server.

    Attributes:
        nodes: the nodes as editors list them.
        files: threads that read and write files of plugins at the same time.
        places: for requests that plugins answer.
        writing: one change of a grant or a state after the other.
    """

    nodes: NodeList = field(default_factory=NodeList)
    files: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(4))
    places: Places = field(default_factory=Places)
    writing: trio.Lock = field(default_factory=trio.Lock)
