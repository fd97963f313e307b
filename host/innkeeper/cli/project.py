"""`innkeeper project`: projects of users, on the home's disk, with a server or without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.output import json_bytes, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import InnkeeperError

if TYPE_CHECKING:
    from innkeeper.plugins.home import Home
    from innkeeper.server.files.logical import LogicalPath
    from innkeeper.server.files.store import Files
    from innkeeper.server.files.tree import Tree
    from innkeeper.server.projects.projects import Projects
    from innkeeper.server.projects.templates import Templates

_KINDS = ("characters", "scenes", "agent_profiles", "scripts", "assets")


def user_option(command: Any) -> Any:
    """Adds --user, the argument `user`: whose projects."""
    return click.option(
        "--user", metavar="ID", help="Whose projects; by default those of the one user of a home without users."
    )(command)


@click.group()
def project() -> None:
    """Projects: folders of workflows, characters, scenes and knowledge bases, which a server shows to their user."""


@project.command()
@click.argument("name")
@click.option("--template", metavar="T", default="empty", show_default=True, help="What it begins with.")
@click.option("--description", default="", help="For people.")
@user_option
@json_option
@pass_settings
def new(settings: Settings, name: str, template: str, description: str, user: str | None) -> None:
    """Make a project NAME. `innkeeper project list --templates` shows what it can begin with."""
    from innkeeper.plugins.home import refuse_doubted

    home, files, projects, _ = _opened(settings, user)
    refuse_doubted(home.path, home.doubt)
    given = {"name": name, **({"description": description} if description else {})}
    made = projects.create(given, files.now(), template).value
    folder = projects.path(made["id"])
    if settings.json:
        write_out(json_bytes({"id": made["id"], "folder": str(folder), "metadata": made}, indent=2))
        return
    write_line(f"{made['id']}: made in {folder}")
    for workflow in _workflows(projects, made["id"])[:3]:
        write_line(f"run {workflow['name']!r}: innkeeper run {str(folder / workflow['file'])!r}")


@project.command("list")
@click.option("--templates", is_flag=True, help="What new projects can begin with.")
@user_option
@json_option
@pass_settings
def list_(settings: Settings, templates: bool, user: str | None) -> None:
    """List the projects of a user."""
    _, _, projects, known = _opened(settings, user)
    if templates:
        rows = [
            {"id": each.id, "name": each.name, "description": each.description, "shared": each.shared}
            for each in known.all()
        ]
        _print(settings, "templates", rows, ("id", "name", "description"))
        return
    found, more = [], True
    after = ""
    while more:
        page, more = projects.page(after)
        found += page
        after = page[-1][0] if page else after
        more = more and bool(page)
    rows = [
        {
            "id": id_,
            "name": value.get("name", id_),
            "workflows": len(_workflows(projects, id_)),
            "updatedAt": value.get("updatedAt", ""),
            "problem": problem,
        }
        for id_, value, problem in found
    ]
    if not rows and not settings.json:
        write_line("there are no projects: `innkeeper project new NAME` makes one")
        return
    _print(settings, "projects", rows, ("id", "name", "workflows", "updatedAt", "problem"))


@project.command()
@click.argument("id")
@user_option
@json_option
@pass_settings
def show(settings: Settings, id: str, user: str | None) -> None:
    """Show what the project ID says, what is in it, and whether its knowledge bases are there."""
    home, files, projects, _ = _opened(settings, user)
    value = projects.get(id).value
    folder = projects.path(id)
    workflows = _workflows(projects, id)
    tree, here = files.user(_owner(user)), projects.folder(id)
    counted = {kind: count for kind in _KINDS if (count := _count(tree, here.child(kind)))}
    bases = _bases(home, projects, id)
    if settings.json:
        found = {"metadata": value, "folder": str(folder), "workflows": workflows, "files": counted, "bases": bases}
        write_out(json_bytes(found, indent=2))
        return
    write_line(f"{value.get('name', id)} ({id})")
    if value.get("description"):
        write_line(str(value["description"]))
    write_line(f"in {folder}")
    for kind, count in counted.items():
        write_line(f"{kind}: {count:,}")
    if workflows:
        write_table(("workflow", "name", "file"), [(each["id"], each["name"], each["file"]) for each in workflows])
    if bases:
        write_table(("base", "name", "problem"), [(each["id"], each["name"], each["problem"]) for each in bases])


def _opened(settings: Settings, user: str | None) -> tuple[Home, Files, Projects, Templates]:
    from innkeeper.plugins.home import open_home
    from innkeeper.server.files.store import Files, bounds_of_files
    from innkeeper.server.projects.index import Index
    from innkeeper.server.projects.projects import Projects
    from innkeeper.server.projects.templates import SHARED, Templates

    home = open_home(settings.home)
    files = Files(home.path, bounds_of_files(home.configuration.server))
    templates = Templates(files.tree("", SHARED))
    return home, files, Projects(files.user(_owner(user)), templates, Index()), templates


def _owner(user: str | None) -> str:
    from innkeeper.storage.run_model import USER

    return USER if user is None else user


def _workflows(projects: Projects, id: str) -> list[dict[str, str]]:
    try:
        found = projects.workflows(id).summaries()
    except InnkeeperError:
        return []
    below = len(projects.folder(id).parts)
    return [{"id": summary.id, "name": summary.name, "file": "/".join(path.parts[below:])} for path, summary in found]


def _bases(home: Home, projects: Projects, id: str) -> list[dict[str, str]]:
    from innkeeper.knowledge.files.project import read_project, resolve
    from innkeeper.knowledge.files.registry import Registry

    read = read_project(projects.path(id))
    registry = Registry(home.path, home.doubt)
    rows = []
    for reference in read.references:
        problem = ""
        try:
            resolve(read, reference, registry)
        except InnkeeperError as error:
            problem = error.message
        rows.append({"id": reference.id, "name": reference.name, "problem": problem})
    return rows


def _count(tree: Tree, folder: LogicalPath) -> int:
    try:
        return len(tree.page(folder)[0])
    except InnkeeperError:
        return 0


def _print(settings: Settings, name: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if settings.json:
        write_out(json_bytes({name: rows}, indent=2))
    else:
        write_table(columns, [tuple(str(row[column]) for column in columns) for row in rows])
