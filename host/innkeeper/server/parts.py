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
from innkeeper.server.accounts.users import Accounts
from innkeeper.server.cache.caches import Caches
from innkeeper.server.characters.characters import Characters
from innkeeper.server.chats.store import Chats
from innkeeper.server.files.store import Files
from innkeeper.server.guards.guards import Guards
from innkeeper.server.identity import Identify
from innkeeper.server.live.live import Live
from innkeeper.server.plugins.desk import PluginDesk
from innkeeper.server.projects.desk import ProjectDesk
from innkeeper.server.runs.desk import RunDesk
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
        plugins: what the routes of plugins and nodes keep.
        runs: what the routes of runs keep.
        files: of all users, behind logical paths.
        accounts: the users, and what lets them in.
        projects: of all users, with their workflows.
        tasks: of the server; what is started there ends with it.
        stopping: set once the server takes no more requests.
        guards: what stands before the routes, and what is counted.
        caches: what is kept in memory, by name; told what to forget.
        chats: the chat trees of all users.
        characters: the character cards of all users.
        live: runs as they go on, for those who watch them.
    """

    host: Host
    home: Home
    database: Database
    scheduler: HostScheduler
    settings: ServerSettings
    identify: Identify
    plugins: PluginDesk
    runs: RunDesk
    files: Files
    accounts: Accounts
    projects: ProjectDesk
    tasks: trio.Nursery
    stopping: trio.Event
    guards: Guards
    caches: Caches
    chats: Chats
    characters: Characters
    live: Live


def parts_of(connection: HTTPConnection) -> Parts:
    """The parts of the server that a request came to."""
    parts: Parts = connection.app.state.parts
    return parts


PartsOf = Annotated[Parts, Depends(parts_of)]
