"""Lines of the log that say what becomes of runs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from innkeeper.workflow.scheduling.attempt import Step

logger = logging.getLogger("innkeeper.runs")


class RunLog:
    """Writes a line as a run begins here, and as it ends."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}

    def step(self, step: Step) -> None:
        """A run began or ended here. On trio's thread."""
        run, now = step.run, trio.current_time()
        about: dict[str, Any] = {"run": run.id, "user": run.account.owner, "attempt": run.attempt}
        if run.account.plugin:
            about["submitter"] = run.account.plugin
        if step.status == "running":
            self._began[run.id] = now
        else:
            about["seconds"] = round(now - self._began.pop(run.id, now), 6)
        about["status"] = status = step.status or "lost"
        if step.failure is not None:
            failure = step.failure
            about |= {"kind": failure.kind, "error": failure.message}
            about |= {name: found for name in ("node", "plugin") if (found := getattr(failure, name))}
        logger.info("the run %s is %s", run.id, status, extra=about)
