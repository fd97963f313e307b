"""What can hold an entry back before its words and conditions are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from innkeeper.knowledge.activation.compiled import CompiledEntry
from innkeeper.knowledge.activation.interface import Outcome, Request
from innkeeper.knowledge.activation.session import Session


@dataclass(frozen=True, slots=True)
class Gates:
    """What entries are held against.

    Attributes:
        request: what is asked.
        session: what is remembered.
        length: messages of the conversation.
        answers: messages of the assistant among them.
    """

    request: Request
    session: Session
    length: int
    answers: int

    def closed(self, base: str, entry: CompiledEntry) -> tuple[Outcome, str] | None:
        """What holds an entry back, or None."""
        return (
            self._by_author(entry) or self._by_request(entry) or self._by_decorator(entry) or self._by_time(base, entry)
        )

    def _by_author(self, entry: CompiledEntry) -> tuple[Outcome, str] | None:
        if not entry.entry.management_metadata.is_enabled:
            return Outcome.DISABLED, "it is switched off"
        return None

    def _by_request(self, entry: CompiledEntry) -> tuple[Outcome, str] | None:
        request = self.request
        if request.scope and not set(request.scope) & set(entry.entry.management_metadata.tags):
            return Outcome.SCOPE, f"it has none of the tags that are asked for: {', '.join(request.scope)[:200]}"
        if entry.extra.triggers and request.trigger not in entry.extra.triggers:
            wanted = ", ".join(entry.extra.triggers)[:200]
            return Outcome.TRIGGER, f"it is for {wanted}, and this is {request.trigger}"
        if entry.extra.characterFilter and (why := _unwanted(entry.extra.characterFilter, request)):
            return Outcome.CHARACTER, why
        return None

    def _by_decorator(self, entry: CompiledEntry) -> tuple[Outcome, str] | None:
        decorators = entry.decorators
        if decorators.dont_activate and not decorators.activate:
            return Outcome.DECORATOR, "@@dont_activate"
        if decorators.activate:
            return None
        after, every = decorators.activate_only_after, decorators.activate_only_every
        if after is not None and self.answers < after:
            return Outcome.DECORATOR, f"@@activate_only_after {after}, and the assistant spoke {self.answers} times"
        if every is not None and self.answers % every:
            return Outcome.DECORATOR, f"@@activate_only_every {every}, and the assistant spoke {self.answers} times"
        greeting = self.request.greeting
        if decorators.is_greeting is not None and greeting is not None and greeting != decorators.is_greeting:
            return Outcome.DECORATOR, f"@@is_greeting {decorators.is_greeting}, and the greeting was {greeting}"
        return None

    def _by_time(self, base: str, entry: CompiledEntry) -> tuple[Outcome, str] | None:
        if entry.extra.delay and self.length < entry.extra.delay:
            return Outcome.DELAY, f"it waits until there are {entry.extra.delay} messages, there are {self.length}"
        if not entry.timed:
            return None
        if self.session.was_once(base, entry):
            return Outcome.ONCE, "it was active in this session before"
        if left := self.session.cooldown(base, entry):
            return Outcome.COOLDOWN, f"it rests for {left} more message{'s' if left > 1 else ''}"
        return None


def _unwanted(wanted: Mapping[str, Any], request: Request) -> str:
    """Why an entry's filter of characters keeps it back, or ""."""
    names, tags, excludes = wanted.get("names"), wanted.get("tags"), bool(wanted.get("isExclude"))
    for what, listed, there in (
        ("called", names, [request.character]),
        ("tagged", tags, request.character_tags),
    ):
        if not isinstance(listed, list) or not listed:
            continue
        among = any(each in listed for each in there if each)
        if among is excludes:
            shown = ", ".join(str(each) for each in listed)[:200]
            return f"it is {'not ' if excludes else ''}for characters {what} {shown}"
    return ""
