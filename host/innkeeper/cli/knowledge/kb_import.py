"""`innkeeper kb import`: lorebooks, archives, bases and documents become a knowledge base, or part of one."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.knowledge.import_reports import report_of, say_reports
from innkeeper.cli.knowledge.keeping import bar, open_keeper, problem_object, say_problems, writable_registry
from innkeeper.cli.output import is_terminal, json_bytes, write_error, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import CancelledError, InnkeeperError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from innkeeper.cli.knowledge.import_sources import Found
    from innkeeper.knowledge.documents.changes import Changes
    from innkeeper.knowledge.files.keeper import Keeper
    from innkeeper.knowledge.files.known import Known
    from innkeeper.knowledge.files.model_check import ModelCheck
    from innkeeper.knowledge.files.registry import Registry
    from innkeeper.knowledge.model.base import Base

    Difference = Callable[[list[dict[str, Any]]], Changes]


@dataclass(frozen=True)
class Options:
    """The options of the command."""

    into: str | None
    base_id: str | None
    embed: str | None
    no_embed: bool
    strict: bool
    existing: str
    remove_missing: bool
    quiet: bool


@click.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--into", metavar="BASE", help="Put the entries into this base, instead of a new one.")
@click.option("--id", "base_id", metavar="ID", help="The id of the new base; by default the file's own.")
@click.option("--embed", metavar="MODEL", help="Make its vectors with this model; innkeeper kb models lists them.")
@click.option("--no-embed", is_flag=True, help="Make no vectors: its entries are found by words.")
@click.option("--strict", is_flag=True, help="Refuse a file with any mistake, instead of leaving wrong entries out.")
@click.option(
    "--existing",
    type=click.Choice(["refuse", "replace", "keep", "rename"]),
    default="refuse",
    help="With --into: what becomes of entries whose id is there.",
)
@click.option("--remove-missing", is_flag=True, help="With --into: delete entries of documents that are gone.")
@json_option
@pass_settings
def import_(settings: Settings, /, files: tuple[str, ...], **options: Any) -> None:
    """Read each FILE into a knowledge base of its own, or all into one (--into).

    A FILE is a base (folder, .json, .ckb), its archive (.zip, .ctkbz), a lorebook of SillyTavern, NovelAI, Agnai or
    RisuAI, or documents: text, Markdown, HTML, and folders of them. What is wrong with an entry is said, and the entry
    left out.
    """
    import trio

    chosen = Options(**options, quiet=settings.json)
    if chosen.into is not None and chosen.base_id is not None:
        raise UsageError("give --into or --id, not both")
    if chosen.embed is not None and chosen.no_embed:
        raise UsageError("give --embed or --no-embed, not both")
    if chosen.existing != "refuse" and chosen.into is None:
        raise UsageError("--existing goes with --into")
    if chosen.remove_missing and chosen.into is None:
        raise UsageError("--remove-missing goes with --into")
    paths = [Path(os.path.abspath(file)) for file in files]

    async def main() -> list[dict[str, Any]]:
        from innkeeper.cli.knowledge.import_documents import import_documents
        from innkeeper.cli.knowledge.import_sources import is_document

        home, registry = writable_registry(settings.home)
        documents = [path for path in paths if is_document(path)]
        others = [path for path in paths if path not in documents]
        if chosen.base_id is not None and len(others) + bool(documents) > 1:
            raise UsageError("--id names one base, and these files make several: import them one by one")
        reports: list[dict[str, Any]] = []
        async with open_keeper(home) as keeper:
            try:
                for path in others:
                    reports.append(await Import(registry, keeper, chosen).file(path))
                if documents:
                    importer = Import(registry, keeper, chosen)
                    reports.append(await import_documents(importer, documents))
            except BaseException:
                # What was done before stays, and is said.
                say_reports(settings, reports)
                raise
        return reports

    reports = trio.run(main, restrict_keyboard_interrupt_to_checkpoints=True)
    if settings.json:
        write_out(json_bytes({"imported": reports}, indent=2))
    else:
        say_reports(settings, reports)


class Import:
    """Imports one thing after the other into the bases of a home."""

    def __init__(self, registry: Registry, keeper: Keeper, options: Options) -> None:
        self.registry = registry
        self.keeper = keeper
        self.options = options

    async def file(self, path: Path) -> dict[str, Any]:
        """One file or folder that is no document; what became of it."""
        import trio

        from innkeeper.cli.knowledge.import_sources import opened

        with ExitStack() as stack:
            with bar(f"reading {path.name}", not self.options.quiet) as progress:
                source = opened(path, strict=self.options.strict, progress=progress)
                found = await trio.to_thread.run_sync(stack.enter_context, source)
            return await self.found(found, path.name)

    async def found(self, found: Found, name: str, difference: Difference | None = None) -> dict[str, Any]:
        """Takes in what was read.

        Args:
            found: it.
            name: for messages.
            difference: with --into: says of the entries that are there what is to be put and deleted; None: what was
                found is put, and nothing is deleted.

        Returns:
            what became of it, for --json.
        """
        import trio

        if not found.base.items and found.problems:
            from innkeeper.knowledge.model.problems import KnowledgeError

            raise KnowledgeError(found.problems, source=name)
        known = None
        if self.options.into is not None:
            known = await trio.to_thread.run_sync(self.registry.find, self.options.into)
        base = found.base if known is not None else self._named(found.base)
        if known is None:
            await trio.to_thread.run_sync(self.registry.check_free, base.info.kb_id)
        check = await self._checked(found, known)
        if self.options.embed is not None:
            key = await self.keeper.model_key(self.options.embed)
            self.options = replace(self.options, embed=key or self.options.embed)
        model = "" if check is None else self._decided(check, name)
        if known is None:
            report = await self._placed(base, found, name)
        else:
            report = await self._joined(known, found, name, difference)
        placed = await trio.to_thread.run_sync(self.registry.find, report["base"])
        with bar(f"indexing {placed.name}", not self.options.quiet):
            try:
                await self.keeper.follow(placed)
            except InnkeeperError:
                if known is None:
                    # What cannot be kept is not there, either.
                    await trio.to_thread.run_sync(lambda: shutil.rmtree(placed.path, ignore_errors=True))
                raise
        vectors = 0
        usable = None if check is None else check.usable
        if usable is not None and model in ("", usable.model):
            await self.keeper.keep_vectors(placed, usable)
            vectors += len(usable.ids)
        if model:
            with bar(f"embedding {placed.name}", not self.options.quiet) as progress:
                vectors += await self.keeper.embed(placed, model, progress=progress)
        if not self.options.quiet:
            say_problems(name, found.problems)
        problems = [problem_object(problem) for problem in found.problems]
        model_said = None if check is None else check.report()
        return {**report, "vectors": vectors, "model": model_said, "problems": problems}

    def _named(self, base: Base) -> Base:
        from innkeeper.knowledge.files.names import ID_RIGHT, is_id
        from innkeeper.knowledge.model.base import BaseInfo
        from innkeeper.storage.names import check_name

        if self.options.base_id is None:
            try:
                check_name(base.info.kb_id, "kb_id")
            except ValueError as error:
                raise UsageError(f"{error}, or choose another id with --id") from None
            return base
        if not is_id(self.options.base_id):
            raise UsageError(f"--id: {self.options.base_id[:80]!r} is not right: it must be {ID_RIGHT}")
        document = {**base.document, "kb_id": self.options.base_id}
        return replace(base, document=document, info=BaseInfo.model_validate(document))

    async def _checked(self, found: Found, known: Known | None) -> ModelCheck | None:
        import trio

        from innkeeper.knowledge.files.model_check import check_model
        from innkeeper.knowledge.tokens.named import counter

        if self.options.no_embed:
            # To know which models there are opens each of them, and here nobody is asked.
            return None
        models = await self.keeper.models()
        vectors = found.vectors
        if known is not None:
            # What its base is searched with decides; vectors of another model would never be compared with it.
            vectors = [each for each in vectors if each.model == known.model]
        recorded = None if known is None else known.model

        def check() -> ModelCheck:
            return check_model(found.base, vectors, lambda: models, counter(), recorded=recorded)

        return await trio.to_thread.run_sync(check)

    def _decided(self, check: ModelCheck, name: str) -> str:
        """The key of the model to embed with, or ""."""
        from innkeeper.knowledge.files.model_check import choose_model, find_model

        chosen = choose_model(check, self.options.embed, self.options.no_embed)
        if chosen is not None:
            return chosen
        lines = check.sentences()
        if self.options.quiet or not is_terminal(sys.stdin) or not is_terminal(sys.stdout):
            advice = "say --embed MODEL to make its vectors, or --no-embed to find its entries by words alone"
            raise UsageError(f"{name}: {'; '.join(lines)}; nothing was imported: {advice}")
        for line in lines:
            write_error(f"{name}: {line}")
        answer = click.prompt("Embed with which model (or: no, cancel)", default=check.model or "no", err=True)
        if answer in ("no", "n"):
            return ""
        model = find_model(answer, check.available)
        if not model:
            raise CancelledError(f"{name}: nothing was imported")
        return model

    async def _placed(self, base: Base, found: Found, name: str) -> dict[str, Any]:
        import trio

        from innkeeper.knowledge.files.unpacking import place_base

        target = self.registry.place(base.info.kb_id)
        with bar(f"writing {base.info.name}", not self.options.quiet) as progress:
            await trio.to_thread.run_sync(
                lambda: place_base(base, target, found.media, total=found.media_bytes, progress=progress)
            )
        return report_of(name, found, base.info.kb_id, (len(base.items), 0, 0, 0), len(found.media))

    async def _joined(self, known: Known, found: Found, name: str, difference: Difference | None) -> dict[str, Any]:
        import trio

        from innkeeper.knowledge.files.joining import Existing, joined, media_added

        target = await self.keeper.read(known)
        gone: Sequence[str] = ()
        documents: Sequence[Mapping[str, Any]]
        if difference is not None:
            changes = await trio.to_thread.run_sync(difference, [item.document for item in target.base.items])
            documents, gone = changes.put, changes.delete
        else:
            existing = Existing(self.options.existing)
            documents = await trio.to_thread.run_sync(joined, target.base, found.base, existing)
        if found.media and not known.path.is_dir():
            raise UsageError(f"{name}: has media, and {known.label} is a single file: make a folder of it first")
        with ExitStack() as stack, bar(f"writing {known.name}", not self.options.quiet) as progress:
            added = media_added(known.path, found.media, total=found.media_bytes, progress=progress)
            media = await trio.to_thread.run_sync(stack.enter_context, added)
            done = await self.keeper.change(known, documents, gone, progress=progress)
        counts = (done.created, done.changed, done.same, done.deleted)
        return report_of(name, found, known.id, counts, media)
