"""What a plugin may do: what its manifest requests and its grant gives, and nothing else.

Imports nothing to run: a plugin that asks for nothing pays for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from innkeeper.plugins.capabilities import Capability
    from innkeeper.plugins.grant import Grant
    from innkeeper.plugins.manifest import CapabilityRequest
    from innkeeper.plugins.scopes import Scope

FREE: Final = frozenset({"log", "config", "stream"})
"""Names of the capabilities that every plugin has without a grant; they have no scope."""


WASI: Final = frozenset({"clock", "random", "files.read", "files.write"})
"""Names of the capabilities that a guest uses through WASI, without a function of the bridge."""

SERVED: Final = frozenset({"http.serve"})
"""Names of the capabilities that are exercised by being called, without a function of the bridge."""

MODELS: Final = frozenset({"llm.chat", "llm.embed"})
"""Names of the capabilities to ask language models."""


@dataclass(frozen=True, slots=True)
class Rights:
    """The capabilities of a plugin. What needs no grant, everyone has.

    Attributes:
        capabilities: what it has, each narrowed to what was requested and granted.
        missing: what was requested and of which nothing was granted.
        problems: a sentence for each capability that is granted beyond what is requested, which has no effect.
    """

    capabilities: tuple[Capability, ...] = ()
    missing: tuple[Capability, ...] = ()
    problems: tuple[str, ...] = ()
    # A host call asks for one name: nothing is parsed or searched then.
    _scopes: dict[str, tuple[Scope, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        scopes: dict[str, tuple[Scope, ...]] = {}
        for each in self.capabilities:
            scopes[each.name] = (*scopes.get(each.name, ()), each.parsed)
        object.__setattr__(self, "_scopes", scopes)

    def scopes(self, name: str) -> tuple[str, ...]:
        """The scopes in which it has a capability (tuple of str), in normal form; empty where it has not.

        Where the capability has no scope, or all of them without naming one, the scope is "".
        """
        return ("",) if name in FREE else tuple(scope.text for scope in self._scopes.get(name, ()))

    def allows(self, name: str, use: str = "") -> bool:
        """Whether a use is allowed (bool); see `Capability.allows`."""
        for scope in self._scopes.get(name, ()):
            if scope.allows(use):
                return True
        return name in FREE

    @property
    def wasi(self) -> bool:
        """Whether any of its capabilities is one of `WASI` (bool)."""
        return not WASI.isdisjoint(self._scopes)

    @property
    def asks_models(self) -> bool:
        """Whether any of its capabilities is one of `MODELS` (bool)."""
        return not MODELS.isdisjoint(self._scopes)

    def covers(self, wanted: Capability) -> bool:
        """Whether one of its capabilities allows all that `wanted` does (bool), such as a pattern to subscribe to."""
        return wanted.name in FREE or any(each.covers(wanted) for each in self.capabilities)


NONE: Final = Rights()
"""Of a plugin without a manifest or without a grant."""


def effective(requests: Iterable[CapabilityRequest], grant: Grant | None) -> Rights:
    """What a plugin has.

    Args:
        requests: of its manifest.
        grant: the grant in force, or None.
    """
    wanted = [request.capability for request in requests]
    given = () if grant is None else grant.capabilities
    missing = [one for one in wanted if one.name not in FREE and not any(one.meet(each) for each in given)]
    return Rights(
        common(wanted, given),
        tuple(dict.fromkeys(missing)),
        tuple(problem for each in given if (problem := _beyond(each, wanted)) is not None),
    )


def common(some: Iterable[Capability], others: Sequence[Capability]) -> tuple[Capability, ...]:
    """The uses that one of `some` and one of `others` allow, as capabilities, each once."""
    found: dict[Capability, None] = {}
    for one in some:
        # What one of the others covers is whole; pairs of those that only overlap are counted out, and are few.
        whole = any(other.covers(one) for other in others)
        for both in [one] if whole else [one.meet(other) for other in others]:
            if both is not None:
                found[both] = None
    return tuple(found)


def _beyond(given: Capability, wanted: Sequence[Capability]) -> str | None:
    if given.name in FREE or any(one.covers(given) for one in wanted):
        return None
    narrowed = common(wanted, (given,))
    if not narrowed:
        return f"{given} is granted, and not requested; it has no effect"
    return f"{given} is granted, and only {', '.join(map(str, narrowed))} requested; the rest has no effect"
