"""What a guest gives a host function: numbers as they are, bytes as offset and length in its kernel's memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from innkeeper.errors import LimitError
from innkeeper.sandbox.call import Call
from innkeeper.sandbox.interface import Value
from innkeeper.sandbox.wasi.memory import MemoryFault
from innkeeper.sandbox.window import KernelWindow


class Arguments:
    """How one host function's arguments are read.

    Raw values: one for each number, two for bytes.  All are what a guest says, so `check` comes before `read`.

    Attributes:
        has_bytes: whether there is anything to be read from memory.
    """

    __slots__ = ("_alone", "_lengths", "_name", "_parameters", "has_bytes")

    def __init__(self, name: str, parameters: Sequence[Value]) -> None:
        """Args:
        name: of the host function, for messages.
        parameters: their types, in order.
        """
        self._name = name
        self._parameters = tuple(parameters)
        self._alone = self._parameters == (Value.BYTES,)
        self._lengths: list[int] = []
        at = 0
        for parameter in parameters:
            if parameter is Value.BYTES:
                at += 1
                self._lengths.append(at)
            at += 1
        self.has_bytes = bool(self._lengths)

    def check(self, call: Call, window: KernelWindow, raw: Sequence[Any]) -> int:
        """How many bytes there are in all. The same block may be named more than once, and counts each time.

        Raises:
            MemoryFault: a length is negative, or larger than the memory.
            LimitError: they are more than the call's limit on output.
        """
        limit = call.limits.output
        total = 0
        for at in self._lengths:
            length = raw[at]
            if not 0 <= length <= window.size:
                window.look()
                if not 0 <= length <= window.size:
                    raise MemoryFault(0, length)
            total += length
        if total > limit:
            raise LimitError(
                f"the guest gave the host function {self._name!r} {total} bytes; the limit 'output' is {limit}",
                limit="output",
                value=limit,
                used=total,
            )
        return total

    def read(self, window: KernelWindow, raw: Sequence[Any]) -> Sequence[Any]:
        """The arguments, one for each parameter; bytes are copies.

        Raises:
            MemoryFault: bytes do not lie in the memory.
        """
        if self._alone:
            return (window.read(raw[0], raw[1]),)
        numbers = iter(raw)
        return [
            window.read(next(numbers), next(numbers)) if parameter is Value.BYTES else next(numbers)
            for parameter in self._parameters
        ]
