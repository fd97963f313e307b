"""What those who keep values do not do, as what a guest reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.errors import BusyError
from innkeeper.storage.kv_model import ConflictError, OverQuotaError


@contextmanager
def refusing() -> Iterator[None]:
    """Raises `ServiceError` in place of the errors of stores."""
    try:
        yield
    except ConflictError as error:
        raise ServiceError(Refusal.CONFLICT, str(error), current=error.current) from None
    except OverQuotaError as error:
        raise ServiceError(Refusal.QUOTA, str(error), quota=error.quota, value=error.value) from None
    except BusyError:
        raise ServiceError(Refusal.BUSY, "the store is busy; try again later") from None
    except ValueError as error:
        raise ServiceError(Refusal.INVALID, str(error)) from None
