"""`innkeeper restore`: a backup becomes a home."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from innkeeper.cli.output import counted, json_bytes, write_error, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.composition.staging import Restored


@click.command()
@click.argument("file")
@click.option("--home", "folder", metavar="FOLDER", help="The home to be; made where it is missing.")
@click.option("--with-secrets", is_flag=True, help="Also the secrets that are in FILE, as secrets.toml in the home.")
@click.option("--force", is_flag=True, help="Where the home has something already: move that aside first.")
@json_option
@pass_settings
def restore(settings: Settings, file: str, folder: str | None, with_secrets: bool, force: bool) -> None:
    """Make a home of FILE, which `innkeeper backup` wrote: all of it, or nothing. Or put back a copy of its database,
    as one is made before each upgrade (state/backup/*.db), as it is.

    Every name and digest is checked before anything is put in place. The database is brought to this version's schema.
    Nothing is overwritten: with --force what is there goes into a folder .before-restore-TIME of the home. A home that
    a host uses is refused.

    Whoever made FILE chose its plugins, grants and settings: restore what you would run.
    """
    from innkeeper.cli.progress import share_shown
    from innkeeper.composition.going_back import is_database
    from innkeeper.composition.restoring import put_in_place, upgraded
    from innkeeper.composition.staging import staged
    from innkeeper.plugins.home import find_home

    chosen = folder or settings.home
    home = Path(os.path.abspath(chosen)) if chosen else find_home()[0]
    if is_database(Path(file)):
        if with_secrets:
            raise UsageError("--with-secrets: a copy of a database has none")
        _put_back(settings, Path(os.path.abspath(file)), home, force)
        return
    with share_shown("reading the backup") as progress:
        reading = staged(Path(os.path.abspath(file)), home, secrets=with_secrets, said=lambda done: progress(done, 0))
        with reading as made:
            upgraded(made)
            done = put_in_place(made, home, force=force)
    if settings.json:
        write_out(json_bytes(_object(done, home), indent=2))
        return
    write_line(f"{home}: {counted(done.files, 'file')}, {done.bytes:,} bytes")
    if done.schema is not None and done.schema[0] != done.schema[1]:
        write_line(f"the database had schema {done.schema[0]} and has {done.schema[1]} now")
    if done.aside is not None:
        write_line(f"what was there is in {done.aside.name}")
    if done.secrets:
        write_line("secrets.toml has the secrets: set secrets.file in innkeeper.toml to it")
    if done.database == "postgresql":
        write_error("innkeeper: its database was one of a PostgreSQL server: `pg_restore` it as well")


def _put_back(settings: Settings, file: Path, home: Path, force: bool) -> None:
    from innkeeper.composition.databases import database_server
    from innkeeper.composition.going_back import put_back
    from innkeeper.plugins.home import open_home

    if home.is_dir() and database_server(open_home(str(home))):
        raise UsageError("this home's database is one of a PostgreSQL server: pg_restore puts a copy of it back")
    done = put_back(file, home, force=force)
    if settings.json:
        aside = None if done.aside is None else str(done.aside)
        write_out(json_bytes({"home": str(home), "bytes": done.size, "schema": done.schema, "aside": aside}, indent=2))
        return
    write_line(f"{home}: the database is {file.name}, {done.size:,} bytes, schema {done.schema}")
    if done.schema != done.newest:
        write_line(
            f"this version of Innkeeper upgrades it to schema {done.newest} as soon as it opens it: start the older one"
        )
    if done.aside is not None:
        write_line(f"what was there is in {done.aside.name}")


def _object(done: Restored, home: Path) -> dict[str, object]:
    return {
        "home": str(home),
        "files": done.files,
        "bytes": done.bytes,
        "made": done.at,
        "database": done.database,
        "schema": None if done.schema is None else {"before": done.schema[0], "now": done.schema[1]},
        "aside": None if done.aside is None else str(done.aside),
        "secrets": done.secrets,
    }
