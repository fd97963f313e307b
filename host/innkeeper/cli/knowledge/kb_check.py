"""`innkeeper kb check`: entries that can never be active, and what else in a base has no effect."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from innkeeper.cli.knowledge.keeping import problem_object
from innkeeper.cli.knowledge.profiles import read_any
from innkeeper.cli.output import counted, json_bytes, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings

if TYPE_CHECKING:
    from innkeeper.knowledge.activation.checks.finding import Finding
    from innkeeper.knowledge.model.base import Base


@click.command()
@click.argument("base")
@json_option
@pass_settings
def check(settings: Settings, base: str) -> int:
    """Name entries of BASE that can never be active, and what else in it has no effect.

    BASE is a knowledge base by id, name or path, or a lorebook of SillyTavern and its neighbours. Ends with 1 if it has
    mistakes or entries that can never be active.
    """
    import trio

    from innkeeper.cli.progress import compiling_shown

    found, problems = read_any(settings, base)
    with compiling_shown():
        findings = trio.run(_check, settings.home, found, restrict_keyboard_interrupt_to_checkpoints=True)
    never = len({finding.entry for finding in findings if finding.never})
    if settings.json:
        shown = {
            "base": found.info.kb_id,
            "entries": len(found.items),
            "never": never,
            "problems": [problem_object(problem) for problem in problems],
            "findings": [asdict(finding) for finding in findings],
        }
        write_out(json_bytes(shown, indent=2))
        return 1 if never or problems else 0
    for problem in problems:
        write_line(f"left out: {problem}")
    if findings:
        rows = [
            (each.name, "never active" if each.never else "no effect", each.where, each.message) for each in findings
        ]
        write_table(("entry", "so it is", "field", "what is the matter"), rows)
        write_line("")
    entries = "1 entry" if len(found.items) == 1 else f"{len(found.items):,} entries"
    write_line(f"{entries}, {never:,} never active, {counted(len(findings) + len(problems), 'finding')}")
    return 1 if never or problems else 0


async def _check(home: str | None, base: Base) -> list[Finding]:
    import trio

    from innkeeper.knowledge.activation.base import compile_base
    from innkeeper.knowledge.activation.checks.check import check
    from innkeeper.knowledge.regexes.engine import open_regex_engine
    from innkeeper.plugins.host import open_host

    compiled = await trio.to_thread.run_sync(lambda: compile_base(base.info.kb_id, base.items, info=base.info))
    async with open_host(home, catalogue=False, watch=False) as host, open_regex_engine(host.engine) as regexes:
        return await check(compiled, regexes=regexes)
