"""What the calls of a host's nodes took, by plugin. There are as many as the operator installed."""

from __future__ import annotations

from dataclasses import dataclass

from innkeeper.sandbox.usage import Usage


@dataclass(slots=True)
class Taken:
    """What the nodes of one plugin took.

    Attributes:
        calls: how often they were called.
        remembered: those that no guest answered, since an equal call had been.
        seconds: from call to answer, waiting included; of those that a guest answered.
        cpu: seconds of processor time.
    """

    calls: int = 0
    remembered: int = 0
    seconds: float = 0.0
    cpu: float = 0.0


class NodeTimes(dict[str, Taken]):
    """By the plugins' ids."""

    def add(self, plugin: str, usage: Usage) -> None:
        """Counts a call of one of a plugin's nodes."""
        taken = self.get(plugin)
        if taken is None:
            taken = self[plugin] = Taken()
        taken.calls += 1
        if usage.remembered:
            taken.remembered += 1
        else:
            taken.seconds += usage.wall
            taken.cpu += usage.cpu
