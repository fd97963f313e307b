"""`innkeeper kb export`: a base as an archive, a single file, or a lorebook of others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.knowledge.keeping import bar, problem_object, say_problems
from innkeeper.cli.knowledge.named_bases import laid_over, read_named
from innkeeper.cli.output import json_bytes, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from innkeeper.cli.knowledge.named_bases import Named
    from innkeeper.knowledge.files.decoding import Progress
    from innkeeper.knowledge.files.vectors import VectorSet
    from innkeeper.knowledge.model.problems import Problem

_BOOKS = ("world-info", "character-book")


@click.command()
@click.argument("base")
@click.option("--out", "out", metavar="FILE", required=True, help="A .ctkbz or .zip with media, or a .json or .ckb.")
@click.option("--vectors/--no-vectors", default=False, help="Whether the vectors go with it (archives only).")
@click.option("--to", "to", type=click.Choice(["base", *_BOOKS]), default="base", help="In whose format.")
@click.option("--session", metavar="ID", default="", help="As this session sees it: a book of one playthrough.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@json_option
@pass_settings
def export(settings: Settings, base: str, out: str, vectors: bool, to: str, session: str, force: bool) -> None:
    """Write BASE (an id, a name or a path) into a file: whole with its media, or as a lorebook of SillyTavern."""
    import trio

    from innkeeper.knowledge.files.packing import SUFFIXES

    file = Path(os.path.abspath(out))
    packed = file.name.lower().endswith(SUFFIXES)
    if not packed and not file.name.lower().endswith((".json", ".ckb")):
        raise UsageError(f"--out: {file.name!r} must end with .ctkbz or .zip for an archive, .json or .ckb for a file")
    if packed and to != "base":
        raise UsageError(f"--to {to} is a single file: --out must end with .json")
    if vectors and not packed:
        raise UsageError("--vectors: only an archive has room for them: --out must end with .ctkbz or .zip")
    if os.path.lexists(file) and not force:
        raise UsageError(f"--out: {file.name} is there already: --force replaces it")
    if not file.parent.is_dir():
        raise UsageError(f"--out: there is no folder {file.parent.name!r} to write it into")

    read = read_named(settings, base, vectors=vectors, session=session)
    if vectors and not read.vectors:
        name = read.base.info.name
        raise UsageError(f"{name}: has no vectors: `innkeeper kb embed` makes them, or leave --vectors out")
    if session:
        read.base = laid_over(read.base, read.changed)
        own = {item.entry.id for item in read.base.items} - {each.entry for each in read.changed}
        # A vector is of the text that the base has.
        read.vectors = [only(each, own) for each in read.vectors]

    async def main() -> dict[str, Any]:
        with bar(f"writing {file.name}", not settings.json) as progress:
            return await trio.to_thread.run_sync(_write, file, read, to, packed, progress)

    report = trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)
    problems: list[Problem] = report.pop("problems")
    if settings.json:
        write_out(json_bytes({**report, "problems": [problem_object(each) for each in problems]}, indent=2))
        return
    told = f", {report['media']:,} media, {report['vectors']:,} vectors" if packed else ""
    write_line(f"{file.name}: {report['entries']:,} entries{told}, {report['bytes']:,} bytes")
    say_problems(file.name, problems)


def only(vectors: VectorSet, ids: Collection[str]) -> VectorSet:
    """The vectors of some entries."""
    from innkeeper.knowledge.files.vectors import VectorSet

    rows = [at for at, id in enumerate(vectors.ids) if id in ids]
    return VectorSet(
        vectors.model, [vectors.ids[at] for at in rows], [vectors.digests[at] for at in rows], vectors.vectors[rows]
    )


def _write(file: Path, read: Named, to: str, packed: bool, progress: Progress | None) -> dict[str, Any]:
    from innkeeper.knowledge.files.packing import write_archive
    from innkeeper.knowledge.files.writing import encode_base, replace, write_json
    from innkeeper.knowledge.interchange.book_files import character_book, world_book
    from innkeeper.knowledge.model.problems import Problem

    base = read.base
    media = sum(1 for item in base.items if item.entry.content.path)
    report: dict[str, Any] = {"id": base.info.kb_id, "file": str(file), "entries": len(base.items), "to": to}
    if packed:
        done = write_archive(file, base, folder=read.folder, vectors=read.vectors, progress=progress)
        problems = [*read.problems, *done.problems]
        report |= {"media": done.media, "vectors": done.vectors, "bytes": done.size, "problems": problems}
        return report
    if to == "base":
        replace(file, encode_base(base))
    else:
        write_json(file, world_book(base) if to == "world-info" else character_book(base))
    problems = list(read.problems)
    if media:
        problems.append(Problem("media", f"{media:,} media files stay behind: only an archive takes them along"))
    return report | {"media": 0, "vectors": 0, "bytes": file.stat().st_size, "problems": problems}
