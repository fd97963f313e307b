"""This host, exactly as a program uses it: `open_host`, `Host.load`, `Plugin.call`, every limit at its default."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from innkeeper import Plugin
from innkeeper.bench.samples import PAUSE
from innkeeper.bench.timing import Batch
from innkeeper.sandbox.interface import HostFunction, Value


def _at_once(data: bytes) -> bytes:
    return data


async def _after_a_checkpoint(data: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return data


async def _pause() -> None:
    await trio.sleep(PAUSE)


def functions(*, awaits: bool = False) -> Sequence[HostFunction]:
    """What the guests import.

    Args:
        awaits: whether `exchange` really awaits before it answers.
    """
    exchange = _after_a_checkpoint if awaits else _at_once
    return (
        HostFunction("exchange", exchange, (Value.BYTES,), Value.BYTES, quick=not awaits),
        HostFunction("pause", _pause),
    )


def calls(plugin: Plugin, function: str, data: bytes) -> Batch:
    """A batch of calls, one after the other."""

    async def batch(count: int) -> object:
        output = b""
        for _ in range(count):
            output = (await plugin.call(function, data)).output
        return output

    return batch
