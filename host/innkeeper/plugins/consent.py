"""What an operator is asked before a plugin gets something, and the grant that is written when the answer is yes.

No screen here: a command, or a page of a browser, shows the plan and asks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from innkeeper.errors import UsageError
from innkeeper.plugins.capabilities import Capability
from innkeeper.plugins.choice import Change, Item, only, without
from innkeeper.plugins.files import replace_file
from innkeeper.plugins.grant import MAX_CAPABILITIES, Grant, format_grant, parse_grant
from innkeeper.plugins.rights import FREE, common
from innkeeper.plugins.risk import Risk, risk, risk_of_all
from innkeeper.plugins.tables import MAX_BYTES, shown

if TYPE_CHECKING:
    from innkeeper.plugins.manifest import CapabilityRequest, Manifest
    from innkeeper.plugins.secret_use import SecretUse

Bytes = Literal["first", "same", "changed"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a consent would do.

    Attributes:
        plugin_id: whom it is for.
        version: the plugin's, or None without a manifest.
        items: what is requested, in the manifest's order.
        gone: what was asked or granted before and is not requested any more.
        bytes: whether the last consent was for the same file: "first" if there was none.
        risk: of all that would be given, together.
        before: the grant that there is, whatever bytes it is for, or None.
        grant: the grant that would be written.
    """

    plugin_id: str
    version: str | None
    items: tuple[Item, ...]
    gone: tuple[Capability, ...]
    bytes: Bytes
    risk: Risk
    before: Grant | None
    grant: Grant

    @property
    def more(self) -> bool:
        """Whether the plugin asks for more than the operator saw at the last consent (bool)."""
        return any(item.change in ("new", "wider") for item in self.items if not item.free)

    @property
    def unmet(self) -> tuple[Item, ...]:
        """What the plugin needs to work and would not get whole (tuple of Item)."""
        return tuple(item for item in self.items if not item.request.optional and not item.whole)

    @property
    def placeless(self) -> tuple[str, ...]:
        """Secrets that would be granted without a place to go to, so that they are of no use (tuple of str)."""
        given = [each.scope for each in self.grant.capabilities if each.name == "secrets"]
        return tuple(name for name in given if name not in self.grant.secrets)

    @property
    def needless(self) -> bool:
        """Whether the grant that there is says the same already, in any order (bool)."""
        before = self.before
        return (
            before is not None
            and set(before.capabilities) == set(self.grant.capabilities)
            and set(before.asked) == set(self.grant.asked)
            and replace(before, capabilities=(), asked=()) == replace(self.grant, capabilities=(), asked=())
        )


def plan_consent(
    plugin_id: str,
    manifest: Manifest | None,
    digest: str,
    before: Grant | None,
    *,
    deny: Sequence[str] = (),
    chosen: Sequence[str] = (),
    everything: bool = False,
    secrets: Mapping[str, SecretUse] | None = None,
) -> Plan:
    """The plan of a consent. Writes nothing.

    What an earlier consent left out or narrowed stays so, even if nobody says it again; what is new is given whole.

    Args:
        plugin_id: its id.
        manifest: its author's words, or None.
        digest: sha256 of its file, as hexadecimal digits.
        before: the grant that there is, or None; its limits, configuration and instance stay.
        deny: capabilities that are left out, or names for all of that name.
        chosen: capabilities that are given, and nothing else: each what is asked for or a part of it, or a name for all
            of that name.
        everything: whether what was left out or narrowed before is given after all.
        secrets: where secrets go, by name; those of the grant that there is stay, unless they are here.

    Raises:
        UsageError: something in `deny` is not asked for, needs no grant, or is only a part of what is asked for;
            something in `chosen` is not asked for, is more than that, or needs no grant, or stands beside `deny` or
            `everything`; a secret is not asked for; or the grant would have too many capabilities.
    """
    requests = () if manifest is None else manifest.capabilities
    seen = () if before is None else tuple(dict.fromkeys((*before.asked, *before.capabilities)))
    items = [_item(request, before, seen, everything) for request in requests]
    if chosen and (deny or everything):
        raise UsageError("say what is given (--only), or what is left out or given after all (--deny, --all): not both")
    for text in deny:
        items = without(items, text)
    if chosen:
        items = only(items, chosen)
    wanted = [item.request.capability for item in items]
    given = _widest(tuple(dict.fromkeys(each for item in items for each in item.given)))
    if before is not None and not chosen:
        # Who named an address by hand gave more than the pattern around it gives.
        named = [each for each in before.capabilities if each.literal and each not in given]
        given += tuple(each for each in named if any(other.covers(each) for other in given))
    version = None if manifest is None else manifest.version
    grant = replace(
        Grant(digest) if before is None else before,
        sha256=digest,
        capabilities=given,
        asked=tuple(each for each in wanted if each.name not in FREE),
        version=version,
        secrets=_placed(wanted, given, before, secrets or {}),
    )
    gone = tuple(each for each in seen if each.name not in FREE and not any(one.meet(each) for one in wanted))
    bytes_: Bytes = "first" if before is None else "same" if before.sha256 == digest else "changed"
    return Plan(plugin_id, version, tuple(items), gone, bytes_, risk_of_all(given), before, grant)


def revoked(grant: Grant) -> Grant:
    """A grant without capabilities, places of secrets and a consent: its limits, configuration and instance stay."""
    return replace(grant, capabilities=(), asked=(), version=None, secrets={})


def write_grant(path: Path, grant: Grant, *, label: str) -> None:
    """Writes a grant's file, or leaves what there is: who reads meanwhile sees the old one or the new one, whole.

    Its folder is made if it is missing. Where the file is a link, what it leads to is replaced. Comments are lost.

    Args:
        path: the file.
        grant: what it shall say.
        label: its name, for messages.

    Raises:
        UsageError: it cannot be written.
    """
    data = format_grant(grant)
    if len(data) > MAX_BYTES:
        raise UsageError(f"{label}: would be {len(data)} bytes, the most is {MAX_BYTES}; shorten its configuration")
    # A grant that says something else than what was agreed to must never be written.
    if parse_grant(data, where=label) != grant:
        raise UsageError(f"{label}: not written, since it would not say what was granted; write it by hand")
    try:
        # A name that begins with a dot is no grant.
        replace_file(Path(os.path.realpath(path)), data, prefix=".grant-")
    except OSError as error:
        raise UsageError(f"{label}: cannot be written: {error.strerror}") from None


def _placed(
    wanted: Sequence[Capability],
    given: Sequence[Capability],
    before: Grant | None,
    secrets: Mapping[str, SecretUse],
) -> dict[str, SecretUse]:
    asked, gets = ([each.scope for each in some if each.name == "secrets"] for some in (wanted, given))
    for name in secrets:
        if name not in asked:
            raise UsageError(
                f"the secret {shown(name)} cannot be placed: the plugin does not ask for it; "
                f"it asks for {', '.join(asked) or 'none'}"
            )
        if name not in gets:
            raise UsageError(
                f"the secret {shown(name)} cannot be placed: it is not given now, or was left out before; "
                "--all gives it after all"
            )
    # One that is no longer asked for or given goes: a later version shall not find it ready.
    kept = {} if before is None else {name: use for name, use in before.secrets.items() if name in gets}
    return {**kept, **secrets}


def _widest(given: tuple[Capability, ...]) -> tuple[Capability, ...]:
    """Those that no other covers: they allow the same. An address that is named means more than a pattern."""
    if len(given) > MAX_CAPABILITIES:
        raise UsageError(
            f"it would get {len(given)} capabilities, the most is {MAX_CAPABILITIES}: the earlier grant narrows what "
            "is asked now in too many ways; revoke it first"
        )
    return tuple(
        each
        for each in given
        if not any(other != each and other.covers(each) and other.literal >= each.literal for other in given)
    )


def _item(request: CapabilityRequest, before: Grant | None, seen: Sequence[Capability], everything: bool) -> Item:
    wanted = request.capability
    change: Change
    if wanted in seen:
        change = "same"
    elif any(each.covers(wanted) for each in seen):
        change = "narrower"
    else:
        change = "wider" if any(each.meet(wanted) is not None for each in seen) else "new"
    given: tuple[Capability, ...] = (wanted,)
    if wanted.name in FREE:
        given = ()
    elif before is not None and change != "new" and not everything:
        given = common((wanted,), before.capabilities)
        if change == "wider" and _were_whole(wanted, before):
            given = (wanted,)
    return Item(request, risk(wanted), change, given)


def _were_whole(wanted: Capability, before: Grant) -> bool:
    """Whether all that was asked then of what is asked now was given: nobody said no to any of it, or narrowed it by
    hand."""
    asked = [each for each in before.asked if each.meet(wanted) is not None]
    return bool(asked) and all(any(given.covers(each) for given in before.capabilities) for each in asked)
