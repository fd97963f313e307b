"""`innkeeper kb explain`: which entries a conversation activates, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import click

from innkeeper.cli.files import read_up_to
from innkeeper.cli.knowledge.explained import result_object, write_result
from innkeeper.cli.knowledge.named_bases import is_only_file
from innkeeper.cli.knowledge.opened_bases import open_bases
from innkeeper.cli.knowledge.profiles import PROFILES, read_any, run_profile
from innkeeper.cli.knowledge.session_files import read_session, write_session
from innkeeper.cli.output import json_bytes, write_error, write_out
from innkeeper.cli.settings import Settings, json_option, key_values, pass_settings
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.knowledge.activation.interface import Message, Request, Result
    from innkeeper.knowledge.model.entry import Entry
    from innkeeper.plugins.home import Home

_TRIGGERS = ("normal", "continue", "impersonate", "swipe", "regenerate", "quiet")


@click.command()
@click.argument("bases", metavar="BASE...", nargs=-1, required=True)
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
@click.option("--session", metavar="ID", help="See each BASE as this session does, and keep what it remembers of it.")
@click.option("--session-file", metavar="FILE", help="The same for a BASE that is only a file: keep it in FILE.")
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
@click.option("--tokenizer", metavar="NAME", help="What counts tokens; by default the setting knowledge.tokenizer.")
@click.option("--text", "shows_text", is_flag=True, help="Show the text that is inserted, too.")
@json_option
@pass_settings
def explain(
    settings: Settings,
    /,
    bases: tuple[str, ...],
    chat: str | None,
    messages: tuple[str, ...],
    entries: tuple[str, ...],
    unmatched: bool,
    profile: str,
    session: str | None,
    session_file: str | None,
    tokenizer: str | None,
    shows_text: bool,
    **options: Any,
) -> None:
    """Show which entries of each BASE a conversation activates, and why; and what kept the others out.

    BASE is a knowledge base of the home by id, name or path. It can also be a file that is none: a base somewhere else,
    or a lorebook of SillyTavern and its neighbours. Such a file is activated by words, and by conditions on variables.
    """
    import trio

    from innkeeper.cli.progress import compiling_shown
    from innkeeper.knowledge.tokens.named import counter
    from innkeeper.plugins.home import open_home

    home = open_home(settings.home)
    tokenizer = tokenizer or home.configuration.knowledge.tokenizer
    counter(tokenizer)
    said = _messages(chat, messages, options["character"])
    asked = _Asked(said, entries, unmatched, session or "", options)
    if any(is_only_file(home, text) for text in bases):
        if session is not None:
            raise UsageError(
                "--session is for bases of the home: with one that is only a file, say --session-file FILE"
            )
        with compiling_shown():
            result = _of_files(settings, bases, asked, profile, tokenizer, session_file)
    else:
        if session_file is not None:
            raise UsageError("--session-file is for bases that are only files: those of the home keep --session ID")
        knowing = replace(home.configuration.knowledge, tokenizer=cast(Any, tokenizer))
        counted = replace(home, configuration=replace(home.configuration, knowledge=knowing))
        with compiling_shown():
            arguments = (counted, bases, asked, profile)
            result = trio.run(_of_home, *arguments, restrict_keyboard_interrupt_to_checkpoints=True)
    if settings.json:
        write_out(json_bytes({"profile": profile, **result_object(result)}, indent=2))
    else:
        write_result(result, shows_text=shows_text, several=len(bases) > 1)


def _of_files(
    settings: Settings, texts: Sequence[str], asked: _Asked, profile: str, tokenizer: str, session: str | None
) -> Result:
    import trio

    bases = []
    for text in texts:
        base, problems = read_any(settings, text)
        bases.append(base)
        for problem in problems[:20]:
            write_error(f"innkeeper: left out: {problem}")
        if profile == "native" and any(item.entry.activation_criteria.use_semantic_search for item in base.items):
            write_error(
                f"innkeeper: likeness of meaning activates nothing of {base.info.name!r}: it is only a file here; "
                "`innkeeper kb add` or `kb import` makes it a base of the home"
            )
    request = asked.request([item.entry for base in bases for item in base.items])
    remembered = None if session is None else read_session(session, profile)
    result, now = trio.run(
        run_profile,
        settings.home,
        profile,
        bases,
        request,
        tokenizer,
        remembered,
        restrict_keyboard_interrupt_to_checkpoints=True,
    )
    if session is not None and not request.dry_run:
        write_session(session, profile, now)
    return result


async def _of_home(home: Home, texts: Sequence[str], asked: _Asked, profile: str) -> Result:
    from innkeeper.knowledge.model.entry import read_entry
    from innkeeper.storage.knowledge_model import Place

    # The result has what is to be said.
    async with open_bases(home, texts, notes=False) as (knowledge, places):
        entries = []
        try:
            for place in places:
                ready = await knowledge.bases.ready(place)
                entries += [item.entry for item in ready.items]
                if asked.session:
                    # A session may have entries that its base does not have.
                    said = await knowledge.bases.library.sessions.overlay(place, asked.session)
                    read = [read_entry(each.document)[0] for each in said if each.document is not None]
                    entries += [entry for entry in read if entry is not None]
            seen = [Place(place.owner, place.base, asked.session) for place in dict.fromkeys(places)]
            return await knowledge.activating.activate(seen, asked.request(entries), profile=profile)
        except ValueError as error:
            raise UsageError(str(error)) from None


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


class _Asked:
    """What the options ask."""

    def __init__(
        self,
        messages: list[Message],
        entries: tuple[str, ...],
        unmatched: bool,
        session: str,
        options: dict[str, Any],
    ) -> None:
        self.session = session
        self._messages = messages
        self._entries = entries
        self._unmatched = unmatched
        self._options = options
        self._variables = {name: _value(text) for name, text in key_values("--var", options["variables"]).items()}

    def request(self, entries: Sequence[Entry]) -> Request:
        """The request to bases that have these entries.

        Raises:
            UsageError: --entry names none of them.
        """
        from innkeeper.knowledge.activation.interface import Request
        from innkeeper.knowledge.activation.results import MOST_UNMATCHED

        options = self._options
        known = {entry.id for entry in entries}
        # Authors know names; a trace has ids.
        by_name = {entry.name: entry.id for entry in reversed(entries)}
        if missing := [each for each in self._entries if each not in known and each not in by_name]:
            raise UsageError(f"--entry {missing[0][:100]!r}: the base has no such entry (`innkeeper kb list BASE`)")
        return Request(
            messages=self._messages,
            scan_depth=options["depth"],
            budget=options["budget"],
            recursion=options["recursion"],
            variables=self._variables,
            session=self.session,
            seed=options["seed"],
            trigger=options["trigger"],
            character=options["character"],
            user=options["user"],
            scope=options["scope"],
            dry_run=options["dry_run"],
            explain=[each if each in known else by_name[each] for each in self._entries],
            unmatched=MOST_UNMATCHED if self._unmatched else 0,
        )


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
