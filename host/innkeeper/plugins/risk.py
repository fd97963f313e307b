"""How bad it could be to give a plugin what it asks for, in five levels, each with a sentence that says why.

The level assumes a plugin that means harm. It is computed from the scope alone: an author's words change nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from innkeeper.plugins.capabilities import Capability
from innkeeper.plugins.scopes import AudienceScope, CallScope, FileScope, NameScope, TopicScope, WebScope
from innkeeper.plugins.urls import is_loopback

Level = Literal["none", "low", "medium", "high", "highest"]

LEVELS: Final[tuple[Level, ...]] = ("none", "low", "medium", "high", "highest")
"""From the least to the most."""

_SOURCES: Final = ("files.read", "kb.read", "secrets", "events.subscribe", "scheduler.read")
"""What shows a plugin something that it did not bring or was not called with."""

_SINKS: Final = ("http", "http.serve")
"""Through which a plugin can tell somebody outside."""

_LOCAL = ("localhost", ".localhost", ".local", ".internal", ".lan", ".home.arpa")


@dataclass(frozen=True, slots=True)
class Risk:
    """A level and why.

    Attributes:
        level: one of `LEVELS`.
        reason: a sentence without its full stop.
    """

    level: Level
    reason: str

    @property
    def rank(self) -> int:
        """Its place in `LEVELS` (int), to compare."""
        return LEVELS.index(self.level)


NOTHING: Final = Risk("none", "it can only compute")
NATIVE: Final = Risk("highest", "it is native code, which can do everything that the host can")


def risk(capability: Capability) -> Risk:
    """The risk of one capability by itself."""
    return _RISKS[capability.name](capability)


def risk_of_all(capabilities: Iterable[Capability]) -> Risk:
    """The risk of having all of them: the largest, or one more where together they are worse.

    What can read, and can reach somebody outside, can give away what it reads.
    """
    given = list(capabilities)
    worst = max((risk(each) for each in given), key=lambda found: found.rank, default=NOTHING)
    sources = [str(each) for each in given if each.name in _SOURCES]
    sinks = [str(each) for each in given if each.name in _SINKS]
    if not sources or not sinks:
        return worst
    level = _raised(LEVELS[max(worst.rank, LEVELS.index("medium"))])
    return Risk(
        level, f"it can give away what it gets through {_listed(sources)}: it reaches out through {_listed(sinks)}"
    )


def _raised(level: Level) -> Level:
    return LEVELS[min(LEVELS.index(level) + 1, len(LEVELS) - 1)]


def _listed(items: list[str]) -> str:
    more = f" and {len(items) - 2} more" if len(items) > 2 else ""
    return " and ".join(items[:2]) + more if not more else ", ".join(items[:2]) + more


def _always(level: Level, reason: str) -> Callable[[Capability], Risk]:
    found = Risk(level, reason)
    return lambda capability: found


def _publish(capability: Capability) -> Risk:
    scope = capability.parsed
    assert isinstance(scope, TopicScope)
    if scope.words == ("**",):
        return Risk("medium", "it can pose as any plugin that publishes events")
    return Risk("low", f"it can set off whatever listens to {scope.text}")


def _subscribe(capability: Capability) -> Risk:
    scope = capability.parsed
    assert isinstance(scope, TopicScope)
    if scope.words == ("**",):
        return Risk("high", "it sees every event of every plugin")
    if "*" in scope.text:
        return Risk("medium", f"it sees every event of {scope.text}, also those that do not exist yet")
    return Risk("low", f"it sees the events of {scope.text}")


def _call(capability: Capability) -> Risk:
    scope = capability.parsed
    assert isinstance(scope, CallScope)
    if scope.function is None:
        return Risk("medium", f"it can have the plugin {scope.plugin} do all that this one may do")
    return Risk("low", f"it can have the plugin {scope.plugin} do what {scope.function} does, under its rights")


def _http(capability: Capability) -> Risk:
    scope = capability.parsed
    assert isinstance(scope, WebScope)
    if scope.host == "*":
        return Risk("highest", "it can send anything to any server" if not scope.scheme else "it can reach any server")
    level: Level = "medium"
    reason = f"it can send anything to {scope.host}"
    if scope.host.startswith("*."):
        level, reason = "high", f"it can send anything to every server below {scope.host[2:]}"
    elif _is_local(scope.host):
        level, reason = "high", f"it can reach {scope.host}, which is this machine or its network"
    if scope.scheme == "http" and not is_loopback(scope.host):
        return Risk(_raised(level), f"{reason}, and who is on the way can read and change it (no https)")
    return Risk(level, reason)


def _is_local(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        return host in _LOCAL or host.endswith(_LOCAL[1:]) or "." not in host


def _serve(capability: Capability) -> Risk:
    scope = capability.parsed
    assert isinstance(scope, AudienceScope)
    if scope.public:
        return Risk("high", "whoever reaches the host can have it work, and talk to it")
    return Risk("medium", "whoever may use the host can talk to it")


def _read_knowledge(capability: Capability) -> Risk:
    scope = capability.parsed
    assert isinstance(scope, NameScope)
    if scope.everything:
        return Risk("medium", "it can read every knowledge base, also those that do not exist yet")
    return Risk("low", f"it can read all of the knowledge base {scope.name}")


def _write_knowledge(capability: Capability) -> Risk:
    scope = capability.parsed
    assert isinstance(scope, NameScope)
    which = "every knowledge base" if scope.everything else f"the knowledge base {scope.name}"
    return Risk("high", f"it can falsify or delete {which}")


def _read_files(capability: Capability) -> Risk:
    scope = capability.parsed
    assert isinstance(scope, FileScope)
    return Risk("medium" if scope.parts else "high", f"it can read every file in {scope.text}")


def _write_files(capability: Capability) -> Risk:
    scope = capability.parsed
    assert isinstance(scope, FileScope)
    return Risk("high", f"it can falsify or delete every file in {scope.text}")


_SPENDS = "it can send texts to the configured provider, and spend its quota"

_RISKS: Final[dict[str, Callable[[Capability], Risk]]] = {
    "log": _always("none", "it can write lines into its own log"),
    "config": _always("none", "it can read what its own grant says for it"),
    "stream": _always("none", "its nodes can pass on chunks where a workflow connects them"),
    "kv": _always("low", "it can remember from one call to the next, within its quota"),
    "events.publish": _publish,
    "events.subscribe": _subscribe,
    "call": _call,
    "http": _http,
    "secrets": _always("medium", "requests that it makes carry this secret; it never sees the value"),
    "kb.read": _read_knowledge,
    "kb.write": _write_knowledge,
    "scheduler.submit": _always(
        "high", "it can have every node of this home, native ones apart, do all that it may, with inputs of its choice"
    ),
    "scheduler.read": _always("low", "it can see the results of workflows that it started"),
    "llm.chat": _always("medium", _SPENDS),
    "llm.embed": _always("medium", _SPENDS),
    "files.read": _read_files,
    "files.write": _write_files,
    "clock": _always("low", "it can behave otherwise on another day, and its results cannot be remembered"),
    "random": _always("low", "it can behave otherwise at each call, and its results cannot be remembered"),
    "vars": _always("low", "it can change what other nodes of the same run read"),
    "http.serve": _serve,
}
"""By name of a capability; the tests hold it to `KINDS`."""
