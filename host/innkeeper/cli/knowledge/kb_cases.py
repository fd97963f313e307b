"""`innkeeper kb cases`: what a profile of activation makes of cases in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.files import read_up_to
from innkeeper.cli.output import counted, json_bytes, write_error, write_line, write_out, write_table
from innkeeper.cli.settings import Settings, json_option, pass_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from innkeeper.knowledge.worldinfo.cases import Case

_SHOWN = 60


@click.command()
@click.argument("file")
@click.option(
    "--profile",
    type=click.Choice(["st-1.15"]),
    required=True,
    help="Which activation: st-1.15 is SillyTavern's world info.",
)
@json_option
@pass_settings
def cases(settings: Settings, file: str, profile: str) -> None:
    """Run the activation cases of FILE, one JSON object a line; - is standard input.

    A case has entries of a world book, a chat and settings. Where it also says what should come out, the table says
    whether it did. --json prints what came out, one object a line. Cases of one sequence keep their timed effects.
    """
    import trio

    from innkeeper.cli.progress import compiling_shown
    from innkeeper.knowledge.worldinfo.cases import MOST_FILE, differences, read_cases, unknown_settings

    data, _ = read_up_to("FILE", file, MOST_FILE)
    read = read_cases(data, source="standard input" if file == "-" else file)
    unknown = unknown_settings(read)
    if unknown:
        write_error(f"innkeeper: settings that are not known are left out: {', '.join(unknown)}")
    with compiling_shown():
        answers = trio.run(_run, settings.home, read, restrict_keyboard_interrupt_to_checkpoints=True)
    if settings.json:
        write_out(b"".join(map(json_bytes, answers)))
        return
    rows = []
    wrong = expected = 0
    for case, answer in zip(read, answers, strict=True):
        different = differences(case, answer)
        expected += bool(case.expected)
        wrong += bool(different)
        verdict = f"different: {', '.join(different)}" if different else "equal" if case.expected else ""
        rows.append([_cut(case.name), _cut(", ".join(map(str, answer["activated"]))), verdict])
    write_table(["case", "activated", "expected"], rows)
    told = f", {expected - wrong:,} of {expected:,} as expected" if expected else ""
    write_line(f"{counted(len(read), 'case')} with {profile}{told}")


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


async def _run(home: str | None, read: Sequence[Case]) -> list[dict[str, Any]]:
    import trio

    from innkeeper.knowledge.regexes.engine import open_regex_engine
    from innkeeper.knowledge.regexes.interface import Regex, Verdict
    from innkeeper.knowledge.worldinfo.cases import run_cases
    from innkeeper.plugins.host import open_host

    async with open_host(home, catalogue=False, watch=False) as host, open_regex_engine(host.engine) as engine:

        def test(regexes: Sequence[Regex], text: str) -> list[Verdict]:
            return trio.from_thread.run(engine.test, regexes, text)

        def run() -> list[dict[str, Any]]:
            return list(run_cases(read, test, trio.from_thread.check_cancelled))

        return await trio.to_thread.run_sync(run)
