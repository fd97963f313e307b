"""`innkeeper grant` and `revoke`: giving a plugin what it asks for, and taking it away."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from innkeeper.cli.grant_view import kept, plan_object, show
from innkeeper.cli.output import is_terminal, json_bytes, write_line, write_out
from innkeeper.cli.records import keep_record
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import CancelledError, Kind, UsageError

if TYPE_CHECKING:
    from innkeeper.plugins.catalogue import Catalogue, Entry
    from innkeeper.plugins.consent import Plan
    from innkeeper.plugins.grant import Grant
    from innkeeper.plugins.grants import GrantFile
    from innkeeper.plugins.home import Home
    from innkeeper.plugins.secret_use import SecretUse


@click.command()
@click.argument("plugin_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Grant it without being asked.")
@click.option("--deny", metavar="CAPABILITY", multiple=True, help="Leave this one out; may be repeated.")
@click.option(
    "--only",
    "chosen",
    metavar="CAPABILITY",
    multiple=True,
    help="Give this and nothing else: what is asked for, or a part of it; may be repeated.",
)
@click.option(
    "--secret",
    "placed",
    metavar="NAME=PLACE@SERVER",
    multiple=True,
    help="Where a secret goes, such as KEY=bearer@https://api.example.com; PLACE is bearer, header:NAME or query:NAME.",
)
@click.option("--all", "everything", is_flag=True, help="Also what was left out or narrowed before.")
@json_option
@pass_settings
def grant(
    settings: Settings,
    plugin_id: str,
    yes: bool,
    deny: tuple[str, ...],
    chosen: tuple[str, ...],
    placed: tuple[str, ...],
    everything: bool,
) -> int:
    """Show what the plugin ID asks for, why, how risky that is and what changed since the last time; then grant it.

    Writes manifests/ID.toml for the file as it is now. Limits, configuration and instance of the grant that there is
    stay; its comments do not. Without a terminal nothing is granted unless --yes is given.
    """
    from innkeeper.plugins.catalogue import read_catalogue
    from innkeeper.plugins.consent import plan_consent, write_grant
    from innkeeper.plugins.grants import grant_label
    from innkeeper.plugins.home import open_home, refuse_doubted

    home = open_home(settings.home)
    refuse_doubted(home.path, home.doubt)
    catalogue = read_catalogue(home)
    entry = _entry(catalogue, plugin_id)
    before = _usable(catalogue.grants.get(plugin_id), plugin_id)
    plan = plan_consent(
        plugin_id,
        entry.module.manifest,
        entry.module.digest,
        before,
        deny=deny,
        chosen=chosen,
        everything=everything,
        secrets=_secrets(placed),
    )
    if not settings.json:
        show(plan, entry)
    if plan.needless:
        return _said(settings, plan, written=False, sentence="all of this is granted already")
    if not yes:
        asked = not settings.json and not plan.unmet and is_terminal(sys.stdin) and is_terminal(sys.stdout)
        if not asked:
            advice = _advice(plan)
            if settings.json:
                _said(settings, plan, written=False, sentence=advice)
                return Kind.USAGE.exit_code
            raise UsageError(advice)
        if not click.confirm("Grant this?", err=True):
            raise CancelledError("nothing was granted")
    label = grant_label(plugin_id)
    # Whoever edited the grant meanwhile did not agree to lose that.
    if counting(home, plugin_id) != catalogue.grants.get(plugin_id):
        raise UsageError(f"{label}: changed meanwhile, so nothing was written; repeat the command")
    write_grant(home.path / "manifests" / f"{plugin_id}.toml", plan.grant, label=label)
    given = [str(each) for each in plan.grant.capabilities]
    wanted = [item.request.name for item in plan.items]
    details = {"version": plan.version, "capabilities": given, "asked": wanted, "secrets": sorted(plan.grant.secrets)}
    keep_record(home, "grant", plugin_id, plan.grant.sha256 or "", details)
    return _said(settings, plan, written=True, sentence=f"{label}: written")


@click.command()
@click.argument("plugin_id", metavar="ID")
@json_option
@pass_settings
def revoke(settings: Settings, plugin_id: str) -> None:
    """Take all capabilities of the plugin ID away. Limits, configuration and instance of its grant stay.

    A host that runs follows within a second.
    """
    from innkeeper.plugins.consent import revoked, write_grant
    from innkeeper.plugins.grants import grant_label
    from innkeeper.plugins.home import open_home, refuse_doubted

    home = open_home(settings.home)
    refuse_doubted(home.path, home.doubt)
    label = grant_label(_checked(plugin_id))
    before = _usable(counting(home, plugin_id), plugin_id)
    if before is None:
        raise UsageError(f"there is no grant for {plugin_id!r}; `innkeeper grants` lists what there is")
    after = revoked(before)
    if after != before:
        write_grant(home.path / "manifests" / f"{plugin_id}.toml", after, label=label)
    taken = [str(each) for each in before.capabilities]
    if after != before:
        keep_record(home, "revoke", plugin_id, before.sha256 or "", {"capabilities": taken})
    if settings.json:
        found = {"id": plugin_id, "revoked": taken, "keeps": kept(after), "written": after != before}
        write_out(json_bytes(found, indent=2))
        return
    write_line(f"{label}: " + (f"took away {', '.join(taken)}" if taken else "it gave no capability"))
    stays = kept(after)
    write_line(f"what stays: {', '.join(stays)}" if stays else "nothing else stands in it")


# --- what lies in the home ------------------------------------------------------------------------------------------


def _checked(plugin_id: str) -> str:
    from innkeeper.plugins.manifest import ID, ID_RIGHT
    from innkeeper.plugins.tables import shown

    if ID.fullmatch(plugin_id) is None:
        raise UsageError(f"{shown(plugin_id)} is not the id of a plugin: an id is {ID_RIGHT}")
    return plugin_id


def _secrets(placed: tuple[str, ...]) -> dict[str, SecretUse]:
    from innkeeper.plugins.secret_use import parse_option
    from innkeeper.plugins.tables import shown

    found: dict[str, SecretUse] = {}
    for text in placed:
        try:
            name, use = parse_option(text)
            if name in found:
                raise ValueError(f"{name} is there twice; several servers are joined by commas")
        except ValueError as error:
            # Only what stands before "=": behind it, or without one, may be the secret itself by mistake.
            named, equals, _ = text.partition("=")
            raise UsageError(f"--secret{f' {shown(named)}' if equals else ''} is not right: {error}") from None
        found[name] = use
    return found


def _entry(catalogue: Catalogue, plugin_id: str) -> Entry:
    from innkeeper.plugins.grants import meant

    entry = catalogue.entries.get(_checked(plugin_id))
    if entry is not None:
        return entry
    if plugin_id in catalogue.native:
        raise UsageError(f"{plugin_id!r} is a native plugin, which has all rights: `innkeeper trust {plugin_id}`")
    causes = catalogue.causes.get(plugin_id)
    if causes:
        raise UsageError(f"the plugin {plugin_id!r} cannot be used: {causes[0]}")
    labels = {each.id: each.label for each in catalogue.entries.values()}
    hint = meant(plugin_id, labels) or "; `innkeeper plugins` lists what there is"
    raise UsageError(f"there is no plugin {plugin_id!r}{hint}")


def counting(home: Home, plugin_id: str) -> GrantFile | None:
    """The grant that counts: the operator's own goes before one that came with Innkeeper."""
    from innkeeper.plugins.grants import read_grant

    found = (read_grant(place, plugin_id) for place in home.places)
    return next((each for each in found if each is not None), None)


def _usable(found: GrantFile | None, plugin_id: str) -> Grant | None:
    from innkeeper.plugins.grants import grant_label

    if found is not None and found.grant is None:
        raise UsageError(
            f"{grant_label(plugin_id)} has problems, and what it says would be lost; mend or delete it first: "
            f"{found.problems[0]}"
        )
    return None if found is None else found.grant


def _advice(plan: Plan) -> str:
    if plan.unmet:
        names = ", ".join(item.request.name for item in plan.unmet)
        return (
            f"nothing was granted: without {names} {plan.plugin_id!r} will not work; repeat with --yes if that is meant"
        )
    return "nothing was granted: there is no terminal to ask; look at what is asked for, and repeat with --yes"


def _said(settings: Settings, plan: Plan, *, written: bool, sentence: str) -> int:
    if settings.json:
        write_out(json_bytes(plan_object(plan) | {"written": written, "message": sentence}, indent=2))
    else:
        write_line(sentence)
    return 0
