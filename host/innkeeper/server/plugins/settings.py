"""The configuration of a plugin: the table [config] of its grant, read and written within what its manifest says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import trio

from innkeeper.bridge.bridge import bridge_of
from innkeeper.errors import UsageError
from innkeeper.plugins.consent import write_grant
from innkeeper.plugins.grant import Grant
from innkeeper.plugins.grants import grant_label, read_grant
from innkeeper.plugins.home import Home
from innkeeper.plugins.manifest import Manifest
from innkeeper.plugins.plugin import Plugin
from innkeeper.server.answers import AnswerError
from innkeeper.server.parts import Parts

MOST_KEYS: Final = 256
MOST_KEY: Final = 128
MOST_VALUE: Final = 4096
"""Characters of a value: a grant's file has 256 KiB at most."""

Value = str | int | float | bool | None
"""A value of the configuration as JSON has it; None takes the key away."""


def withheld(manifest: Manifest | None) -> frozenset[str]:
    """Keys whose values are written and never shown: those that the schema calls `writeOnly`."""
    schema = None if manifest is None else manifest.config_schema
    properties = {} if schema is None else schema.written.get("properties")
    if not isinstance(properties, Mapping):
        return frozenset()
    return frozenset(
        str(key) for key, said in properties.items() if isinstance(said, Mapping) and said.get("writeOnly") is True
    )


async def write_settings(parts: Parts, plugin: Plugin, changes: Mapping[str, Value]) -> None:
    """Changes keys of a plugin's configuration. What stands in its grant beside it stays as it is.

    Args:
        parts: of the server.
        plugin: whose.
        changes: the keys with their new values.

    Raises:
        AnswerError: 422: its schema does not allow it; 409: its grant has problems, or the home's grants do not count;
            413: it would be too long.
    """
    async with parts.plugins.writing:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_write, parts.home, plugin, changes, limiter=parts.plugins.files)
        details = {"configured": sorted(changes)}
        bridge_of(parts.host).audit.record("grant", plugin.id, plugin.digest, details)
        await parts.host.reload()


def _write(home: Home, plugin: Plugin, changes: Mapping[str, Value]) -> None:
    if home.doubt:
        raise AnswerError(409, "nothing was written: the grants of this home do not count")
    label = grant_label(plugin.id)
    found = next((each for place in home.places if (each := read_grant(place, plugin.id)) is not None), None)
    if found is not None and found.grant is None:
        raise AnswerError(409, f"{label} has problems, and what it says would be lost: mend or delete it first")
    before = Grant(plugin.digest) if found is None or found.grant is None else found.grant
    config = dict(before.config)
    for key, value in changes.items():
        if value is None:
            config.pop(key, None)
        else:
            config[key] = text_of(value)
    schema = None if plugin.manifest is None else plugin.manifest.config_schema
    problems = [] if schema is None else schema.problems(config)
    if problems:
        raise AnswerError(422, "the plugin's manifest does not allow this configuration", problems)
    try:
        write_grant(home.path / "manifests" / f"{plugin.id}.toml", replace(before, config=config), label=label)
    except UsageError as error:
        raise AnswerError(413, error.message) from None
    except ValueError:
        raise AnswerError(422, "the configuration has what is no text of Unicode") from None


def text_of(value: str | int | float | bool) -> str:
    """A value as a configuration holds it, which is text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)
