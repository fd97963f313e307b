"""Events for a program in the same process: each as clients get it, while it happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from innkeeper.workflow.engine.events import Event, RunEvent, wire_event


class CallbackSink:
    """An `EventSink` that calls a function with each event. It keeps none.

    Args:
        receive: gets each event; must not block. What it raises ends the run.
        prompt_id: the run's id.
    """

    def __init__(self, receive: Callable[[Event], None], prompt_id: str) -> None:
        self._receive = receive
        self._prompt_id = prompt_id
        self._built: dict[int, Mapping[str, Any]] = {}

    def give(self, values: Mapping[str, bytes], built: Mapping[str, Any]) -> None:
        """The next event with these very values has been built elsewhere, as they are large.

        Args:
            values: of the event.
            built: the same as plain data.
        """
        self._built[id(values)] = built

    def emit(self, event: RunEvent) -> None:
        """As `EventSink.emit`."""
        self._receive(wire_event(event, self._prompt_id, self._built.pop(id(event.values), None)))

    async def room(self) -> None:
        """As `EventSink.room`: there is, since nothing is kept."""

    async def settled(self) -> None:
        """As `EventSink.settled`: what is kept nowhere is not waited for."""
