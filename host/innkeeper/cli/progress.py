"""Says on a terminal what is being compiled, where that takes long enough for somebody to wonder.

Where standard error is no terminal, only trouble with the cache is said.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle

from innkeeper.cli.output import is_terminal, printable, write_error
from innkeeper.sandbox.compilation.progress import CacheTrouble, Compiling, Stage, listener

PATIENCE = 0.5
"""Seconds of silence: most modules are compiled by then, and a line that flashes up is worse than none."""

_PICTURE = 0.1
_SPINNER = "|/-\\"
_CLEAR = "\r\x1b[K"


@contextlib.contextmanager
def compiling_shown(*, line: bool = True) -> Iterator[CompilingLine]:
    """Shows what the hosts compile that are opened inside of the block, `trio.run` included.

    Args:
        line: whether a line is drawn; without, what it would say is the `text` of what the block gets, for a picture
            that is drawn anyway, and trouble with the cache is said after the block.

    Example:
        with compiling_shown():
            trio.run(main)
    """
    made = CompilingLine(line)
    token = listener.set(made.hear)
    try:
        yield made
    finally:
        listener.reset(token)
        made.stop()


class CompilingLine:
    """One line that comes and goes. Drawn by a thread of its own: trio's may be busy."""

    def __init__(self, drawn: bool) -> None:
        # Kept: others may put something else in its place meanwhile.
        self._stream = sys.stderr
        terminal = is_terminal(self._stream)
        self._shown = drawn and terminal
        self._picture = terminal and not drawn
        self._held: list[str] = []
        self._lock = threading.Condition()
        self._since: dict[str, tuple[float, Compiling]] = {}
        self._drawn = False
        self._stopped = False
        self._thread: threading.Thread | None = None

    def hear(self, event: Compiling | CacheTrouble) -> None:
        """What compilers tell."""
        with self._lock:
            if isinstance(event, CacheTrouble):
                text = f"innkeeper: {event.reason}"
                if self._picture:
                    # A line in the midst of it would tear it.
                    self._held.append(text)
                else:
                    self._erase()
                    write_error(text)
            elif event.stage is Stage.DONE:
                self._since.pop(event.key, None)
                if not self._since:
                    # At once: what follows may be somebody else's line.
                    self._erase()
            elif event.key not in self._since:
                self._since[event.key] = (time.monotonic(), event)
            if self._shown and self._since and self._thread is None:
                self._thread = threading.Thread(target=self._draw, daemon=True)
                self._thread.start()
            self._lock.notify()

    def stop(self) -> None:
        """Removes the line for good."""
        with self._lock:
            self._stopped = True
            self._erase()
            for text in self._held:
                write_error(text)
            self._lock.notify()
        if self._thread is not None:
            self._thread.join()

    def _draw(self) -> None:
        pictures = cycle(_SPINNER)
        with self._lock:
            while not self._stopped:
                if not self._since:
                    self._lock.wait()
                    continue
                text = self.text
                if text:
                    self._write(f"{_CLEAR}{next(pictures)} {text}")
                    self._drawn = True
                self._lock.wait(_PICTURE)

    @property
    def text(self) -> str:
        """What is compiled for longer than `PATIENCE`: "compiling core-messages (1.2 MB) ...", or ""."""
        now = time.monotonic()
        long = [event for since, event in list(self._since.values()) if now - since >= PATIENCE]
        if not long:
            return ""
        first = f"{printable(long[0].plugin or 'a module', 64)} ({long[0].size / 1e6:.1f} MB)"
        more = f" and {len(long) - 1} more" if len(long) > 1 else ""
        return f"compiling {first}{more} ..."

    def _erase(self) -> None:
        if self._drawn:
            self._write(_CLEAR)
            self._drawn = False

    def _write(self, text: str) -> None:
        # Nobody is left to be shown anything where this fails.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


@contextlib.contextmanager
def share_shown(what: str) -> Iterator[Callable[[int, int], None]]:
    """What gets how much is done and how much there is, for the time of a `with`; drawn as one line on a terminal,
    after `PATIENCE`.

    Args:
        what: is done, such as "copying the database".
    """
    began = drawn = time.monotonic()
    shown = is_terminal(sys.stderr)
    there = False

    def show(done: int, whole: int) -> None:
        nonlocal drawn, there
        now = time.monotonic()
        if shown and now - began >= PATIENCE and now - drawn >= _PICTURE:
            drawn, there = now, True
            share = f"{done / whole:.0%}" if whole else f"{done / 1e6:,.0f} MB"
            sys.stderr.write(f"{_CLEAR}{what} {share}")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if there:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
