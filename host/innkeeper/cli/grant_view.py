"""How a consent is shown: what a plugin asks for and why, what it would get, and how risky that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innkeeper.cli.output import write_line, write_table

if TYPE_CHECKING:
    from innkeeper.plugins.catalogue import Entry
    from innkeeper.plugins.choice import Item
    from innkeeper.plugins.consent import Plan
    from innkeeper.plugins.grant import Grant
    from innkeeper.plugins.risk import Risk

_BYTES = {
    "first": "it has no grant yet",
    "same": "its file is the one that the grant is for",
    "changed": "its file is another one than the grant is for",
}


def show(plan: Plan, entry: Entry) -> None:
    """Writes what is asked for, why, how risky it is and what would be given."""
    from innkeeper.plugins.capabilities import MAX_TEXT
    from innkeeper.plugins.urls import leaves_in_clear

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
                    gets if len(gets := _gets(item)) <= MAX_TEXT else "see below",
                    item.request.reason,
                )
                for item in plan.items
            ],
        )
    else:
        write_line("it asks for nothing; a grant gives it the limits and the configuration that you write into it")
    for item in plan.items:
        if len(_gets(item)) > MAX_TEXT:
            for each in item.given:
                write_line(f"of {item.request.name} it would get {each}")
        if item.risk.rank >= 2:
            write_line(f"{item.risk.level}: {item.request.name}: {item.risk.reason}")
        if not item.request.available:
            write_line(f"{item.request.name} is not available in this version; granted now, it counts once it is")
    for name, use in plan.grant.secrets.items():
        write_line(f"the secret {name} goes {use}")
        for host in use.hosts:
            if leaves_in_clear(host):
                write_line(f"high: who is on the way to {host} can read the secret {name} (no https)")
    for name in plan.placeless:
        write_line(
            f"the secret {name} would have no place to go to, so it would be of no use; "
            f"say it with --secret {name}=bearer@https://SERVER"
        )
    shown = {each for item in plan.items for each in item.given}
    for each in plan.grant.capabilities:
        if each not in shown:
            write_line(f"it keeps {each}, which the grant gives by name")
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
        named = [str(each) for each in item.given if each != item.request.capability]
        return f"yes, and {', '.join(named)} by name" if named else "yes"
    return f"only {', '.join(map(str, item.given))}" if item.given else "no"


def plan_object(plan: Plan) -> dict[str, Any]:
    """A plan as JSON says it."""
    return {
        "id": plan.plugin_id,
        "version": plan.version,
        "sha256": plan.grant.sha256,
        "file": plan.bytes,
        "more": plan.more,
        "risk": risk_object(plan.risk),
        "asked": [
            {
                "name": item.request.name,
                "reason": item.request.reason,
                "optional": item.request.optional,
                "available": item.request.available,
                "free": item.free,
                "risk": risk_object(item.risk),
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
        "keeps": kept(plan.grant),
    }


def kept(grant: Grant | None) -> list[str]:
    """What a grant says besides its capabilities, a few words each."""
    if grant is None:
        return []
    limits = [f"limit {name} = {value:,}" for name, value in grant.limits.items()]
    config = [f"config {', '.join(sorted(grant.config))}"] if grant.config else []
    secrets = [f"secret {name} {use}" for name, use in grant.secrets.items()]
    return [*limits, *config, *(["instance shared"] if grant.shared else []), *secrets]


def risk_object(found: Risk) -> dict[str, str]:
    """A risk as JSON says it."""
    return {"level": found.level, "reason": found.reason}
