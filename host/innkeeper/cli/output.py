"""How commands speak: results on standard output, the rest on standard error, nothing that steers a terminal.

What guests and files say is untrusted: escapes, control characters and marks that reorder text are shown, not sent.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from innkeeper.errors import (
    BusyError,
    CancelledError,
    DeniedError,
    GuestError,
    InnkeeperError,
    InternalError,
    LimitError,
    UsageError,
)
from innkeeper.printable import UNSAFE
from innkeeper.printable import columns_of as columns_of
from innkeeper.printable import printable as printable
from innkeeper.sandbox.usage import Usage

MOST_ERROR = 4000
"""Characters of an error's line. A list of everything that is wrong with a manifest still fits."""

_IN_JSON = {code: f"\\u{code:04x}" for code in UNSAFE if code >= 0x7F}


def json_bytes(value: object, *, indent: int | None = None) -> bytes:
    """A JSON document and a newline (bytes), readable where it is not ASCII, and harmless on a terminal."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    # Outside of strings JSON has none of these characters, and inside of one an escape means the same. Lone
    # surrogates, which file names can have, become escapes too.
    return (text.translate(_IN_JSON) + "\n").encode("utf-8", "backslashreplace")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a standard stream is there, and a terminal (bool)."""
    return stream is not None and stream.isatty()


def write_out(data: bytes) -> None:
    """Writes to standard output, exactly and at once.

    Raises:
        BrokenPipeError: nobody reads it any more.
        UsageError: it cannot be written.
    """
    if sys.stdout is None:
        raise UsageError("standard output is closed")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        forget_stdout()
        raise UsageError(f"standard output cannot be written: {error.strerror}") from None


def forget_stdout() -> None:
    """Keeps the interpreter from complaining at exit about what can no longer be written."""
    if sys.stdout is not None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def write_line(text: str) -> None:
    """One line on standard output; the text is made safe."""
    write_out((printable(text) + "\n").encode())


def write_error(text: str) -> None:
    """One line on standard error; the text is made safe and bounded. Never fails."""
    if sys.stderr is not None:
        try:
            sys.stderr.buffer.write((printable(text, MOST_ERROR) + "\n").encode())
            sys.stderr.buffer.flush()
        except OSError:
            pass  # Nobody is left to be told.


def write_log(lines: Iterable[tuple[str, str]], dropped: int = 0) -> None:
    """A guest's log on standard error: "[info] text"."""
    for level, text in lines:
        write_error(f"[{level}] {text}")
    if dropped:
        write_error(f"[innkeeper] {dropped} bytes of log are not shown: the limit 'log' was reached")


def counted(number: int, noun: str) -> str:
    """How many there are of something (str): "1 journal", "2 journals"; the noun's plural must have an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def write_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, most: int = 200) -> None:
    """A table on standard output: drawn on a terminal, columns set by spaces elsewhere.

    Args:
        headers: of its columns.
        rows: as many cells each.
        most: characters of a cell.
    """
    safe = [[printable(cell, most) for cell in row] for row in rows]
    if is_terminal(sys.stdout):
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        for header in headers:
            table.add_column(header, overflow="fold")
        for row in safe:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    lines = [list(headers), *safe]
    widths = [max(map(columns_of, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell + " " * (width - columns_of(cell)) for cell, width in zip(line, widths, strict=True))
        write_line("  ".join(cells).rstrip())


def error_object(error: InnkeeperError) -> dict[str, Any]:
    """An error as JSON says it: kind, message, plugin, function, node, what its kind adds, and problems of a file."""
    found: dict[str, Any] = {
        "kind": error.kind.value,
        "message": error.message,
        "plugin": error.plugin,
        "function": error.function,
    }
    if error.node is not None:
        found["node"] = error.node
    if isinstance(error, LimitError):
        found.update(limit=error.limit, value=error.value, used=error.used)
    elif isinstance(error, GuestError):
        found["code"] = error.code
    elif isinstance(error, DeniedError):
        found["capability"] = error.capability
    elif isinstance(error, BusyError):
        found["bound"] = error.bound
    problems = _problems(error)
    if problems:
        # As those of a workflow are listed, which have a place in it.
        found["problems"] = [{"text": problem, "node": None, "slot": None} for problem in problems]
    return found


def lines_of(error: InnkeeperError) -> list[str]:
    """An error as people read it: one line, or one per problem where it lists several (list of str)."""
    # Only such a list makes lines: what a guest says may hold line breaks of its own.
    return _problems(error) or [str(error)]


def _problems(error: InnkeeperError) -> list[str]:
    from innkeeper.knowledge.model.problems import KnowledgeError
    from innkeeper.plugins.tables import ListedError

    if isinstance(error, KnowledgeError):
        return error.message.split("\n")
    return error.problems if isinstance(error, ListedError) else []


def usage_object(usage: Usage) -> dict[str, Any]:
    """What a call cost as JSON says it; the log stands beside it (`log_object`)."""
    return {
        "cpu": usage.cpu,
        "wall": usage.wall,
        "memory": usage.memory,
        "host_calls": usage.host_calls,
        "system_calls": usage.system_calls,
        "bytes_in": usage.bytes_in,
        "bytes_out": usage.bytes_out,
        "log_dropped": usage.log_dropped,
        "remembered": usage.remembered,
    }


def log_object(usage: Usage) -> list[dict[str, str]]:
    """The lines of a guest's log as JSON says them."""
    return [{"level": level, "text": text} for level, text in usage.log]


def usage_of(error: BaseException) -> Usage | None:
    """What a failed call had cost, where the engine kept it with the error."""
    usage = getattr(error, "usage", None)
    return usage if isinstance(usage, Usage) else None


def innkeeper_error(error: BaseException) -> InnkeeperError:
    """What a command says of an exception: the error itself, one out of a group, a cancellation, or a defect.

    In a group a cancellation by the user comes first, then a defect, then the first error.
    """
    leaves = list(_leaves(error))
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return CancelledError("cancelled")
    for leaf in leaves:
        if not isinstance(leaf, InnkeeperError):
            if _is_said(leaf):
                return UsageError(str(leaf))
            return InternalError(
                f"{type(leaf).__name__}: {leaf} - this is a defect of Innkeeper, please report it "
                "(INNKEEPER_TRACEBACK=1 shows where)"
            )
    return next(leaf for leaf in leaves if isinstance(leaf, InnkeeperError))


def _is_said(error: BaseException) -> bool:
    """Whether what a store of knowledge bases says of a request is an answer to whoever ran the command."""
    from innkeeper.storage.knowledge_model import FullError, HeldError, NoSuchError, VersionError

    return isinstance(error, FullError | HeldError | NoSuchError | VersionError)


def _leaves(error: BaseException) -> Iterable[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
