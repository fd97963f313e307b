"""Runs as they go on: what a server keeps for those who watch."""

from __future__ import annotations

from dataclasses import dataclass

from innkeeper.server.live.board import Board
from innkeeper.server.live.feeds import Feeds


@dataclass(slots=True)
class Live:
    """One for a server.

    Attributes:
        feeds: the events of runs.
        board: what every socket is told.
    """

    feeds: Feeds
    board: Board
