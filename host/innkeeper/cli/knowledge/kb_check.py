"""`innkeeper kb check`: entries that can never be active, and what else is the matter with a base."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from innkeeper.cli.knowledge.base_checks import Remark, remarks_of_entries, remarks_of_kept
from innkeeper.cli.knowledge.keeping import bar, problem_object
from innkeeper.cli.knowledge.named_bases import is_only_file, stored
from innkeeper.cli.knowledge.opened_bases import open_bases
from innkeeper.cli.knowledge.profiles import read_any
from innkeeper.cli.output import counted, json_bytes, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings

if TYPE_CHECKING:
    from innkeeper.knowledge.activation.checks.finding import Finding
    from innkeeper.knowledge.model.base import Base
    from innkeeper.knowledge.model.problems import Problem
    from innkeeper.plugins.home import Home


@dataclass(slots=True)
class _Checked:
    base: Base
    problems: list[Problem]
    findings: list[Finding]
    remarks: list[Remark]

    @property
    def never(self) -> int:
        """Entries that can never be active (int)."""
        return len({finding.entry for finding in self.findings if finding.never})

    @property
    def is_wrong(self) -> bool:
        """Whether anything is a mistake (bool)."""
        return bool(self.never or self.problems or any(remark.wrong for remark in self.remarks))


@click.command()
@click.argument("base")
@json_option
@pass_settings
def check(settings: Settings, base: str) -> int:
    """Name entries of BASE that can never be active, and what else in it has no effect; whether its model is here and
    its vectors are made; whether its file can be read; whether all that is kept of it agrees.

    BASE is a knowledge base by id, name or path, or a lorebook of SillyTavern and its neighbours. Ends with 1 if
    anything is wrong.
    """
    import trio

    from innkeeper.cli.progress import compiling_shown
    from innkeeper.plugins.home import open_home

    home = open_home(settings.home)
    if is_only_file(home, base):
        checked = _Checked(*read_any(settings, base), [], [])
    else:
        with bar(f"checking {base}", not settings.json):
            checked = trio.run(_kept, home, base, restrict_keyboard_interrupt_to_checkpoints=True)
    checked.remarks += remarks_of_entries(checked.base)
    with compiling_shown():
        arguments = (settings.home, checked.base)
        checked.findings = trio.run(_check, *arguments, restrict_keyboard_interrupt_to_checkpoints=True)
    if settings.json:
        shown = {
            "base": checked.base.info.kb_id,
            "entries": len(checked.base.items),
            "never": checked.never,
            "wrong": checked.is_wrong,
            "problems": [problem_object(problem) for problem in checked.problems],
            "findings": [asdict(finding) for finding in checked.findings],
            "remarks": [asdict(remark) for remark in checked.remarks],
        }
        write_out(json_bytes(shown, indent=2))
    else:
        _show(checked)
    return 1 if checked.is_wrong else 0


def _show(checked: _Checked) -> None:
    for problem in checked.problems:
        write_line(f"left out: {problem}")
    if checked.findings:
        rows = [
            (each.name, "never active" if each.never else "no effect", each.where, each.message)
            for each in checked.findings
        ]
        write_table(("entry", "so it is", "field", "what is the matter"), rows)
        write_line("")
    for remark in checked.remarks:
        write_line(f"{'wrong' if remark.wrong else 'note'} ({remark.about}): {remark.message}")
    if checked.remarks:
        write_line("")
    entries = "1 entry" if len(checked.base.items) == 1 else f"{len(checked.base.items):,} entries"
    number = len(checked.findings) + len(checked.problems) + len(checked.remarks)
    write_line(f"{entries}, {checked.never:,} never active, {counted(number, 'finding')}")


async def _kept(home: Home, text: str) -> _Checked:
    # What is to be said of its file is a remark here.
    async with open_bases(home, [text], notes=False) as (knowledge, (place,)):
        found = await stored(knowledge, place)
        remarks = await remarks_of_kept(knowledge, place, found.base)
        return _Checked(found.base, found.problems, [], remarks)


async def _check(home: str | None, base: Base) -> list[Finding]:
    import trio

    from innkeeper.knowledge.activation.base import compile_base
    from innkeeper.knowledge.activation.checks.check import check
    from innkeeper.knowledge.regexes.engine import open_regex_engine
    from innkeeper.plugins.host import open_host

    compiled = await trio.to_thread.run_sync(lambda: compile_base(base.info.kb_id, base.items, info=base.info))
    async with open_host(home, catalogue=False, watch=False) as host, open_regex_engine(host.engine) as regexes:
        return await check(compiled, regexes=regexes)
