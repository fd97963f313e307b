"""A run on a terminal: a picture that is drawn again while it goes on."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.text import Text

from innkeeper.cli.watch_view import STYLES, lines_of

if TYPE_CHECKING:
    from innkeeper.cli.watch_tree import Tree
    from innkeeper.workflow.engine.events import RunEvent
    from innkeeper.workflow.scheduling.seams import Gone

_PICTURE: Final = 0.2
"""Seconds between two pictures at least: a run of many small nodes says thousands of things a second."""

_SHARE: Final = 4
"""How many times as long as a picture took none is drawn: else one of 20,000 nodes would leave no time for events."""

_MARGIN = 2


class Live:
    """Draws what is known; for the time of a `with`. The last picture stays."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        """Args:
        title: what the run is called.
        console: where it is drawn; None: standard output.
        """
        self._title = title
        self._console = console or Console()
        self._live = RichLive(console=self._console, auto_refresh=False)
        self._tree: Tree | None = None
        self._due = float("-inf")

    def __enter__(self) -> Live:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tree is not None:
            self._draw(None)
        self._live.__exit__(kind, error, trace)

    def event(self, tree: Tree, event: RunEvent) -> None:
        """Something was said."""
        self._tree = tree
        self.tick()

    def tick(self) -> None:
        """Time passes."""
        began = time.monotonic()
        if self._tree is None or began < self._due:
            return
        self._draw(time.time())
        ended = time.monotonic()
        self._due = max(began + _PICTURE, ended + _SHARE * (ended - began))

    def gone(self, gone: Gone) -> None:
        """What is not kept any more is counted in the picture."""

    def _draw(self, now: float | None) -> None:
        assert self._tree is not None
        most = max(3, self._console.size.height - _MARGIN)
        lines = lines_of(self._tree, self._title, now, most)
        self._live.update(
            Group(
                *(
                    Text(line.text, style=STYLES.get(line.status, ""), no_wrap=True, overflow="ellipsis")
                    for line in lines
                )
            ),
            refresh=True,
        )
