"""The closed list of capabilities: what a plugin may request and a grant may give, and what their scopes mean.

A capability is a name, or a name and a scope: "clock", "http:https://api.example.com/v1/*".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from innkeeper.plugins.rights import FREE as FREE
from innkeeper.plugins.scopes import (
    Reader,
    Scope,
    WebScope,
    names,
    no_scope,
    read_audience,
    read_call,
    read_files,
    read_topics,
    read_web,
)
from innkeeper.plugins.tables import nearest, shown

MAX_TEXT = 200
"""Characters of a capability, name and scope: what a cell of a table shows whole, so that no consent hides a part."""

ScopeRule = Literal["none", "optional", "required"]

_KEY_SPACE = names(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "a name of A-Z a-z 0-9 . _ -", everything="")
_SECRET = names(r"[A-Za-z][A-Za-z0-9_]{0,63}", "one name of A-Z a-z 0-9 _, the first a letter")
_KNOWLEDGE = names(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", "the id of a knowledge base, of A-Z a-z 0-9 . _ -", everything="*"
)
_MODEL = names(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}", "the name of a model", everything="")


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a capability by its name.

    Attributes:
        title: what it allows, as a table of the documents says it.
        scope: whether a scope follows: "none", "optional" (without one it allows every use), "required".
        example: one that can be parsed.
        read: reads its scope.
        available: whether this version of the host has it.
        free: whether every plugin has it without a grant; those are `rights.FREE`.
    """

    title: str
    scope: ScopeRule
    example: str
    read: Reader = no_scope
    available: bool = False
    free: bool = False


KINDS: Final[dict[str, Kind]] = {
    "log": Kind("write to the plugin's log", "none", "log", available=True, free=True),
    "config": Kind("read the plugin's own configuration", "none", "config", available=True, free=True),
    "kv": Kind("keep values in the plugin's own key spaces", "optional", "kv:notes", _KEY_SPACE, available=True),
    "events.publish": Kind(
        "publish events on topics", "required", "events.publish:weather.changed", read_topics, available=True
    ),
    "events.subscribe": Kind(
        "get events of topics", "required", "events.subscribe:weather.*", read_topics, available=True
    ),
    "call": Kind(
        "call functions of another plugin, which has its own rights",
        "required",
        "call:words/count",
        read_call,
        available=True,
    ),
    "http": Kind("send requests to servers", "required", "http:https://api.example.com/v1/*", read_web, available=True),
    "secrets": Kind(
        "have the host put a secret into its requests, unseen",
        "required",
        "secrets:WEATHER_KEY",
        _SECRET,
        available=True,
    ),
    "kb.read": Kind("search and read a knowledge base", "required", "kb.read:world", _KNOWLEDGE, available=True),
    "kb.write": Kind(
        "change and delete entries of a knowledge base", "required", "kb.write:world", _KNOWLEDGE, available=True
    ),
    "scheduler.submit": Kind("start workflows, now or later", "none", "scheduler.submit", available=True),
    "scheduler.read": Kind("see its own workflows and their results", "none", "scheduler.read", available=True),
    "llm.chat": Kind(
        "talk to a language model at the operator's expense", "optional", "llm.chat:small", _MODEL, available=True
    ),
    "llm.embed": Kind("embed texts at the operator's expense", "optional", "llm.embed:small", _MODEL, available=True),
    "files.read": Kind(
        "read a folder and all below it", "required", "files.read:user://notes", read_files, available=True
    ),
    "files.write": Kind(
        "create, change and delete below a folder", "required", "files.write:user://notes", read_files, available=True
    ),
    "clock": Kind("see the real time", "none", "clock", available=True),
    "random": Kind("get real random numbers", "none", "random", available=True),
    "vars": Kind("share variables with the other nodes of a run", "none", "vars", available=True),
    "stream": Kind("use the streams that a run connects to its nodes", "none", "stream", available=True, free=True),
    "http.serve": Kind(
        "answer HTTP requests, of users or of anybody",
        "optional",
        "http.serve:public",
        read_audience,
        available=True,
    ),
}
"""Every capability by name. What is not available yet can be requested and granted, and is said to be so."""


@dataclass(frozen=True, slots=True)
class Capability:
    """The right to use one service in one scope. Make it with `parse_capability`: equal rights are then equal values.

    Attributes:
        name: a key of `KINDS`.
        scope: in normal form; "" where there is none.
    """

    name: str
    scope: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.scope}" if self.scope else self.name

    @property
    def kind(self) -> Kind:
        """What is known of it by its name (Kind)."""
        return KINDS[self.name]

    @property
    def parsed(self) -> Scope:
        """Its scope as a set of uses (Scope)."""
        return _read(self.name, self.scope)

    def allows(self, use: str = "") -> bool:
        """Whether it allows a concrete use (bool).

        Args:
            use: a key space, a topic, "plugin/function", a URL, a model, "user://a/b"; "" where uses have no name. What
                is no such thing is not allowed.
        """
        return self.parsed.allows(use)

    @property
    def literal(self) -> bool:
        """Whether it names an address of a server (bool); see `WebScope.literal`."""
        parsed = self.parsed
        return isinstance(parsed, WebScope) and parsed.literal

    def covers(self, other: Capability) -> bool:
        """Whether it allows every use that `other` allows (bool)."""
        return self.meet(other) == other

    def meet(self, other: Capability) -> Capability | None:
        """What both allow (Capability), exactly, or None if there is nothing."""
        if self.name != other.name:
            return None
        found = self.parsed.meet(other.parsed)
        return None if found is None else Capability(self.name, found.text)


def parse_capability(text: str) -> Capability:
    """A capability in normal form.

    Raises:
        ValueError: it is none; the message is a sentence that says what would be right.
    """
    name, colon, scope = text[: MAX_TEXT + 1].partition(":")
    kind = KINDS.get(name)
    if kind is None:
        raise ValueError(f"{shown(name)} is not a capability{_meant(name.lower())}")
    if len(text) > MAX_TEXT:
        raise ValueError(f"{shown(text)} has {len(text)} characters: the most is {MAX_TEXT}")
    if kind.scope == "none" and colon:
        raise ValueError(f"{shown(text)} has a scope: write {name!r}, which takes none")
    if kind.scope == "required" and not scope:
        raise ValueError(f"{shown(text)} has no scope: write it like {kind.example!r}")
    if kind.scope == "optional" and colon and not scope:
        raise ValueError(f"{shown(text)} has an empty scope: write {name!r} for all, or like {kind.example!r}")
    try:
        found = Capability(name, kind.read(scope).text)
    except ValueError as error:
        raise ValueError(f"{shown(text)} has a wrong scope: {error}; for example {kind.example!r}") from None
    if len(str(found)) > MAX_TEXT:
        raise ValueError(f"{shown(text)} has more than {MAX_TEXT} characters when its host is written in punycode")
    return found


def _meant(name: str) -> str:
    if name in KINDS:
        return f"; did you mean {name!r}?"
    longer = [repr(known) for known in KINDS if known.startswith(f"{name}.")]
    if longer:
        return f"; did you mean {' or '.join(longer)}?"
    return nearest(name, KINDS) or f"; there are: {', '.join(KINDS)}"


@lru_cache(maxsize=4096)
def _read(name: str, scope: str) -> Scope:
    return KINDS[name].read(scope)
