"""Runs an activation of bases that are only files, by one of the profiles; regular expressions run in the sandbox."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from innkeeper.cli.knowledge.named_bases import read_named
from innkeeper.cli.settings import Settings

if TYPE_CHECKING:
    from innkeeper.knowledge.activation.interface import Request, Result
    from innkeeper.knowledge.model.base import Base
    from innkeeper.knowledge.model.problems import Problem
    from innkeeper.knowledge.regexes.interface import RegexEngine
    from innkeeper.knowledge.tokens.interface import TokenCounter

Remembered = Mapping[str, Any]
Profile = Callable[
    [Sequence["Base"], "Request", "TokenCounter", "RegexEngine", "Remembered | None"],
    Awaitable[tuple["Result", Remembered]],
]


async def _native(
    bases: Sequence[Base], request: Request, counter: TokenCounter, regexes: RegexEngine, remembered: Remembered | None
) -> tuple[Result, Remembered]:
    import trio

    from innkeeper.knowledge.activation.base import CompiledBase, compile_base
    from innkeeper.knowledge.activation.native import activate

    def compiled() -> list[CompiledBase]:
        return [compile_base(base.info.kb_id, base.items, info=base.info) for base in bases]

    ready = await trio.to_thread.run_sync(compiled)
    found = await activate(ready, request, counter=counter, regexes=regexes, remembered=remembered)
    return found.result, found.remembered


async def _st115(
    bases: Sequence[Base], request: Request, counter: TokenCounter, regexes: RegexEngine, remembered: Remembered | None
) -> tuple[Result, Remembered]:
    import trio

    from innkeeper.knowledge.interchange.world_export import world_entry
    from innkeeper.knowledge.worldinfo.activate import activate_st115
    from innkeeper.knowledge.worldinfo.books import Books
    from innkeeper.knowledge.worldinfo.timed import TimedEffects

    given = [(base.info.kb_id, base.items) for base in bases]
    books = await trio.to_thread.run_sync(lambda: Books(given, world_entry))
    effects = TimedEffects.read(remembered or {})
    result = await activate_st115(books, request, counter=counter, regexes=regexes, effects=effects)
    return result, effects.document()


PROFILES: Final[Mapping[str, Profile]] = {"native": _native, "st-1.15": _st115}
"""By the name that `--profile` takes."""


def read_any(settings: Settings, text: str) -> tuple[Base, list[Problem]]:
    """The base that an argument means: a global one, one behind a path, or a lorebook of others.

    Raises:
        KnowledgeError, UsageError, RejectedError: it is none, or cannot be read.
    """
    from innkeeper.knowledge.interchange.detect import read_lorebook
    from innkeeper.knowledge.model.bounds import MOST_FILE
    from innkeeper.plugins.files import read_file

    if os.path.isfile(text):
        name = os.path.basename(text)
        imported = read_lorebook(read_file(text, most=MOST_FILE, label=name), name)
        if imported is not None:
            return imported.base, imported.problems
    found = read_named(settings, text)
    return found.base, found.problems


async def run_profile(
    home: str | None,
    profile: str,
    bases: Sequence[Base],
    request: Request,
    tokenizer: str,
    remembered: Remembered | None,
) -> tuple[Result, Remembered]:
    """What a profile makes of a request; what the session must remember then.

    Raises:
        UsageError: there is no such tokenizer.
    """
    from innkeeper.knowledge.regexes.engine import open_regex_engine
    from innkeeper.knowledge.tokens.named import counter
    from innkeeper.plugins.host import open_host

    counts = counter(tokenizer)
    async with open_host(home, catalogue=False, watch=False) as host, open_regex_engine(host.engine) as regexes:
        return await PROFILES[profile](bases, request, counts, regexes, remembered)
