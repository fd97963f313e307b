"""What an operator gives of what is asked for: all but some of it (`--deny`), or this and nothing else (`--only`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from innkeeper.errors import UsageError
from innkeeper.plugins.capabilities import KINDS, Capability, parse_capability
from innkeeper.plugins.grant import MAX_CAPABILITIES
from innkeeper.plugins.rights import FREE
from innkeeper.plugins.risk import Risk
from innkeeper.plugins.tables import shown

if TYPE_CHECKING:
    from innkeeper.plugins.manifest import CapabilityRequest

Change = Literal["new", "wider", "same", "narrower"]


@dataclass(frozen=True, slots=True)
class Item:
    """One capability of a plan.

    Attributes:
        request: what the manifest says of it.
        risk: of all that is asked here.
        change: since the last consent: "new"; "wider" (more than was asked then); "same"; "narrower".
        given: what the new grant gives of it: all, parts that it was narrowed to, or nothing. Beside all of it may
            stand addresses of servers that the operator named: those mean more than the pattern around them.
    """

    request: CapabilityRequest
    risk: Risk
    change: Change
    given: tuple[Capability, ...]

    @property
    def free(self) -> bool:
        """Whether it needs no grant (bool)."""
        return self.request.capability.name in FREE

    @property
    def whole(self) -> bool:
        """Whether all of it is given (bool)."""
        return self.free or self.request.capability in self.given

    @property
    def denied(self) -> bool:
        """Whether nothing of it is given (bool)."""
        return not self.free and not self.given


def without(items: Sequence[Item], text: str) -> list[Item]:
    """The items where the operator denies something.

    Args:
        items: as they would be given.
        text: a capability, or a name for all of that name.

    Raises:
        UsageError: it is not asked for, needs no grant, or is only a part of what is asked for.
    """
    # "http" alone means all of that name, though a plugin could not ask for it.
    denied = None if text in KINDS else _parsed(text, "denied")
    found: list[Item] = []
    hit = False
    for item in items:
        wanted = item.request.capability
        if wanted.name == text if denied is None else denied.covers(wanted):
            if item.free:
                raise UsageError(f"{wanted} cannot be denied: every plugin has it, and it reaches nothing else")
            found.append(replace(item, given=()))
            hit = True
            continue
        if denied is not None:
            kept = tuple(each for each in item.given if not denied.covers(each))
            if any(denied.meet(each) is not None for each in kept):
                raise UsageError(
                    f"{denied} cannot be denied: it is a part of {wanted}, which can only be denied whole; "
                    "--only gives a part of it"
                )
            hit = hit or len(kept) < len(item.given)
            item = replace(item, given=kept)
        found.append(item)
    if not hit:
        raise _not_asked(items, text, "denied")
    return found


def only(items: Sequence[Item], texts: Sequence[str]) -> list[Item]:
    """The items where the operator gives this and nothing else.

    Args:
        items: what is asked for; what would be given of it counts for nothing.
        texts: capabilities, each within one that is asked for, or names for all of that name.

    Raises:
        UsageError: one of them is not asked for, is more than what is asked for, or needs no grant; or they are too
            many.
    """
    if len(texts) > MAX_CAPABILITIES:
        raise UsageError(f"a grant has at most {MAX_CAPABILITIES} capabilities, and these are {len(texts)}")
    gives: list[dict[Capability, None]] = [{} for _ in items]
    for text in texts:
        chosen = None if text in KINDS else _parsed(text, "given")
        hit = False
        for item, given in zip(items, gives, strict=True):
            wanted = item.request.capability
            if wanted.name == text if chosen is None else wanted.covers(chosen):
                if item.free:
                    raise UsageError(f"{wanted} needs no grant: every plugin has it")
                given[chosen or wanted] = None
                hit = True
        if not hit:
            near = [each for each in _asked(items) if chosen is not None and chosen.meet(each) is not None]
            if near:
                raise UsageError(
                    f"{shown(text)} cannot be given: the plugin asks for less, {', '.join(map(str, near))}; "
                    "give that, or a part of it"
                )
            raise _not_asked(items, text, "given")
    return [replace(item, given=_parts(item, given)) for item, given in zip(items, gives, strict=True)]


def _parts(item: Item, given: Iterable[Capability]) -> tuple[Capability, ...]:
    wanted = item.request.capability
    parts = tuple(given)
    return (wanted, *(each for each in parts if each.literal and each != wanted)) if wanted in parts else parts


def _parsed(text: str, what: str) -> Capability:
    try:
        return parse_capability(text)
    except ValueError as error:
        raise UsageError(f"{shown(text)} cannot be {what}: {error}") from None


def _asked(items: Sequence[Item]) -> list[Capability]:
    return [item.request.capability for item in items if not item.free]


def _not_asked(items: Sequence[Item], text: str, what: str) -> UsageError:
    asked = ", ".join(map(str, _asked(items))) or "nothing"
    return UsageError(f"{shown(text)} cannot be {what}: the plugin does not ask for it; it asks for {asked}")
