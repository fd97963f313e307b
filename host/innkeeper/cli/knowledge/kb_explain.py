"""`innkeeper kb explain`: which entries a conversation activates, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from innkeeper.cli.files import read_up_to
from innkeeper.cli.knowledge.explained import result_object, write_result
from innkeeper.cli.knowledge.profiles import PROFILES, read_any, run_profile
from innkeeper.cli.output import json_bytes, write_error, write_out
from innkeeper.cli.settings import Settings, json_option, key_values, pass_settings
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.knowledge.activation.interface import Message, Request
    from innkeeper.knowledge.model.base import Base

_MOST_SESSION = 64 << 20
_TRIGGERS = ("normal", "continue", "impersonate", "swipe", "regenerate", "quiet")


@click.command()
@click.argument("base")
@click.option(
    "--chat", metavar="FILE", help="The conversation: JSON, SillyTavern's JSONL, or lines 'Name: text'; - too."
)
@click.option("--message", "messages", multiple=True, metavar="TEXT", help="A message after it; may be repeated.")
@click.option(
    "--entry", "entries", multiple=True, metavar="ID", help="Say of this entry in any case why it is not there."
)
@click.option("--all", "unmatched", is_flag=True, help="List entries that nothing called for, too.")
@click.option("--profile", type=click.Choice(list(PROFILES)), default="native", show_default=True)
@click.option("--depth", type=click.IntRange(0, 1000), default=4, show_default=True, help="Newest messages looked at.")
@click.option("--budget", type=click.IntRange(0), help="Tokens that active entries may have together.")
@click.option(
    "--recursion", type=click.IntRange(0, 32), default=3, show_default=True, help="How deep entries call others."
)
@click.option("--seed", type=int, help="Of what chance decides; the same seed decides the same.")
@click.option("--session", metavar="FILE", help="Keeps in this file what the session remembers of entries.")
@click.option("--dry-run", is_flag=True, help="Leave the session as it is.")
@click.option(
    "--var", "variables", multiple=True, metavar="NAME=VALUE", help="A variable, as JSON or text; may be repeated."
)
@click.option("--scope", multiple=True, metavar="TAG", help="Only entries with one of these tags.")
@click.option(
    "--trigger", type=click.Choice(_TRIGGERS), default="normal", show_default=True, help="Kind of generation."
)
@click.option("--character", default="", metavar="NAME", help="The character's name, {{char}}.")
@click.option("--user", default="", metavar="NAME", help="The user's name, {{user}}.")
@click.option("--tokenizer", default="estimate", show_default=True, metavar="NAME", help="What counts tokens.")
@click.option("--text", "shows_text", is_flag=True, help="Show the text that is inserted, too.")
@json_option
@pass_settings
def explain(
    settings: Settings,
    /,
    base: str,
    chat: str | None,
    messages: tuple[str, ...],
    entries: tuple[str, ...],
    unmatched: bool,
    profile: str,
    session: str | None,
    tokenizer: str,
    shows_text: bool,
    **options: Any,
) -> None:
    """Show which entries of BASE a conversation activates, and why; and what kept the others out.

    BASE is a knowledge base by id, name or path, or a lorebook of SillyTavern and its neighbours.
    """
    import trio

    found, problems = read_any(settings, base)
    for problem in problems[:20]:
        write_error(f"innkeeper: left out: {problem}")
    request = _request(found, _messages(chat, messages, options["character"]), entries, unmatched, options)
    remembered = _read_session(session, profile)
    from innkeeper.cli.progress import compiling_shown

    with compiling_shown():
        result, now = trio.run(
            run_profile,
            settings.home,
            profile,
            found,
            request,
            tokenizer,
            remembered,
            restrict_keyboard_interrupt_to_checkpoints=True,
        )
    if session is not None and not request.dry_run:
        _write_session(session, profile, now)
    if settings.json:
        write_out(json_bytes({"profile": profile, **result_object(result)}, indent=2))
    else:
        write_result(result, shows_text=shows_text)


def _messages(chat: str | None, more: tuple[str, ...], character: str) -> list[Message]:
    from innkeeper.cli.knowledge.chats import MOST_FILE, read_chat
    from innkeeper.knowledge.activation.interface import Message

    if chat is None and not more:
        raise UsageError("give a conversation with --chat FILE, --message TEXT, or both")
    found: list[Message] = []
    if chat is not None:
        data, _ = read_up_to("--chat", chat, MOST_FILE)
        found = read_chat(data, f"--chat {chat}", character=character)
    return [*found, *(Message(text) for text in more)]


def _request(
    base: Base, messages: list[Message], entries: tuple[str, ...], unmatched: bool, options: dict[str, Any]
) -> Request:
    from innkeeper.knowledge.activation.interface import Request
    from innkeeper.knowledge.activation.results import MOST_UNMATCHED

    known = {item.entry.id for item in base.items}
    # Authors know names; a trace has ids.
    by_name = {item.entry.name: item.entry.id for item in reversed(base.items)}
    if missing := [each for each in entries if each not in known and each not in by_name]:
        raise UsageError(f"--entry {missing[0][:100]!r}: the base has no such entry (`innkeeper kb list BASE`)")
    return Request(
        messages=messages,
        scan_depth=options["depth"],
        budget=options["budget"],
        recursion=options["recursion"],
        variables={name: _value(text) for name, text in key_values("--var", options["variables"]).items()},
        seed=options["seed"],
        trigger=options["trigger"],
        character=options["character"],
        user=options["user"],
        scope=options["scope"],
        dry_run=options["dry_run"],
        explain=[each if each in known else by_name[each] for each in entries],
        unmatched=MOST_UNMATCHED if unmatched else 0,
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _read_session(path: str | None, profile: str) -> dict[str, Any] | None:
    from innkeeper.plugins.files import read_optional

    data = None if path is None else read_optional(Path(path), most=_MOST_SESSION, label=f"--session {path}")
    if data is None:
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get(profile, {}), dict):
        raise UsageError(f"--session {path}: is no session that this command wrote; name another file")
    return found.get(profile)


def _write_session(path: str, profile: str, now: Any) -> None:
    from innkeeper.plugins.files import read_optional, replace_file

    data = read_optional(Path(path), most=_MOST_SESSION, label=f"--session {path}")
    found = {**(json.loads(data) if data else {}), profile: now}
    try:
        replace_file(Path(path), json_bytes(found), prefix=".session-")
    except OSError as error:
        raise UsageError(f"--session {path}: cannot be written: {error.strerror}") from None
