"""What holds an entry back whatever its keys say."""

from __future__ import annotations

from enum import Enum

from innkeeper.knowledge.activation.interface import Outcome
from innkeeper.knowledge.worldinfo.entry import WorldEntry
from innkeeper.knowledge.worldinfo.settings import Scene
from innkeeper.knowledge.worldinfo.timed import Now


class State(Enum):
    """Why there is a sweep."""

    INITIAL = "initial"
    RECURSION = "recursion"
    MIN_ACTIVATIONS = "min activations"
    """Too few entries were active: an older message is looked at."""


def held_back(entry: WorldEntry, scene: Scene, now: Now) -> tuple[Outcome, str] | None:
    """Why an entry cannot be active in this generation, or None.

    Args:
        entry: any.
        scene: the moment.
        now: timed effects.
    """
    if entry.disabled:
        return Outcome.DISABLED, "it is switched off"
    if entry.key in scene.left_out:
        return Outcome.SCOPE, "it has none of the tags that were asked for"
    if entry.triggers and scene.trigger not in entry.triggers:
        return Outcome.TRIGGER, f"it is for {', '.join(entry.triggers)}, and this is {scene.trigger}"
    if entry.names and (scene.character in entry.names) is entry.excludes:
        return Outcome.CHARACTER, f"it is not for the character {scene.character!r}"
    if entry.tags and any(tag in entry.tags for tag in scene.tags) is entry.excludes:
        return Outcome.CHARACTER, "it is not for a character with these tags"
    if entry in now.delay:
        return Outcome.DELAY, f"it waits until the chat has {entry.delay} messages, and it has {scene.chat_length}"
    if entry in now.cooldown and entry not in now.sticky:
        return Outcome.COOLDOWN, f"it rests for {entry.cooldown} messages after it was active"
    return None


def kept_from_recursion(entry: WorldEntry, state: State, level: int, recursive: bool) -> str | None:
    """Why an entry that does not stick cannot be active in a sweep, or None.

    Args:
        entry: any.
        state: of the sweep.
        level: of delayed recursion that was reached.
        recursive: whether recursion is on at all.
    """
    if state is not State.RECURSION:
        return "it is active only by recursion" if entry.level else None
    if entry.level > level:
        return f"it waits for level {entry.level} of recursion, and this is {level}"
    if recursive and entry.excludes_recursion:
        return "what other entries say cannot activate it"
    return None
