"""The state of one guest."""

from __future__ import annotations

from functools import cached_property

from innkeeper.sandbox.wasi.clocks import Clock, RealClock, StandingClock
from innkeeper.sandbox.wasi.descriptors import DescriptorTable, Output
from innkeeper.sandbox.wasi.entropy import DigestRandom, Random, SystemRandom
from innkeeper.sandbox.wasi.errors import WasiError
from innkeeper.sandbox.wasi.lines import LineLog, Log
from innkeeper.sandbox.wasi.rights import NONE, WasiRights


class Wasi:
    """What one guest's WASI calls work on. Parts are made when first used: most guests use few.

    Args:
        seed: the sha256 digest (bytes) of the module; decides the random numbers of a guest without that right.
        rights: what the operator granted.
        log: gets ("info", line) for standard output and ("error", line) for standard error; lines are bytes of at
            most 1 KiB without their end. Called during WASI calls and `flush`; must be quick and must not raise.
            None drops them.

    One call at a time, as a guest makes them; `close` may also come while a call waits or works in a thread.
    """

    def __init__(self, seed: bytes, rights: WasiRights = NONE, log: Log | None = None) -> None:
        self._rights = rights
        self.real = rights.clock or rights.random or bool(rights.files)
        """Whether it shows anything of the real world (bool): if not, the module alone decides every answer."""
        self._seed = seed
        self._outputs = (LineLog("info", log or _drop), LineLog("error", log or _drop))
        self._closed = False
        # The monotonic clock counts from here.
        self.clock: Clock = RealClock() if rights.clock else StandingClock()

    @cached_property
    def random(self) -> Random:
        """Where the guest's random numbers come from."""
        return SystemRandom() if self._rights.random else DigestRandom(self._seed)

    @cached_property
    def descriptors(self) -> DescriptorTable:
        """The guest's descriptors."""
        table = DescriptorTable(self._outputs, self._rights.files)
        if self._closed:
            table.close()
        return table

    def stream(self, descriptor: int) -> int | None:
        """1 or 2 where this number is standard output or error now, whatever it was at first; else None."""
        try:
            found = self.descriptors.get(descriptor)
        except WasiError:
            return None
        if not isinstance(found, Output):
            return None
        return 1 if found.lines is self._outputs[0] else 2

    def flush(self) -> None:
        """Logs what was printed without a line's end. For the end of a call, however it ended."""
        for output in self._outputs:
            output.flush()

    def close(self) -> None:
        """Closes every host descriptor of the guest; calls that still come get BADF. Harmless when repeated.

        One that a thread uses at this moment is closed as soon as that thread is done with it.
        """
        self._closed = True
        if "descriptors" in self.__dict__:
            self.descriptors.close()


def _drop(level: str, line: bytes) -> None:
    pass
