"""`innkeeper kb approve`: what plugins want to change, where somebody wants to see it first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.knowledge.document_differences import Difference, differences, lines_of_difference
from innkeeper.cli.knowledge.opened_bases import plain_time, with_base
from innkeeper.cli.output import counted, json_bytes, write_line, write_out
from innkeeper.cli.settings import Settings, json_option, pass_settings
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.knowledge.joined.opening import Knowledge
    from innkeeper.knowledge.store.values import Proposal
    from innkeeper.storage.knowledge_model import Place

_MOST = 100
"""Changes that are decided at once."""

_MOST_SHOWN = 100
"""Changes that are shown of those that wait, the oldest."""

_NUMBER = click.IntRange(1, (1 << 62) - 1)


@click.command()
@click.argument("base")
@click.option("--on/--off", "wanted", default=None, help="Whether what plugins write to BASE waits for you.")
@click.option("--accept", "accepted", type=_NUMBER, multiple=True, metavar="N", help="Do change N; may be repeated.")
@click.option("--refuse", "refused", type=_NUMBER, multiple=True, metavar="N", help="Drop change N; may be repeated.")
@json_option
@pass_settings
def approve(
    settings: Settings, base: str, wanted: bool | None, accepted: tuple[int, ...], refused: tuple[int, ...]
) -> None:
    """Show the changes of plugins that wait at the knowledge base BASE, with what each would make of its entry; do
    them, or drop them.

    Each change is done, and recorded as the plugin's, with --accept. One whose entry was changed since can be refused
    alone. `innkeeper audit` shows what was decided.
    """
    numbers = [*accepted, *refused]
    if len(set(numbers)) < len(numbers) or len(numbers) > _MOST:
        raise UsageError(f"--accept and --refuse: each number once, and at most {_MOST} of them")

    async def work(knowledge: Knowledge, place: Place) -> dict[str, Any]:
        if wanted is not None:
            await knowledge.bases.library.proposals.require(place, wanted)
        if numbers:
            return await _decide(knowledge, place, accepted, refused)
        return await _waiting(knowledge, place)

    found = with_base(settings.home, base, work)
    decided = found.get("decided", [])
    for each in decided:
        _record(settings, found["base"], each)
    problems = found.pop("problems", [])
    if settings.json and not problems:
        write_out(json_bytes(found, indent=2))
    elif not settings.json:
        if wanted is not None:
            said = "waits for your consent" if wanted else "is done at once"
            write_line(f"{found['base']}: what plugins write {said}")
        for each in decided:
            write_line(f"{found['base']}: {each['entry']} by {each['by']}: {each['decision']}")
        if not numbers and (wanted is None or found["waiting"]):
            _show(found)
    if problems:
        done = [f"change {each['number']}: {each['decision']}" for each in decided if settings.json]
        raise UsageError("; ".join([*problems, *done]))


async def _waiting(knowledge: Knowledge, place: Place) -> dict[str, Any]:
    live = await knowledge.bases.base(place)
    state = await knowledge.bases.library.store.state(place)
    rows = []
    waiting = await knowledge.bases.library.proposals.list(place)
    for each in waiting[:_MOST_SHOWN]:
        stored = live.get(each.entry)
        before = None if stored is None else stored.plain()
        name = (each.document or before or {}).get("displayName")
        changed = [
            {"field": one.field, "before": one.before, "after": one.after}
            for one in (differences(before, each.document) if each.document is not None else ())
        ]
        rows.append(
            {
                "number": each.number,
                "entry": each.entry,
                "name": name if isinstance(name, str) else None,
                "what": "delete" if each.document is None else "create" if before is None else "change",
                "by": each.author,
                "at": each.at,
                "outdated": live.version(each.entry) != each.expect,
                "differences": changed,
                "document": each.document,
            }
        )
    more = len(waiting) - len(rows)
    return {"base": place.base, "approval": state.approval, "waiting": rows, "more": more}


async def _decide(
    knowledge: Knowledge, place: Place, accepted: tuple[int, ...], refused: tuple[int, ...]
) -> dict[str, Any]:
    from innkeeper.storage.knowledge_model import FullError, NoSuchError, VersionError

    library = knowledge.bases.library
    waiting: dict[int, Proposal] = {each.number: each for each in await library.proposals.list(place)}
    decided: list[dict[str, Any]] = []
    problems: list[str] = []
    for number in (*accepted, *refused):
        each = waiting.get(number)
        try:
            if each is None:
                raise NoSuchError(f"no change with the number {number} waits for consent")
            if number in refused:
                await library.proposals.refuse(place, number)
            else:
                await library.accept(place, number)
        except VersionError:
            problems.append(f"change {number}: somebody changed its entry since; it can only be refused")
        except (NoSuchError, FullError, ValueError) as error:
            problems.append(f"change {number}: {error}")
        else:
            decision = "refused" if number in refused else "accepted"
            decided.append({"number": number, "entry": each.entry, "by": each.author, "decision": decision})
    return {"base": place.base, "decided": decided, "problems": problems}


def _record(settings: Settings, base: str, decided: dict[str, Any]) -> None:
    from innkeeper.cli.records import keep_record
    from innkeeper.plugins.home import open_home

    details = {"knowledge_base": base, "entry": decided["entry"], "decision": decided["decision"]}
    keep_record(open_home(settings.home), "approval", decided["by"], "", details)


def _show(found: dict[str, Any]) -> None:
    waiting = found["waiting"]
    if not waiting:
        how = "" if found["approval"] else f"; what plugins write is done at once (`kb approve {found['base']} --on`)"
        write_line(f"{found['base']}: nothing waits{how}")
        return
    for row in waiting:
        name = f" ({row['name']})" if row["name"] and row["name"] != row["entry"] else ""
        write_line(f"{row['number']}: {row['what']} {row['entry']}{name}, by {row['by']}, {plain_time(row['at'])}")
        if row["outdated"]:
            write_line("    somebody changed the entry since: it can only be refused")
        for each in row["differences"]:
            write_line(f"    {each['field']}")
            for line in lines_of_difference(Difference(**each)):
                write_line(f"      {line}")
    number = len(waiting) + found["more"]
    write_line(f"and {found['more']:,} more" if found["more"] else "")
    write_line(
        f"{counted(number, 'change')} wait{'s' if number == 1 else ''}: "
        f"`innkeeper kb approve {found['base']} --accept N` or `--refuse N`"
    )
