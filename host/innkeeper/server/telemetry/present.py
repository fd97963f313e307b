"""What the present task works for: a request, and within it or without one a run and its node. Lines of the log say it.

A request's is set once for its task, and each call of a plugin says its run and its node anyway (`plugins.chain`), so
where nobody logs, nothing is done for it.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from innkeeper.plugins.chain import calling
from innkeeper.workflow.scheduling.present import present_run


@dataclass(slots=True)
class Present:
    """A request that is answered.

    Attributes:
        request: its id.
        user: who asks, once that is known.
    """

    request: str
    user: str = ""


present: ContextVar[Present | None] = ContextVar("innkeeper_request", default=None)


def fields() -> dict[str, str]:
    """What the present task works for, by name; without those of which nothing is known."""
    found: dict[str, str] = {}
    request = present.get()
    if request is not None:
        found["request"] = request.request
        if request.user:
            found["user"] = request.user
    frame = calling()
    run = present_run.get()
    if frame is not None and frame.run is not None:
        found["run"] = frame.run.run.id
        found["node"] = frame.run.node
    elif run:
        found["run"] = run
    if frame is not None and frame.version is not None:
        found["plugin"] = frame.version.id
    return found
