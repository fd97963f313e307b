"""The log of a server: structlog over the standard library's logging, written by a thread of its own.

Guarantees: a line is one line, whatever a client, a guest or a file is called; no secret is in one (`redaction`); who
logs never waits, also where nobody reads the log; what does not fit is dropped, and its number is said.
"""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final, Literal, TextIO

import structlog

from innkeeper.printable import printable
from innkeeper.server.telemetry.present import fields
from innkeeper.server.telemetry.redaction import redacted, redacted_text

Format = Literal["console", "json"]
Level = Literal["debug", "info", "warning", "error"]

QUEUE: Final = 10_000
"""Lines that wait to be written: some megabytes."""

_GATHERED: Final = 0.05
_TOGETHER: Final = 1000
_CLOSING: Final = 2.0
_TRACE: Final = 60

Event = MutableMapping[str, Any]

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {
    *("message", "asctime", "taskName"),
    *("time", "level", "logger", "event", "exception"),
}
"""What a record's own fields are called, and those of a line: what else it has was given as `extra`."""


class LogHandler(logging.Handler):
    """Takes records; a thread writes them.

    Attributes:
        dropped: lines that did not fit.
    """

    def __init__(self, stream: TextIO, format: Format, *, most: int = QUEUE) -> None:
        """Args:
        stream: where lines go.
        format: "json": an object a line; "console": for people.
        most: lines that wait.
        """
        super().__init__()
        self.dropped = 0
        self._told = 0
        self._stream = stream
        self._render = _RENDERERS[format]
        self._queue: queue.Queue[Event | None] = queue.Queue(most)
        self._thread = threading.Thread(target=self._write, name="innkeeper log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a record. What its line says is fixed here: arguments and the present task are others later."""
        try:
            self._queue.put_nowait(_event_of(record))
        except queue.Full:
            self.dropped += 1
        except Exception:
            # A record that cannot be shown must not end who logs it.
            self.dropped += 1

    def close(self) -> None:
        """Writes what waits; gives up on a stream that nobody reads."""
        try:
            self._queue.put(None, timeout=_CLOSING)
        except queue.Full:
            pass
        else:
            self._thread.join(_CLOSING)
        super().close()

    def _write(self) -> None:
        more = True
        while more:
            events = [self._queue.get()]
            if events[0] is not None:
                # What comes in this time is written together: each line by itself would wake this thread, which then
                # takes the interpreter from trio's.
                time.sleep(_GATHERED)
            while events[-1] is not None and len(events) < _TOGETHER:
                try:
                    events.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            more = events[-1] is not None
            self._put([event for event in events if event is not None])

    def _put(self, events: list[Event]) -> None:
        written: list[str] = []
        for event in events:
            try:
                written.append(self._line(event))
            except Exception:
                # One that cannot be shown.
                self.dropped += 1
        try:
            if self.dropped > self._told:
                lost, self._told = self.dropped - self._told, self.dropped
                said: Event = {"time": time.time(), "level": "warning", "logger": "innkeeper.server"}
                written.append(self._line({**said, "event": f"lines of the log were dropped: {lost:,}"}))
            self._stream.write("".join(written))
            self._stream.flush()
        except Exception:
            # Nobody reads it any more, or its disk is full: the server goes on.
            self.dropped += len(events)

    def _line(self, event: Event) -> str:
        for process in _PROCESSORS:
            event = process(None, "", event)
        return self._render(event) + "\n"


def _event_of(record: logging.LogRecord) -> Event:
    event: Event = {
        "time": record.created,
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": record.getMessage(),
        **fields(),
    }
    # What the line itself says goes before what stands around it.
    event.update({key: value for key, value in vars(record).items() if key not in _OWN})
    if record.exc_info and record.exc_info[1] is not None:
        event["exception"] = "".join(traceback.format_exception(record.exc_info[1], limit=_TRACE))
    return event


def _stamped(_: Any, __: str, event: Event) -> Event:
    at = event["time"]
    event["time"] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"
    return event


def _bounded(_: Any, __: str, event: Event) -> Event:
    trace = event.pop("exception", None)
    shown: Event = redacted(event)
    if trace is not None:
        shown["exception"] = [redacted_text(line) for line in str(trace).splitlines()[-4 * _TRACE :]]
    return shown


def _for_people(event: Event) -> str:
    """A line for people; a traceback follows it, each of its lines moved in, so that none can pass for a line of the
    log."""
    known = {"time", "level", "logger", "event", "exception"}
    more = "".join(f" {key}={_shown(value)}" for key, value in event.items() if key not in known)
    line = printable(f"{event['time']} {event['level']:<7} {event['logger']}: {event['event']}{more}")
    return "\n".join([line, *("    " + printable(each) for each in event.get("exception", ()))])


def _shown(value: Any) -> str:
    if isinstance(value, str) and value and not set(value) & set(' "=\\'):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


_to_json = structlog.processors.JSONRenderer(ensure_ascii=True, allow_nan=False, default=str)


def _for_programs(event: Event) -> str:
    try:
        return str(_to_json(None, "", event))
    except ValueError:
        # A number that JSON does not have.
        return str(_to_json(None, "", {key: str(value) for key, value in event.items()}))


_PROCESSORS: Final[tuple[Callable[[Any, str, Event], Event], ...]] = (_stamped, _bounded)
_RENDERERS: Final[dict[Format, Callable[[Event], str]]] = {"json": _for_programs, "console": _for_people}


@contextmanager
def logging_to(stream: TextIO | None, format: Format, level: Level) -> Iterator[LogHandler]:
    """Has everything logged to a stream for the time of the block: the project's own lines of a level and above, and
    warnings of the libraries that it uses.

    Args:
        stream: where; None: standard error.
        format: as of `LogHandler`.
        level: the lowest that is written.
    """
    handler = LogHandler(stream if stream is not None else sys.stderr, format)
    root, own = logging.getLogger(), logging.getLogger("innkeeper")
    before = root.level, own.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    own.setLevel(level.upper())
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        own.setLevel(before[1])
        handler.close()
