"""`innkeeper backup`: what a home keeps, in one file, while a host runs."""

from __future__ import annotations

import os
from pathlib import Path

import click

from innkeeper.cli.output import counted, json_bytes, write_error, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import UsageError

_SHOWN = 100


@click.command()
@click.argument("file")
@click.option("--home", "folder", metavar="FOLDER", help="The home, as innkeeper --home FOLDER backup.")
@click.option("--with-secrets", is_flag=True, help="The file of secrets as well: whoever has the backup has them.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@json_option
@pass_settings
def backup(settings: Settings, file: str, folder: str | None, with_secrets: bool, force: bool) -> None:
    """Write what the home keeps into FILE, a .tar.gz with the digest of each file; hosts go on meanwhile.

    In it are innkeeper.toml, plugins, grants, knowledge bases, files/, the database as it is at one moment, and which
    plugins are paused; not the cache, and secrets only if you say so. A database of a PostgreSQL server is not in it:
    pg_dump does that.

    \b
    innkeeper backup home.tar.gz
    innkeeper restore home.tar.gz --home NEW_FOLDER
    """
    from innkeeper.cli.progress import share_shown
    from innkeeper.composition.backing_up import back_up
    from innkeeper.plugins.home import open_home

    if not file.endswith((".tar.gz", ".tgz")):
        raise UsageError(f"FILE: {os.path.basename(file)!r} must end with .tar.gz")
    target = Path(os.path.abspath(file))
    if not target.parent.is_dir():
        raise UsageError(f"FILE: there is no folder {target.parent.name!r} to write it into")
    home = open_home(folder or settings.home)
    if home.doubt:
        write_error(f"innkeeper: what is kept in {home.state} may be somebody else's invention: {home.doubt}")
    with share_shown("copying the database") as progress:
        made = back_up(home, target, secrets=with_secrets, replace=force, progress=progress)
    if settings.json:
        report = {
            "file": str(made.file),
            "files": made.files,
            "bytes": made.bytes,
            "size": made.size,
            "database": made.database,
            "secrets": made.secrets,
            "left_out": made.left_out,
        }
        write_out(json_bytes(report, indent=2))
        return
    write_line(f"{target.name}: {counted(made.files, 'file')}, {made.bytes:,} bytes, {made.size:,} packed")
    if made.database == "postgresql":
        write_error(
            "innkeeper: the database is one of a PostgreSQL server and not in it: `pg_dump --format=custom` it as well"
        )
    for line in made.left_out[:_SHOWN]:
        write_error(f"innkeeper: left out: {line}")
    if len(made.left_out) > _SHOWN:
        write_error(f"innkeeper: and {len(made.left_out) - _SHOWN:,} more are left out; --json lists all")
