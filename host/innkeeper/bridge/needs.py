"""What services are made with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from innkeeper.bridge.background import Background
from innkeeper.bridge.run_streams import RunStreams, Streams
from innkeeper.bridge.run_variables import MemoryVariables, RunVariables
from innkeeper.plugins.configuration import Configuration

if TYPE_CHECKING:
    from innkeeper.bridge.caller import Caller
    from innkeeper.bridge.knowledge import LazyKnowledge
    from innkeeper.bridge.lazy_scheduler import LazyScheduler
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
        folder: where the database and whatever lies beside it are; may not exist yet. None: nowhere.
        scheduler: makes what executes workflows, at the first need; None: this host executes none for plugins.
        knowledge: makes what keeps knowledge bases, at the first need; who made it closes it. None: this host has none.
        refused: is told of what plugins have no right to; see `gate.Refused`.
    """

    database: Callable[[], Awaitable[Database]]
    configuration: Configuration
    host: Callable[[], Host]
    background: Background
    variables: RunVariables = field(default_factory=MemoryVariables)
    streams: Streams = field(default_factory=RunStreams)
    folder: Path | None = None
    scheduler: LazyScheduler | None = None
    knowledge: LazyKnowledge | None = None
    refused: Callable[[Caller, str, str], None] | None = None
