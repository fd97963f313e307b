"""`innkeeper grant`, `grants` and `revoke`: what plugins ask for, what they get, and taking it away."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import is_terminal, json_bytes, write_line, write_out, write_table
from innkeeper.cli.records import keep_record
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import CancelledError, Kind, UsageError

if TYPE_CHECKING:
    from innkeeper.plugins.catalogue import Catalogue, Entry
    from innkeeper.plugins.consent import Item, Plan
    from innkeeper.plugins.grant import Grant
    from innkeeper.plugins.grants import GrantFile
    from innkeeper.plugins.home import Home
    from innkeeper.plugins.rights import Rights
    from innkeeper.plugins.risk import Risk
    from innkeeper.plugins.secret_use import SecretUse

_BYTES = {
    "first": "it has no grant yet",
    "same": "its file is the one that the grant is for",
    "changed": "its file is another one than the grant is for",
}


@click.command()
@click.argument("plugin_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Grant it without being asked.")
@click.option("--deny", metavar="CAPABILITY", multiple=True, help="Leave this one out; may be repeated.")
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
    settings: Settings, plugin_id: str, yes: bool, deny: tuple[str, ...], placed: tuple[str, ...], everything: bool
) -> int:
    """Show what the plugin ID asks for, why, how risky that is and what changed since the last time; then grant it.

    Writes manifests/ID.toml for the file as it is now. Limits, configuration and instance of the grant that there is
    stay; its comments do not. Without a terminal nothing is granted unless --yes is given.
    """
    from innkeeper.plugins.catalogue import read_catalogue
    from innkeeper.plugins.consent import plan_consent, write_grant
    from innkeeper.plugins.grants import grant_label
    from innkeeper.plugins.home import open_home

    home = open_home(settings.home)
    catalogue = read_catalogue(home)
    entry = _entry(catalogue, plugin_id)
    before = _usable(catalogue.grants.get(plugin_id), plugin_id)
    plan = plan_consent(
        plugin_id,
        entry.module.manifest,
        entry.module.digest,
        before,
        deny=deny,
        everything=everything,
        secrets=_secrets(placed),
    )
    if not settings.json:
        _show(plan, entry)
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
    if _read(home, plugin_id) != catalogue.grants.get(plugin_id):
        raise UsageError(f"{label}: changed meanwhile, so nothing was written; repeat the command")
    write_grant(home.path / "manifests" / f"{plugin_id}.toml", plan.grant, label=label)
    given = [str(each) for each in plan.grant.capabilities]
    wanted = [item.request.name for item in plan.items]
    details = {"version": plan.version, "capabilities": given, "asked": wanted, "secrets": sorted(plan.grant.secrets)}
    keep_record(home, "grant", plugin_id, plan.grant.sha256 or "", details)
    return _said(settings, plan, written=True, sentence=f"{label}: written")


@click.command()
@json_option
@pass_settings
def grants(settings: Settings) -> None:
    """List the grants of the home, whether they are in force, and what was asked and not given."""
    from innkeeper.plugins.catalogue import read_catalogue
    from innkeeper.plugins.home import open_home

    home = open_home(settings.home)
    catalogue = read_catalogue(home)
    found = [_granted(home, catalogue, entry) for entry in catalogue.entries.values() if _matters(entry)]
    found += [_lonely(home, name) for name, _ in catalogue.unused if name]
    problems = [text for texts in catalogue.grant_problems.values() for text in texts]
    problems += [text for _, text in catalogue.unused]
    problems += [f"{item['id']}: {text}" for item in found for text in item["ignored"]]
    if settings.json:
        write_out(json_bytes({"home": str(home.path), "grants": found, "problems": problems}, indent=2))
        return
    if found:
        write_table(
            ("id", "state", "risk", "has", "lacks", "also"),
            [
                (
                    item["id"],
                    item["state"],
                    item["risk"]["level"],
                    ", ".join(item["capabilities"]) or "-",
                    ", ".join(item["missing"]) or "-",
                    ", ".join(item["keeps"]) or "-",
                )
                for item in found
            ],
        )
    else:
        write_line(f"no grants in {home.path / 'manifests'}, and no plugin asks for one ({home.origin})")
    for item in found:
        if item["unavailable"]:
            write_line(f"{item['id']} has what is not available in this version: {', '.join(item['unavailable'])}")
    for item in found:
        for folder in item["folders"]:
            write_line(f"{item['id']} has {folder['folder']} as {folder['guest']} ({folder['access']})")
    for problem in problems:
        write_line(f"problem: {problem}")


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
    from innkeeper.plugins.home import open_home

    home = open_home(settings.home)
    label = grant_label(_checked(plugin_id))
    before = _usable(_read(home, plugin_id), plugin_id)
    if before is None:
        raise UsageError(f"there is no grant for {plugin_id!r}; `innkeeper grants` lists what there is")
    after = revoked(before)
    if after != before:
        write_grant(home.path / "manifests" / f"{plugin_id}.toml", after, label=label)
    taken = [str(each) for each in before.capabilities]
    if after != before:
        keep_record(home, "revoke", plugin_id, before.sha256 or "", {"capabilities": taken})
    if settings.json:
        found = {"id": plugin_id, "revoked": taken, "keeps": _kept(after), "written": after != before}
        write_out(json_bytes(found, indent=2))
        return
    write_line(f"{label}: " + (f"took away {', '.join(taken)}" if taken else "it gave no capability"))
    kept = _kept(after)
    write_line(f"what stays: {', '.join(kept)}" if kept else "nothing else stands in it")


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
            raise UsageError(f"--secret {shown(text)} is not right: {error}") from None
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


def _read(home: Home, plugin_id: str) -> GrantFile | None:
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


def _kept(grant: Grant | None) -> list[str]:
    """What a grant says besides its capabilities, a few words each."""
    if grant is None:
        return []
    limits = [f"limit {name} = {value:,}" for name, value in grant.limits.items()]
    config = [f"config {', '.join(sorted(grant.config))}"] if grant.config else []
    secrets = [f"secret {name} {use}" for name, use in grant.secrets.items()]
    return [*limits, *config, *(["instance shared"] if grant.shared else []), *secrets]


# --- what is said ---------------------------------------------------------------------------------------------------


def _show(plan: Plan, entry: Entry) -> None:
    manifest = entry.module.manifest
    version = "no manifest" if manifest is None else f"version {manifest.version}"
    write_line(f"{plan.plugin_id} ({version}, {entry.label}, sha256 {entry.module.digest[:8]}): {_BYTES[plan.bytes]}")
    if plan.items:
        write_table(
            ("capability", "needed", "risk", "since last time", "would get", "the author's reason"),
            [
                (
                    item.request.name,
                    "no" if item.request.optional else "yes",
                    item.risk.level,
                    "-" if item.free else item.change,
                    _gets(item),
                    item.request.reason,
                )
                for item in plan.items
            ],
        )
    else:
        write_line("it asks for nothing; a grant gives it the limits and the configuration that you write into it")
    for item in plan.items:
        if item.risk.rank >= 2:
            write_line(f"{item.risk.level}: {item.request.name}: {item.risk.reason}")
        if not item.request.available:
            write_line(f"{item.request.name} is not available in this version; granted now, it counts once it is")
    for name, use in plan.grant.secrets.items():
        write_line(f"the secret {name} goes {use}")
        for host in use.hosts:
            if host.startswith("http:"):
                write_line(f"high: who is on the way to {host} can read the secret {name} (no https)")
    for name in plan.placeless:
        write_line(
            f"the secret {name} would have no place to go to, so it would be of no use; "
            f"say it with --secret {name}=bearer@https://SERVER"
        )
    for each in plan.gone:
        write_line(f"no longer asked for: {each}")
    write_line(f"risk of what it would get: {plan.risk.level}: {plan.risk.reason}")
    for item in plan.unmet:
        write_line(f"it needs {item.request.name} and would not get all of it, so it will not work")
    for problem in _config_problems(plan, entry):
        write_line(f"{problem}: mend [config] in the grant; it is not used before")


def _config_problems(plan: Plan, entry: Entry) -> list[str]:
    manifest = entry.module.manifest
    schema = None if manifest is None else manifest.config_schema
    return [] if schema is None else schema.problems(plan.grant.config)


def _gets(item: Item) -> str:
    if item.free:
        return "yes, needs no grant"
    if item.whole:
        return "yes"
    return f"only {', '.join(map(str, item.given))}" if item.given else "no"


def _advice(plan: Plan) -> str:
    if plan.unmet:
        names = ", ".join(item.request.name for item in plan.unmet)
        return (
            f"nothing was granted: without {names} {plan.plugin_id!r} will not work; repeat with --yes if that is meant"
        )
    return "nothing was granted: there is no terminal to ask; look at what is asked for, and repeat with --yes"


def _said(settings: Settings, plan: Plan, *, written: bool, sentence: str) -> int:
    if settings.json:
        write_out(json_bytes(_plan_object(plan) | {"written": written, "message": sentence}, indent=2))
    else:
        write_line(sentence)
    return 0


def _plan_object(plan: Plan) -> dict[str, Any]:
    return {
        "id": plan.plugin_id,
        "version": plan.version,
        "sha256": plan.grant.sha256,
        "file": plan.bytes,
        "more": plan.more,
        "risk": _risk_object(plan.risk),
        "asked": [
            {
                "name": item.request.name,
                "reason": item.request.reason,
                "optional": item.request.optional,
                "available": item.request.available,
                "free": item.free,
                "risk": _risk_object(item.risk),
                "change": item.change,
                "given": [str(each) for each in item.given],
            }
            for item in plan.items
        ],
        "gone": [str(each) for each in plan.gone],
        "unmet": [item.request.name for item in plan.unmet],
        "capabilities": [str(each) for each in plan.grant.capabilities],
        "secrets": {name: str(use) for name, use in plan.grant.secrets.items()},
        "placeless": list(plan.placeless),
        "keeps": _kept(plan.grant),
    }


def _matters(entry: Entry) -> bool:
    from innkeeper.plugins.rights import FREE

    manifest = entry.module.manifest
    asks = manifest is not None and any(each.capability.name not in FREE for each in manifest.capabilities)
    return asks or entry.grant_state != "none"


def _granted(home: Home, catalogue: Catalogue, entry: Entry) -> dict[str, Any]:
    from innkeeper.plugins.rights import effective
    from innkeeper.plugins.risk import risk_of_all

    manifest = entry.module.manifest
    rights = effective(() if manifest is None else manifest.capabilities, entry.grant)
    return {
        "id": entry.id,
        "state": entry.grant_state,
        "version": None if entry.grant is None else entry.grant.version,
        "risk": _risk_object(risk_of_all(rights.capabilities)),
        "capabilities": [str(each) for each in rights.capabilities],
        "unavailable": [str(each) for each in rights.capabilities if not each.kind.available],
        "missing": [str(each) for each in rights.missing],
        "ignored": list(rights.problems),
        "keeps": _kept(entry.grant),
        "folders": _folders(home, rights),
    }


def _folders(home: Home, rights: Rights) -> list[dict[str, str]]:
    """Where the guest's folders are."""
    if not rights.wasi:
        return []
    from innkeeper.plugins.wasi_rights import MOST_FOLDERS, placed

    return [
        {"guest": each.name, "scope": each.scope.text, "folder": str(root / each.beneath), "access": each.access}
        for each, root in placed(rights, home.folders)[:MOST_FOLDERS]
    ]


def _lonely(home: Home, plugin_id: str) -> dict[str, Any]:
    """A grant whose plugin is not there: it gives nothing."""
    from innkeeper.plugins.risk import NOTHING

    found = _read(home, plugin_id)
    held = None if found is None else found.grant
    return {
        "id": plugin_id,
        "state": "no plugin",
        "version": None if held is None else held.version,
        "risk": _risk_object(NOTHING),
        "capabilities": [],
        "unavailable": [],
        "missing": [],
        "ignored": [],
        "keeps": _kept(held),
        "folders": [],
    }


def _risk_object(found: Risk) -> dict[str, str]:
    return {"level": found.level, "reason": found.reason}
