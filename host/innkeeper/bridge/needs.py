"""What services are made with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from innkeeper.bridge.background import Background
from innkeeper.bridge.run_streams import Streams
from innkeeper.bridge.run_variables import RunVariables
from innkeeper.plugins.configuration import Configuration

if TYPE_CHECKING:
    from innkeeper.plugins.host import Host
    from innkeeper.storage.database import Database


@dataclass(frozen=True, slots=True)
class Needs:
    """What a service may use.

    Attributes:
        database: opens where services keep things, at the first need; raises as `storage.database.open_database`.
        configuration: what the operator decided.
        host: the host that the service belongs to; raises UsageError before it is up and once it closes.
        background: for what goes on while no guest asks.
        variables: of runs.
        streams: the channels that runs connect to their nodes.
    """

    database: Callable[[], Awaitable[Database]]
    configuration: Configuration
    host: Callable[[], Host]
    background: Background
    variables: RunVariables
    streams: Streams
