"""Calling code of a native plugin: whatever it raises becomes an error with its name, and goes no further.

A cancellation passes. Code that does not come back cannot be contained: an async function that never awaits stops the
host, a thread that does not end is left behind, and a crash of the process is one of the host.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from innkeeper.plugins.tables import visible

logger = logging.getLogger("innkeeper.native")

_MOST_TEXT = 500


class PluginError(Exception):
    """Code of a native plugin raised something.

    Attributes:
        text: the exception's type and message, without a traceback.
        cause: the exception.
    """

    def __init__(self, cause: BaseException) -> None:
        name, message = type(cause).__name__, _message(cause)
        self.text = f"{name}: {message}" if message else name
        self.cause = cause
        super().__init__(self.text)


@trio.lowlevel.enable_ki_protection
async def contained(function: Callable[..., Any], *arguments: Any, threads: trio.CapacityLimiter) -> Any:
    """What a function of a plugin returns. An async one runs on trio's thread, any other in a thread; one that is
    cancelled there is left behind, and keeps its place among `threads` until it ends.

    Args:
        function: the plugin's.
        arguments: its arguments.
        threads: how many of the plugin's functions run in threads at the same time.

    Raises:
        PluginError: it raised something, SystemExit and KeyboardInterrupt included.
        trio.Cancelled: the caller was cancelled.
    """
    # Under protection from Ctrl-C, which is the program's business: a KeyboardInterrupt here is the plugin's own.
    try:
        if inspect.iscoroutinefunction(function):
            return await function(*arguments)
        found = await trio.to_thread.run_sync(partial(function, *arguments), abandon_on_cancel=True, limiter=threads)
        return await found if inspect.iscoroutine(found) else found
    except BaseException as error:
        cancelled, raised = _parted(error)
        if cancelled is not None and trio.current_effective_deadline() == -math.inf:
            if raised is not None:
                logger.info("native code raised while it was cancelled", exc_info=raised)
            raise cancelled from None
        raise PluginError(raised if raised is not None else error) from None


def _parted(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What of an exception is a cancellation, and what is not."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    return (error, None) if isinstance(error, trio.Cancelled) else (None, error)


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException:
        # Its own `__str__` is the plugin's code, too.
        return "(its text cannot be had)"
    return visible(" ".join(text[: 4 * _MOST_TEXT].split()), _MOST_TEXT)
