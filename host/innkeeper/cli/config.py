"""`innkeeper config`: each setting and where it comes from; and a first innkeeper.toml from one of ComfyTavern."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import json_bytes, write_error, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import Kind, UsageError

if TYPE_CHECKING:
    from innkeeper.plugins.effective import Row


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def config(context: click.Context) -> None:
    """Show every setting of the host, its value, and where it comes from.

    A setting is built in, stands in the home's innkeeper.toml, is a variable such as INNKEEPER_JOURNAL_KEEP, or was
    given with --set; the later goes before the earlier.
    """
    if context.invoked_subcommand is None:
        _show(context.ensure_object(Settings))


@config.command()
@json_option
@pass_settings
def show(settings: Settings) -> None:
    """Show every setting, its value, and where it comes from; what `innkeeper config` alone does."""
    _show(settings)


@config.command()
@json_option
@pass_settings
def check(settings: Settings) -> int:
    """Check the home's innkeeper.toml and the variables, without starting anything.

    A line for each problem and exit code 2, if there is one. What counts for nothing is a warning.
    """
    from innkeeper.plugins.configuration import FILE_NAME
    from innkeeper.plugins.configuration_sources import strange_variables
    from innkeeper.plugins.home import check_home, find_home
    from innkeeper.plugins.listing import unused_decisions
    from innkeeper.plugins.tables import problems_of

    path, _ = find_home(settings.home)
    file = path / FILE_NAME
    problems: list[str] = []
    warnings = strange_variables(os.environ)
    try:
        warnings += unused_decisions(check_home(settings.home, path))
    except UsageError as error:
        problems = problems_of(error)
    there = file.exists()
    if settings.json:
        report = {"file": str(file) if there else None, "problems": problems, "warnings": warnings}
        write_out(json_bytes(report, indent=2))
    else:
        for line in [*problems, *(f"warning: {warning}" for warning in warnings)]:
            write_line(line)
        if not problems:
            write_line(f"{file}: " + ("in order" if there else "does not exist; every setting is built in"))
    return Kind.USAGE.exit_code if problems else 0


@config.command()
@click.argument("key")
@json_option
@pass_settings
def get(settings: Settings, key: str) -> None:
    """Show the value of one setting, such as journal.keep. What nothing is said of is an empty line."""
    from innkeeper.plugins.configuration_sources import root
    from innkeeper.plugins.effective import effective_settings
    from innkeeper.plugins.home import open_home
    from innkeeper.plugins.listing import unused_decisions
    from innkeeper.plugins.setting_keys import dotted, leaf_of

    home = open_home(settings.home)
    try:
        name = dotted(leaf_of(root(), key)[0])
    except ValueError as error:
        raise UsageError(str(error)) from None
    for said in unused_decisions(home):
        write_error(f"innkeeper: {said}")
    row = next((row for row in effective_settings(home.configuration) if row.key == name), None)
    if row is None:
        raise UsageError(f"{name} is not set")
    if settings.json:
        write_out(json_bytes(_object(row), indent=2))
    else:
        write_line(_plain(row.value))


@config.command("import")
@click.argument("file")
@json_option
@pass_settings
def import_(settings: Settings, file: str) -> None:
    """Make the home's innkeeper.toml from FILE, ComfyTavern's config.json, and say what became of each field.

    Only where there is no innkeeper.toml: nothing is ever overwritten. Values that are secrets are not taken over.
    """
    from innkeeper.cli.files import read_up_to
    from innkeeper.plugins.comfytavern import MAX_BYTES, read_config_json, write_configuration
    from innkeeper.plugins.home import doubt_of, find_home, refuse_doubted

    home, origin = find_home(settings.home)
    refuse_doubted(home, doubt_of(home, origin))
    data, size = read_up_to("FILE", file, MAX_BYTES)
    if len(data) > MAX_BYTES:
        raise UsageError(f"{file}: is {'more than ' if size is None else ''}{size or MAX_BYTES:,} bytes; too large")
    fields = read_config_json(data, where=file)
    path = write_configuration(home, fields)
    found = [{"field": each.name, "said": each.said} for each in fields]
    if settings.json:
        write_out(json_bytes({"file": str(path), "fields": found}, indent=2))
        return
    write_line(f"{path} ({origin}): written")
    if found:
        write_table(("field", "what became of it"), [(each.name, each.said) for each in fields])


def _show(settings: Settings) -> None:
    from innkeeper.plugins.configuration import FILE_NAME
    from innkeeper.plugins.configuration_sources import strange_variables
    from innkeeper.plugins.effective import effective_settings
    from innkeeper.plugins.home import open_home
    from innkeeper.plugins.listing import unused_decisions

    home = open_home(settings.home)
    rows = effective_settings(home.configuration)
    warnings = [*strange_variables(os.environ), *unused_decisions(home)]
    path = home.path / FILE_NAME
    if settings.json:
        report = {
            "home": str(home.path),
            "file": str(path) if path.exists() else None,
            "settings": [_object(row) for row in rows],
            "warnings": warnings,
        }
        write_out(json_bytes(report, indent=2))
        return
    write_table(("setting", "value", "from"), [(row.key, row.shown, row.origin) for row in rows])
    write_line(f"{path}" + ("" if path.exists() else " does not exist") + f" ({home.origin})")
    for warning in warnings:
        write_line(f"warning: {warning}")


def _object(row: Row) -> dict[str, Any]:
    value = list(row.value) if isinstance(row.value, tuple) else row.value
    return {"key": row.key, "value": value, "from": row.origin}


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(value) if isinstance(value, tuple) else str(value)
