"""What the server is made of: a composition root puts it together, routes take what they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import trio
from fastapi import Depends
from starlette.requests import HTTPConnection

from innkeeper.plugins.home import Home
from innkeeper.plugins.host import Host
from innkeeper.plugins.settings import ServerSettings
from innkeeper.server.files.store import Files
from innkeeper.server.identity import Identify
from innkeeper.server.projects.desk import ProjectDesk
from innkeeper.storage.database import Database
from innkeeper.workflow.scheduling.host_scheduler import HostScheduler


@dataclass(frozen=True, slots=True)
class Parts:
    """What routes work with.

    Attributes:
        host: the host, open.
        home: its home folder.
        database: where everything is kept.
        scheduler: executes the queue of the home.
        settings: what the operator decided of the server.
        identify: recognises who asks.
        files: of all users, behind logical paths.
        projects: of all users, with their workflows.
        tasks: of the server; what is started there ends with it.
        stopping: set once the server takes no more requests.
    """

    host: Host
    home: Home
    database: Database
    scheduler: HostScheduler
    settings: ServerSettings
    identify: Identify
    files: Files
    projects: ProjectDesk
    tasks: trio.Nursery
    stopping: trio.Event


def parts_of(connection: HTTPConnection) -> Parts:
    """The parts of the server that a request came to."""
    parts: Parts = connection.app.state.parts
    return parts


PartsOf = Annotated[Parts, Depends(parts_of)]
