"""Entries that contain others. An entry is a part of one container at most, and never of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from innkeeper.knowledge.activation.state import Ref, State


def parts_of(
    containers: Sequence[State], state_of: Callable[[int, int], State], affords: Callable[[], bool]
) -> list[State]:
    """Puts what is active already into newly active containers.

    Args:
        containers: entries that have just become active; some may contain nothing.
        state_of: what is known of an entry, by the number of its base and its position.
        affords: whether one more id may be looked at.

    Returns:
        the other parts, which must still be let through, each with its container and a reason.
    """
    found: dict[Ref, State] = {}
    for container in containers:
        number = container.ref[0]
        for child in container.compiled.entry.management_metadata.child_ids:
            position = container.base.positions.get(child)
            if position is None or not affords():
                continue
            state = state_of(number, position)
            if state.parent is not None or _is_inside(container, state):
                continue
            if state.is_active:
                state.parent = container
                container.children.append(state)
            elif not state.settled:
                state.parent = container
                state.reason = f"a part of {container.name!r}"
                found[state.ref] = state
    return list(found.values())


def _is_inside(inner: State, outer: State) -> bool:
    """Whether an entry is another, or a part of it at any depth."""
    at: State | None = inner
    while at is not None:
        if at is outer:
            return True
        at = at.parent
    return False
