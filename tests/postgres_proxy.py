"""Stands between a host and a PostgreSQL server, and cuts the connection in the midst of a commit."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from typing import Literal

NAME = ".s.PGSQL.5432"

What = Literal["commit", "answer"]


class Proxy:
    """A socket that a server's clients can use instead of its own."""

    def __init__(self, server: Path) -> None:
        """Args:
        server: the server's socket.
        """
        self._server = server
        self.folder = Path(tempfile.mkdtemp(prefix="inn-px-", dir="/tmp"))
        self.cuts = 0
        self._cut: What | None = None
        self._broken = False
        self._for_good = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Proxy:
        self._listener.bind(str(self.folder / NAME))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._sockets):
            _close(each)
        shutil.rmtree(self.folder)

    def url(self, url: str) -> str:
        """The URL by which a database of the server is reached through it."""
        return f"{url.partition('?')[0]}?host={self.folder}"

    def cut(self, what: What, *, for_good: bool = False) -> None:
        """Ends the connection that commits next.

        Args:
            what: before the "commit" arrives at the server, or before its "answer" does at the client.
            for_good: whether nobody gets through afterwards.
        """
        self._cut, self._for_good = what, for_good

    def mend(self) -> None:
        """Clients get through again."""
        self._broken = False

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._broken:
                    _close(client)
                    continue
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                self._sockets += [client, server]
                committing = threading.Event()
                threading.Thread(target=self._to_server, args=(client, server, committing), daemon=True).start()
                threading.Thread(target=self._to_client, args=(client, server, committing), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket, committing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self._cut is not None and b"COMMIT" in data:
                    what, self._cut = self._cut, None
                    self.cuts += 1
                    if what == "commit":
                        break
                    committing.set()
                server.sendall(data)
        _close(client)
        _close(server)

    def _to_client(self, client: socket.socket, server: socket.socket, committing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if committing.is_set():
                    self._broken = self._for_good
                    break
                client.sendall(data)
        _close(client)
        _close(server)


def _close(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
