"""One text and the expressions that are tested against it: guests, chunks, and what all of it may cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import trio

from innkeeper.errors import GuestError, InternalError, LimitError
from innkeeper.knowledge.regexes.interface import Verdict
from innkeeper.knowledge.regexes.wire import decode_test, encode_begin
from innkeeper.sandbox.interface import CallOptions, Program, Session
from innkeeper.sandbox.limits import MIB, Limits

STEPS_EACH: Final = 200
"""What one expression may take, in units of 10,000 steps: some 20 to 40 ms, and `STEPS_CHARACTERS` beside it."""

STEPS_CHARACTERS: Final = 1000
"""Characters of the text for which there is another unit: an expression that is not exponential needs a few steps for
each."""

STEPS_TOTAL: Final = 20_000
"""What a batch may take: a thousand expressions that are sound take some 4,000 on ten thousand characters."""

HEAP: Final = 24 * MIB
"""Bytes that one expression may hold: a `[^]*` holds some 20 for each character of the text."""

CPU_CHUNK: Final = 1.0
"""Seconds of processor time for one call of the guest with several expressions."""

CPU_ONE: Final = 0.25
"""Seconds of processor time for one call with a single one."""

CPU_TOTAL: Final = 4.0
"""Seconds of processor time after which a batch begins no other call. Steps end it long before, as a rule."""

CHUNK: Final = 32
"""Expressions of one call. If the guest dies of one, the others of its call are tested one by one."""

CHUNK_BYTES: Final = 256 << 10
"""Bytes of expressions of one call."""

PLUGIN: Final = "regexes"
"""What messages call the guest."""

_MANY: Final = CallOptions(limits=Limits(cpu=CPU_CHUNK, memory=64 * MIB), plugin=PLUGIN)
_ONE: Final = CallOptions(limits=replace(_MANY.limits, cpu=CPU_ONE), plugin=PLUGIN)


class Batch:
    """Expressions that are tested against one text."""

    def __init__(self, program: Program, text: str, regexes: Sequence[bytes]) -> None:
        """Args:
        program: the guest's.
        text: what they are tested against.
        regexes: each as `wire.encode_regex` gives it.
        """
        self._program = program
        self._text = text
        self._regexes = regexes
        self._verdicts = [Verdict.TIMEOUT] * len(regexes)
        self._session: Session | None = None
        # Of all guests that went before, and of the present one.
        self._steps = 0
        self._steps_here = 0
        self._cpu = 0.0

    async def run(self) -> list[Verdict]:
        """A verdict for each expression; TIMEOUT also where the batch had used up what it may before.

        Raises:
            BusyError: the host's bounds were not free in time.
        """
        try:
            for chunk in self._chunks():
                if not await self._test(chunk):
                    # One of them killed the guest: alone each of the others has its own verdict.
                    for one in chunk if len(chunk) > 1 else ():
                        await self._test(range(one, one + 1))
        finally:
            await self._close()
        return self._verdicts

    def _chunks(self) -> Iterator[range]:
        start = size = 0
        for at, regex in enumerate(self._regexes):
            if at > start and (at - start == CHUNK or size + len(regex) > CHUNK_BYTES):
                yield range(start, at)
                start, size = at, 0
            size += len(regex)
        yield range(start, len(self._regexes))

    async def _test(self, chunk: range) -> bool:
        # Whether the guest has lived.
        spent = self._steps + self._steps_here
        if spent >= STEPS_TOTAL or self._cpu >= CPU_TOTAL:
            return True
        data = b"".join(self._regexes[chunk.start : chunk.stop])
        try:
            session = self._session or await self._open()
            result = await session.call("test", data, _MANY if len(chunk) > 1 else _ONE)
        except (LimitError, GuestError) as error:
            self._steps, self._steps_here = self._steps + self._steps_here, 0
            if error.usage is not None:
                self._cpu += error.usage.cpu
            await self._close()
            return False
        self._cpu += result.usage.cpu
        try:
            verdicts, self._steps_here = decode_test(result.output, len(chunk))
        except ValueError as error:
            raise InternalError(str(error)) from None
        self._verdicts[chunk.start : chunk.stop] = verdicts
        return True

    async def _open(self) -> Session:
        self._session = session = await self._program.open(_MANY)
        each = STEPS_EACH + len(self._text) // STEPS_CHARACTERS
        begin = encode_begin(self._text, each, STEPS_TOTAL - self._steps, HEAP)
        result = await session.call("begin", begin, _MANY)
        self._cpu += result.usage.cpu
        return session

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with trio.CancelScope(shield=True):
                await session.aclose()
