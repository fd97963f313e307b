"""`innkeeper kb edit`: changes an entry, by fields or in an editor."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.knowledge.document_paths import line_of, parse_value, remove_field, set_field
from innkeeper.cli.knowledge.opened_bases import applied_object, with_base
from innkeeper.cli.output import is_terminal, json_bytes, write_error, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, key_values, pass_settings
from innkeeper.errors import InnkeeperError, UsageError

if TYPE_CHECKING:
    from innkeeper.knowledge.joined.opening import Knowledge
    from innkeeper.knowledge.store.values import Applied
    from innkeeper.storage.knowledge_model import Place


@click.command()
@click.argument("base")
@click.argument("entry")
@click.option("--set", "fields", metavar="FIELD=VALUE", multiple=True, help="Set a field, JSON or text; repeatable.")
@click.option("--unset", "removed", metavar="FIELD", multiple=True, help="Remove a field; repeatable.")
@click.option("--content", metavar="FILE", help="What the entry says; - is standard input.")
@click.option("--create", is_flag=True, help="Make the entry if it is not there.")
@json_option
@pass_settings
def edit(
    settings: Settings,
    base: str,
    entry: str,
    fields: tuple[str, ...],
    removed: tuple[str, ...],
    content: str | None,
    create: bool,
) -> None:
    """Change the entry ENTRY of the knowledge base BASE; without options, in your editor (VISUAL or EDITOR).

    FIELD is a name with dots, such as usage_metadata.priority or activation_criteria.key_groups[0].logic.
    """
    values = key_values("--set", fields)
    text = None if content is None else _content(content)
    by_hand = not values and not removed and text is None
    if by_hand and (settings.json or not is_terminal(sys.stdin) or not is_terminal(sys.stdout)):
        raise UsageError("there is no terminal for an editor: name what changes, with --set, --unset or --content")

    def fill(document: dict[str, Any]) -> None:
        for path, value in values.items():
            set_field(document, path, parse_value(value))
        for path in removed:
            remove_field(document, path)
        if text is not None:
            set_field(document, "content.value", text)

    # The editor works between two openings of the library, so that nothing waits for a person.
    before, version = with_base(settings.home, base, lambda knowledge, place: _read(knowledge, place, entry, create))
    if by_hand:
        with _EditedFile(before) as edited:
            while True:
                try:
                    applied = _keep(settings, base, entry, edited.document(), before, version)
                    break
                except UsageError as error:
                    for line in str(error).splitlines():
                        write_error(f"innkeeper: {line}")
                    if not click.confirm("Edit it again?", default=True, err=True):
                        raise edited.kept() from None
            edited.remove()
    else:
        document = json.loads(json.dumps(before))
        fill(document)
        applied = _keep(settings, base, entry, document, before, version)
    _say(settings, base, entry, applied)


def _keep(
    settings: Settings, base: str, entry: str, document: dict[str, Any], before: dict[str, Any], version: int
) -> Applied | None:
    if version and json.dumps(document) == json.dumps(before):
        return None

    async def work(knowledge: Knowledge, place: Place) -> Applied:
        from innkeeper.knowledge.store.values import EDIT, Change, Origin

        return await knowledge.bases.change(place, [Change(entry, document, version)], Origin(EDIT))

    return with_base(settings.home, base, work)


async def _read(knowledge: Knowledge, place: Place, entry: str, create: bool) -> tuple[dict[str, Any], int]:
    stored = (await knowledge.bases.base(place)).get(entry)
    if stored is not None:
        return stored.plain(), stored.version
    if not create:
        raise UsageError(
            f"the knowledge base {place.base!r} has no entry {entry[:80]!r}: look at `innkeeper kb list "
            f"{place.base}`, or add --create"
        )
    return {"id": entry, "content": {"value": ""}}, 0


def _content(path: str) -> str:
    from innkeeper.cli.files import read_up_to
    from innkeeper.knowledge.model.bounds import MOST_ENTRY

    data, _ = read_up_to("--content", path, MOST_ENTRY)
    if len(data) > MOST_ENTRY:
        raise UsageError(f"--content {path}: more than {MOST_ENTRY:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"--content {path}: is no text in UTF-8 (byte {error.start:,})") from None


def _say(settings: Settings, base: str, entry: str, applied: Applied | None) -> None:
    if settings.json:
        found = {"base": base, "entry": entry, "revision": None, "created": 0, "changed": 0, "deleted": 0}
        if applied is not None:
            found |= applied_object(base, applied)
        write_out(json_bytes(found, indent=2))
    elif applied is None:
        write_line(f"{base}: nothing was changed in {entry}")
    else:
        done = "made" if applied.created else "changed"
        write_line(
            f"{base}: {entry} is {done}; step {applied.revision} (`innkeeper kb undo {base} {entry}` takes it back)"
        )


class _EditedFile:
    """A document in a file of its own while somebody edits it; it stays unless it was kept elsewhere."""

    def __init__(self, document: dict[str, Any]) -> None:
        import tempfile

        descriptor, self._path = tempfile.mkstemp(prefix="innkeeper-entry-", suffix=".json")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
        self._untouched = True
        self._told = False

    def __enter__(self) -> _EditedFile:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._untouched:
            self.remove()
        elif kind is not None and not self._told:
            # Ctrl-C, or a database that is busy: nothing of that is the writer's fault.
            write_error(f"innkeeper: {self.kept().message}")

    def document(self) -> dict[str, Any]:
        """Opens the editor; what stands in the file afterwards.

        Raises:
            UsageError: it is no document; with its line.
        """
        from innkeeper.knowledge.model.bounds import MOST_ENTRY
        from innkeeper.knowledge.model.entry import read_entry
        from innkeeper.knowledge.model.problems import KnowledgeError

        try:
            click.edit(filename=self._path)
        except click.ClickException as error:
            raise UsageError(f"the editor failed: {error.format_message()}") from None
        self._untouched = False
        try:
            with open(self._path, "rb") as file:
                text = file.read(4 * MOST_ENTRY + 1).decode("utf-8-sig")
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(f"line {error.lineno}, column {error.colno}: is no JSON: {error.msg}") from None
        except (UnicodeDecodeError, RecursionError, OSError) as error:
            raise UsageError(f"the edited file cannot be read: {type(error).__name__}") from None
        except ValueError:
            # Python reads no whole number of so many digits, and says it with neither line nor column.
            raise UsageError("the edited file has a number of thousands of digits: that is none here") from None
        if not isinstance(found, dict):
            raise UsageError("line 1: an entry is an object: { ... }")
        _, problems = read_entry(found)
        if problems:
            raise KnowledgeError([replace(each, line=line_of(text, each.where)) for each in problems])
        return found

    def kept(self) -> InnkeeperError:
        """Says where the file is."""
        self._told = True
        return UsageError(f"nothing was changed; what you wrote is in {self._path}")

    def remove(self) -> None:
        """It is needed no more."""
        self._untouched = False
        with contextlib.suppress(OSError):
            os.unlink(self._path)
