"""Runs and schedules as guests read them, and why something was not done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.runner import ProblemsError
from innkeeper.errors import BusyError
from innkeeper.storage.run_model import StoredRun, TooManyError
from innkeeper.storage.schedules_model import Schedule


def no_such(what: str) -> ServiceError:
    """What is asked for is not there, or another plugin's, which is the same to a guest."""
    return ServiceError(Refusal.NOT_FOUND, f"the plugin has no such {what}; what has ended is forgotten after a day")


def run_value(run: StoredRun) -> dict[str, Any]:
    """How a run stands."""
    return {
        "run": run.id,
        "name": run.name,
        "status": run.status,
        "schedule": run.schedule or None,
        "submitted": run.submitted,
        "started": run.started,
        "ended": run.ended,
    }


def schedule_value(schedule: Schedule) -> dict[str, Any]:
    """When a schedule fires."""
    return {
        "schedule": schedule.id,
        "name": schedule.name,
        "expression": schedule.expression or None,
        "timezone": schedule.timezone or None,
        "due": schedule.due,
        "last": schedule.last,
    }


@contextmanager
def refusing() -> Iterator[None]:
    """What is not done becomes what the guest reads."""
    try:
        yield
    except ProblemsError as error:
        raise ServiceError(Refusal.INVALID, str(error), problems=error.count) from None
    except TooManyError as error:
        raise ServiceError(Refusal.QUOTA, str(error), quota=error.quota, value=error.value) from None
    except BusyError:
        raise ServiceError(Refusal.BUSY, "the queue is busy; try again later") from None
    except ValueError as error:
        raise ServiceError(Refusal.INVALID, str(error)) from None
