"""`innkeeper kb new`: an empty knowledge base."""

from __future__ import annotations

import time

import click

from innkeeper.cli.knowledge.keeping import open_keeper, writable_registry
from innkeeper.cli.output import json_bytes, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import UsageError


@click.command()
@click.argument("name")
@click.option("--id", "base_id", metavar="ID", help="Its id; by default made of the name.")
@click.option("--description", metavar="TEXT", help="For people.")
@click.option("--project", metavar="FOLDER", help="Make it in this project, and refer to it in project.json.")
@json_option
@pass_settings
def new(settings: Settings, name: str, base_id: str | None, description: str | None, project: str | None) -> None:
    """Make an empty knowledge base that is called NAME, in the home or in a project."""
    import trio

    from innkeeper.knowledge.files.names import ID_RIGHT, folder_name, is_id, slug
    from innkeeper.knowledge.files.project import OWN, add_reference, read_project
    from innkeeper.knowledge.files.unpacking import place_base
    from innkeeper.knowledge.model.base import SCHEMA_VERSION, Base, BaseInfo
    from innkeeper.knowledge.model.bounds import MOST_CONTENT, MOST_NAME

    if not name.strip() or len(name) > MOST_NAME:
        raise UsageError(f"NAME: write 1 to {MOST_NAME:,} characters")
    if description is not None and len(description) > MOST_CONTENT:
        raise UsageError(f"--description: at most {MOST_CONTENT:,} characters")
    if base_id is not None and not is_id(base_id):
        raise UsageError(f"--id: {base_id[:80]!r} is not right: it must be {ID_RIGHT}")
    chosen = base_id or slug(name)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    document = {
        "kb_id": chosen,
        "kb_version": "1.0.0",
        "schema_version": SCHEMA_VERSION,
        "kb_displayName": name,
        **({"kb_description": description} if description else {}),
        "created_at": now,
        "updated_at": now,
    }
    base = Base(document, BaseInfo.model_validate(document))
    reference = ""
    if project is not None:
        target = read_project(project)
        place = target.folder / OWN / folder_name(chosen)
        place_base(base, place)
        _, added = add_reference(target, chosen, name=name, path=f"{OWN}/{place.name}")
        reference = added.id
    else:
        home, registry = writable_registry(settings.home)
        registry.check_free(chosen)
        place = registry.place(chosen)
        place_base(base, place)

        async def follow() -> None:
            async with open_keeper(home) as keeper:
                await keeper.follow(await trio.to_thread.run_sync(registry.find, chosen))

        trio.run(follow, restrict_keyboard_interrupt_to_checkpoints=True)
    if settings.json:
        found = {"id": chosen, "name": name, "path": str(place), "reference": reference or None}
        write_out(json_bytes(found, indent=2))
    else:
        told = f"; the project refers to it as {reference!r}" if reference else ""
        write_line(f"{chosen}: {place}{told}")
