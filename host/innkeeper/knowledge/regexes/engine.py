"""JavaScript's regular expressions, tested in the sandbox.

Each batch has guests of its own, so that nothing of one text is there for the next. The guest counts the matcher's
steps and gives up on an expression that takes too many: equal batches have equal verdicts on each machine. What no step
counts (compiling, above all) is bounded by the guest's processor time and memory; a guest that dies of it takes no
other expression with it than the one that killed it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from innkeeper.errors import InternalError
from innkeeper.knowledge.model import bounds
from innkeeper.knowledge.regexes.batch import PLUGIN, Batch
from innkeeper.knowledge.regexes.interface import Regex, Verdict
from innkeeper.knowledge.regexes.wire import encode_regex
from innkeeper.plugins.home import shipped_place
from innkeeper.sandbox.interface import Engine, Program

MOST_TEXT: Final = 1 << 20
"""Characters of a text. What is longer is not looked at, and each verdict on it is TIMEOUT."""

MOST_REGEXES: Final = 100_000
"""Different expressions of a batch. What is more is TIMEOUT."""

_SOON: Final = 500
"""Expressions that are encoded on trio's thread: less than a millisecond's work."""


class SandboxRegexEngine:
    """Implements `interface.RegexEngine`. `open_regex_engine` makes one; any number of batches may run at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._program: Program | None = None
        self._loading = trio.Lock()

    async def test(self, regexes: Sequence[Regex], text: str) -> list[Verdict]:
        """As `interface.RegexEngine.test`.

        Raises:
            BusyError: the host's bounds were not free in time.
            InternalError: the guest of this installation is not there.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        encoded = _encoded(regexes) if len(regexes) <= _SOON else await trio.to_thread.run_sync(_encoded, list(regexes))
        sound = [(regex, data) for regex, data in encoded.items() if data is not None]
        verdicts = dict.fromkeys(encoded, Verdict.INVALID)
        if sound and len(text) <= MOST_TEXT:
            program = self._program or await self._load()
            answers = await Batch(program, text, [data for _, data in sound]).run()
            verdicts.update(zip((regex for regex, _ in sound), answers, strict=True))
        else:
            verdicts.update(dict.fromkeys((regex for regex, _ in sound), Verdict.TIMEOUT))
        return [verdicts.get(regex, Verdict.TIMEOUT) for regex in regexes]

    async def _load(self) -> Program:
        async with self._loading:
            if self._program is None:
                path = shipped_place().plugins / "_regexes" / "regexes.wasm"
                try:
                    wasm = await trio.to_thread.run_sync(path.read_bytes)
                except OSError as error:
                    raise InternalError(
                        f"the guest that tests regular expressions cannot be read: {error.strerror}"
                    ) from None
                self._program = await self._engine.load(wasm, plugin=PLUGIN)
            return self._program

    def close(self) -> None:
        """Forgets the compiled guest."""
        program, self._program = self._program, None
        if program is not None:
            program.close()


def _encoded(regexes: Sequence[Regex]) -> dict[Regex, bytes | None]:
    # None: it cannot compile, or is longer than any key.
    found: dict[Regex, bytes | None] = {}
    for regex in regexes:
        if regex not in found and len(found) < MOST_REGEXES:
            found[regex] = encode_regex(regex) if len(regex.pattern) <= bounds.MOST_KEY else None
    return found


@asynccontextmanager
async def open_regex_engine(engine: Engine) -> AsyncIterator[SandboxRegexEngine]:
    """An engine of regular expressions for as long as the block runs. Its guest is loaded at the first test.

    Args:
        engine: what runs its guests, as `Host.engine`; open for as long as the block runs.

    Example:
        async with open_regex_engine(host.engine) as regexes:
            await regexes.test([Regex("a.c", "i")], "ABC")
    """
    made = SandboxRegexEngine(engine)
    try:
        yield made
    finally:
        made.close()
