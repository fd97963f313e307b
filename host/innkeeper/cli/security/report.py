"""All checks, in one report."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import trio

from innkeeper.cli.output import json_bytes, write_line, write_out, write_table
from innkeeper.cli.security.finding import CHECKS, STATES, Finding
from innkeeper.cli.security.machine import check_machine, check_settings
from innkeeper.cli.security.places import check_places
from innkeeper.cli.security.rights import check_rights
from innkeeper.cli.security.server import check_server
from innkeeper.plugins.catalogue import read_catalogue
from innkeeper.plugins.home import Home


async def inspect_security(home: Home, engine: list[str]) -> list[Finding]:
    """Every check, at least one finding for each, in the order of `CHECKS`. Reads all plugins of the home.

    Args:
        home: whose configuration counts.
        engine: what the engine's self-check found wrong.
    """
    configuration = home.configuration
    catalogue = await trio.to_thread.run_sync(read_catalogue, home)
    found = [
        *await trio.to_thread.run_sync(check_places, home),
        *await trio.to_thread.run_sync(check_server, home),
        *await check_rights(catalogue, configuration),
        *check_settings(configuration, os.environ),
        *check_machine(configuration.bounds, engine),
    ]
    order = list(CHECKS)
    return sorted(found, key=lambda finding: order.index(finding.check))


def show_security(found: list[Finding], *, as_json: bool) -> int:
    """Writes the report; the exit code (int): 1 where something is bad."""
    counts = {state: sum(each.state == state for each in found) for state in STATES}
    if as_json:
        report: dict[str, Any] = {
            "ok": not counts["bad"],
            "counts": counts,
            "findings": [asdict(each) for each in found],
        }
        write_out(json_bytes(report, indent=2))
    else:
        rows = sorted(found, key=lambda each: STATES.index(each.state))
        write_table(
            ("state", "check", "what", "what to do"), [(r.state, r.check, r.what, r.advice or "-") for r in rows]
        )
        write_line(", ".join(f"{count} {state}" for state, count in counts.items()) + "; see docs/threat-model.md")
    return 1 if counts["bad"] else 0
