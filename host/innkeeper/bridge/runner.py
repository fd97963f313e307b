"""What the service `scheduler` needs from whatever checks and runs workflows; the composition root gives it one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from innkeeper.errors import Kind

if TYPE_CHECKING:
    from innkeeper.plugins.host import Host


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
    """

    workflow: Mapping[str, Any]
    inputs: Mapping[str, Any]


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


class Runner(Protocol):
    """Checks and runs workflows."""

    async def check(self, job: Job) -> None:
        """Makes sure that a job could run now.

        Raises:
            ProblemsError: all that is wrong with it.
        """
        ...

    async def run(self, job: Job, id: str, most_outputs: int) -> Report:
        """Runs a job. The nodes' plugins have their own rights.

        Args:
            job: what is to run.
            id: of the run.
            most_outputs: bytes of the outputs; beyond, it fails.

        Raises:
            ProblemsError: it does not check any more.
            trio.Cancelled: it was cancelled, and its guests have ended.
        """
        ...


RunnerMaker = Callable[["Host"], Awaitable[Runner]]
"""Makes the runner of a host, when it is first needed."""
