"""What the service `scheduler` needs from whatever checks and executes workflows; the composition root gives it one."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import msgpack

from innkeeper.bridge.pieces import unpack_own
from innkeeper.errors import Kind, RejectedError
from innkeeper.plugins.settings import RunsSettings

if TYPE_CHECKING:
    from innkeeper.plugins.host import Host
    from innkeeper.storage.database import Database


MOST_MESSAGE: Final = 2000
"""Characters of a failure's message that are kept."""

NO_OUTPUTS: Final = b"\x80"
"""An empty map as msgpack."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to run.

    Attributes:
        workflow: as `innkeeper run` takes it, as plain data.
        inputs: values of its interface inputs, by key.
        project: the folder of the project whose references it may use, or "". Only a command of the operator names
            one, or the server, of a user's own: whoever makes a job of what a plugin gave leaves it empty, and in a
            plugin's run it counts for nothing.
        confined: whether it may not start native nodes, which have all rights of the host. A plugin's run never may.
    """

    workflow: Mapping[str, Any]
    inputs: Mapping[str, Any]
    project: str = ""
    confined: bool = False

    def packed(self) -> bytes:
        """As the queue keeps it (msgpack). Made node by node: one call for all of a large one would keep the
        interpreter's lock."""
        more: dict[str, Any] = {"inputs": self.inputs}
        if self.project:
            more["project"] = self.project
        if self.confined:
            more["confined"] = True
        packer = msgpack.Packer(unicode_errors="surrogatepass")
        parts: list[bytes] = [packer.pack_map_header(1 + len(more)), packer.pack("workflow")]
        parts.append(packer.pack_map_header(len(self.workflow)))
        for key, value in self.workflow.items():
            parts.append(packer.pack(key))
            if isinstance(value, list):
                parts.append(packer.pack_array_header(len(value)))
                parts += map(packer.pack, value)
            else:
                parts.append(packer.pack(value))
        for key, value in more.items():
            parts += (packer.pack(key), packer.pack(value))
        return b"".join(parts)


def unpacked(job: bytes) -> Job:
    """What `Job.packed` gave. A large one is built piece by piece, in a thread.

    Raises:
        RejectedError: it is damaged.
    """
    try:
        found = unpack_own(job)
        made = Job(found["workflow"], found["inputs"], found.get("project", ""), bool(found.get("confined", False)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, msgpack.UnpackException):
        made = None
    if made is None or not isinstance(made.workflow, dict) or not isinstance(made.inputs, dict):
        raise RejectedError("what the run is to do is damaged in the database: submit it again, or put back a copy")
    return made


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed.

    Attributes:
        kind: of `errors.Kind`.
        message: one sentence.
        node: id of the node that failed first in graph order, or None.
        plugin: id of its plugin, or None.
    """

    kind: str
    message: str
    node: str | None = None
    plugin: str | None = None

    def as_json(self) -> str:
        """As it is kept; of a long message the beginning."""
        message = self.message[:MOST_MESSAGE]
        return json.dumps({"kind": self.kind, "message": message, "node": self.node, "plugin": self.plugin})


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a run.

    Attributes:
        status: "complete" or "error".
        outputs: the workflow's outputs by key, as a msgpack map; those that there are, also after an error.
        failure: why it failed, or None.
    """

    status: Literal["complete", "error"]
    outputs: bytes
    failure: Failure | None = None


def failed(kind: Kind, message: str) -> Report:
    """Of a run that came to nothing."""
    return Report("error", NO_OUTPUTS, Failure(kind.value, message))


class ProblemsError(Exception):
    """A job does not check. `lines` (list of str) say why, one sentence each; `count` (int) is how many there are."""

    def __init__(self, lines: list[str], count: int) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.count = count


class Scheduler(Protocol):
    """Executes the runs that are in storage, and fires the schedules that are there."""

    async def check(self, job: Job) -> None:
        """Makes sure that a job could run now.

        Raises:
            ProblemsError: all that is wrong with it.
        """
        ...

    def generation(self, run: str) -> int:
        """How many runs a run descends from that is executed here, itself included; 0 for any other."""
        ...

    def cancel(self, run: str) -> bool:
        """Ends a run at once if it is executed here (bool); its row says already that somebody wants so."""
        ...

    def wake(self, submitted: str | None = None) -> None:
        """There is a new run (its id) or a new schedule."""
        ...

    async def run(self) -> None:
        """Executes and fires until it is cancelled."""
        ...


@dataclass(frozen=True, slots=True)
class SchedulerNeeds:
    """What a scheduler is made with.

    Attributes:
        host: whose nodes it runs.
        database: where runs and schedules are.
        permitted: whether a plugin (its id) may start workflows now.
        settings: what the operator decided.
        everything: whether schedules fire, and runs begin that others submitted; else those that `wake` names.
        now: seconds since 1970; called on trio's thread.
    """

    host: Host
    database: Database
    permitted: Callable[[str], bool]
    settings: RunsSettings
    everything: bool = True
    now: Callable[[], float] = time.time


SchedulerMaker = Callable[[SchedulerNeeds], Awaitable[Scheduler]]
"""Makes the scheduler of a host, when it is first needed."""
