"""The process that runs guests with the extism package: `main` is all of it.

It does what the host says, one message at a time, and asks the host to run host functions meanwhile.  A guest that
breaks extism ends this process and nothing else.
"""

from __future__ import annotations

import os
import socket
from typing import Any, NoReturn

from innkeeper.sandbox.oracle import confine, wire
from innkeeper.sandbox.oracle.lines import KeptLines
from innkeeper.sandbox.oracle.runtime import GuestFailedError, Runtime
from innkeeper.sandbox.oracle.streams import Streams

_PIECE = 1024
"""Bytes after which a line of standard output or error goes on as the next one, as in the other engine."""

_LAST_WORDS = 70
"""Exit code of a worker that could not go on."""


def main(parent: int) -> NoReturn:
    """Serves the host until it goes away.

    Args:
        parent: process id of the host. The socket to it is this process's standard input.
    """
    confine.confine(parent)
    # Away from where a guest's standard input could be.
    connection = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    confine.end_with(connection.fileno())
    worker = _Worker(connection)
    try:
        while True:
            worker.step()
    except wire.WireError:
        os._exit(_LAST_WORDS)
    except OSError:
        os._exit(0)


class _Worker:
    """One connection to the host."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._streams = Streams()
        self._runtime: Runtime | None = None
        self.arguments_max = 0

    def step(self) -> None:
        """Does what the next message says."""
        header, payload = self._receive()
        do = {
            "setup": self._setup,
            "compile": self._compile,
            "open": self._open,
            "call": self._call,
            "close": self._close,
        }
        do[wire.take(header, "type", str)](header, payload)

    def _setup(self, header: dict[str, Any], payload: bytes) -> None:
        modules = zip(header["names"], wire.cut(payload, header["sizes"]), strict=True)
        try:
            self._runtime = Runtime(list(modules), header["functions"], self)
        except (ImportError, OSError) as error:
            self._send({"type": "missing", "text": str(error)})
        else:
            self._compile(header, b"")

    def _compile(self, header: dict[str, Any], _: bytes) -> None:
        assert self._runtime is not None
        confine.allow_cpu(header["cpu"])
        try:
            self._runtime.compile(header["pages"], header["variables"])
        except GuestFailedError as failure:
            self._send({"type": "refused", "text": failure.text})
        else:
            self._send({"type": "ready"})

    def _open(self, header: dict[str, Any], _: bytes) -> None:
        runtime = self._begin(header)
        try:
            runtime.open(header["config"])
        except GuestFailedError as failure:
            self._failed(failure, header)
        else:
            # extism starts it anew at its first call, which then has what it writes meanwhile.
            self._send({"type": "opened", "log": [], "dropped": 0})

    def _call(self, header: dict[str, Any], payload: bytes) -> None:
        runtime = self._begin(header)
        try:
            runtime.configure(header["config"])
            output = runtime.call(header["function"], payload, header["output"])
        except GuestFailedError as failure:
            self._failed(failure, header)
        else:
            self._send({"type": "done", **self._log(header)}, output)

    def _close(self, _: dict[str, Any], __: bytes) -> None:
        assert self._runtime is not None
        self._runtime.close()

    def _begin(self, header: dict[str, Any]) -> Runtime:
        assert self._runtime is not None
        self.arguments_max = header["output"]
        self._streams.forget()
        if header["cpu"] is not None:
            confine.allow_cpu(header["cpu"])
        return self._runtime

    def _failed(self, failure: GuestFailedError, header: dict[str, Any] | None) -> None:
        self._send(
            {
                "type": "failed",
                "reason": failure.reason,
                "text": failure.text,
                "code": failure.code,
                "used": failure.used,
                **(self._log(header) if header is not None else {"log": [], "dropped": 0}),
            }
        )

    def _log(self, header: dict[str, Any]) -> dict[str, Any]:
        # In which order a guest wrote its log, its output and its errors is not known here.
        assert self._runtime is not None
        limit = header["log"]
        kept = KeptLines(limit, header["log_line"])
        for level, text in self._runtime.events.lines:
            kept.add(level, text.encode())
        # Line ends are not counted, and there are fewer of them than bytes that may be kept.
        for level, data, more in self._streams.read(2 * limit):
            lines = data.split(b"\n")
            if not lines[-1]:
                lines.pop()
            for line in lines:
                for at in range(0, max(len(line), 1), _PIECE):
                    kept.add(level, line[at : at + _PIECE])
            kept.dropped += more
        return {"log": kept.lines, "dropped": kept.dropped}

    # --- what a guest reaches through its host functions (`runtime.Outside`) --------------------------------------

    def call(self, number: int, values: list[Any], pieces: list[bytes]) -> Any:
        """The host runs it; this process waits."""
        self._send({"type": "host", "number": number, "values": values}, *pieces)
        header, payload = self._receive()
        return payload if header["bytes"] else header["value"]

    def broken(self, error: BaseException) -> NoReturn:
        """Tells the host, which ends the call; there is no way to end it here."""
        if isinstance(error, GuestFailedError):
            self._failed(error, None)
            os._exit(0)
        os._exit(0 if isinstance(error, OSError) else _LAST_WORDS)

    # --- the wire -------------------------------------------------------------------------------------------------

    def _send(self, header: dict[str, Any], *payload: bytes) -> None:
        self._connection.sendall(wire.encode(header, payload))
        for piece in payload:
            self._connection.sendall(piece)

    def _receive(self) -> tuple[dict[str, Any], bytes]:
        size, payload_size = wire.lengths(self._read(wire.PREFIX.size), confine.DATA)
        return wire.decode(self._read(size)), self._read(payload_size)

    def _read(self, size: int) -> bytes:
        data = bytearray(size)
        view, at = memoryview(data), 0
        while at < size:
            count = self._connection.recv_into(view[at:])
            if not count:
                raise ConnectionError("the host is gone")
            at += count
        return bytes(data)
