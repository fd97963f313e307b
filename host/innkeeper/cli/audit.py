"""`innkeeper audit`: what was granted, revoked, refused, paused, resumed, consented to and loaded natively."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import json_bytes, write_line, write_out, write_table
from innkeeper.cli.records import open_kept, say_doubted
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.storage.audit import AuditKind, Record

_KINDS = ("grant", "revoke", "refusal", "native_load", "pause", "resume", "approval")


@click.command()
@click.option("--plugin", metavar="ID", help="Records of this plugin alone.")
@click.option("--kind", type=click.Choice(_KINDS), help="Records of this kind alone.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many at most.")
@json_option
@pass_settings
def audit(settings: Settings, plugin: str | None, kind: str | None, limit: int) -> None:
    """Show what was granted, revoked, refused, paused, resumed, consented to and loaded natively, newest first."""
    import trio

    from innkeeper.plugins.home import open_home

    home = open_home(settings.home)

    async def read() -> list[Record]:
        await say_doubted(home)
        async with open_kept(home) as database:
            if database is None:
                return []
            from innkeeper.storage.audit import AuditKind, AuditLog

            wanted: AuditKind | None = None if kind is None else AuditKind(kind)
            log = AuditLog(database, days=home.configuration.retention.audit_days)
            try:
                return await log.read(kind=wanted, plugin=plugin, limit=limit)
            except ValueError as error:
                raise UsageError(f"--plugin: {error}") from None

    records = trio.run(read, restrict_keyboard_interrupt_to_checkpoints=True)
    if settings.json:
        write_out(json_bytes({"records": [_object(record) for record in records]}, indent=2))
        return
    if not records:
        write_line("no records")
        return
    write_table(
        ("when", "kind", "plugin", "sha256", "what"),
        [
            (_when(record.at), record.kind.value, record.plugin, record.digest[:8] or "-", _words(record.details))
            for record in records
        ],
    )


def _object(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "at": record.at,
        "kind": record.kind.value,
        "plugin": record.plugin,
        "sha256": record.digest,
        "details": record.details,
    }


def _words(details: dict[str, Any]) -> str:
    parts = []
    for key, value in details.items():
        if isinstance(value, list):
            parts.append(f"{key} {', '.join(map(str, value)) or 'none'}")
        elif value is True:
            parts.append(key)
        elif value not in (None, "", False):
            parts.append(f"{key} {value}")
    return "; ".join(parts) or "-"


def _when(at: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return "at no time"
