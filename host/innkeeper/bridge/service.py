"""What a service is to the bridge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from innkeeper.bridge.needs import Needs
from innkeeper.bridge.quota import Rate


@dataclass(frozen=True, slots=True)
class ServiceKind:
    """A service.

    Attributes:
        name: such as "kv".
        type: the class whose operations it has.
        rate: how often one plugin may call it; None where other bounds do, and its answers must not depend on time.
        make: makes it; does nothing that takes long, such as opening something.
    """

    name: str
    type: type[Any]
    rate: Rate | None
    make: Callable[[Needs], object]


@runtime_checkable
class Serving(Protocol):
    """A service that also does something while no guest asks it."""

    async def serve(self) -> None:
        """Runs from when the host is up until it closes; is cancelled then. What it raises is logged, and ends it."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A service that holds something."""

    async def aclose(self) -> None:
        """Gives it back. No guest calls any more."""
        ...
