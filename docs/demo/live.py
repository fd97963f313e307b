"""Starts a server on a free port, sends it the sample workflow through its WebSocket as an editor does, shows what
comes back, and stops it.

    python docs/demo/live.py

The client below knows the protocol (docs/protocol.md) and nothing of Innkeeper's code. The server's home is a
temporary folder with the world book of the demo and the grant to read it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

DEMO = Path(__file__).resolve().parent
ROOT = DEMO.parent.parent
ENDS = ("complete", "error", "interrupted")
LINES = 12
PATIENCE = 120.0


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, serving(_home(Path(folder))) as url:
        print(f"$ innkeeper serve --port 0\nserving {url}\n\n> PROMPT_REQUEST set-the-scene.json")
        return show(messages(url, workflow()))


def workflow() -> dict[str, Any]:
    """The sample, with a chat and the world book as values of its inputs."""
    found: dict[str, Any] = json.loads((DEMO / "set-the-scene.json").read_text("utf-8"))
    values = {"chat": json.loads((DEMO / "chat.en.json").read_text("utf-8")), "book": "lantern-inn"}
    for key, value in values.items():
        found["interfaceInputs"][key]["config"] = {"default": value}
    return found


def show(received: Iterator[dict[str, Any]]) -> int:
    """Prints messages as they come, then the first lines of the prompt; the exit code."""
    outputs: dict[str, Any] = {}
    for message in received:
        payload = message["payload"]
        about = payload.get("status") or payload.get("nodeId") or ""
        if message["type"] == "SYSTEM_QUEUE_UPDATE":
            about = f"{payload['runningExecutions']} running, {payload['pendingExecutions']} waiting"
        elif message["type"] in ("NODE_ERROR", "error"):
            about = f"{about} {payload.get('errorDetails', payload)['message']}"
        elif payload.get("nodeId") == "__WORKFLOW_INTERFACE_OUTPUTS__":
            outputs = payload["output"]
        print(f"< {message.get('seq', '-'):>2} {message['type']:26} {about}")
        if message["type"] == "error":
            return 1
        if payload.get("status") in ENDS:
            lines = str(outputs.get("prompt", "")).splitlines()
            print("\n== prompt ==", *(line[:110] for line in lines[:LINES]), "...", sep="\n")
            return 0 if payload["status"] == "complete" else 1
    return 1


def messages(url: str, prompt: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Submits a workflow; each message of the server, as it comes."""
    where = urlsplit(url)
    assert where.hostname is not None
    connection = WSConnection(ConnectionType.CLIENT)
    with socket.create_connection((where.hostname, where.port or 80), timeout=PATIENCE) as sock:
        sock.sendall(connection.send(Request(host=where.netloc, target="/ws")))
        text = ""
        while data := sock.recv(65536):
            connection.receive_data(data)
            for event in connection.events():
                if isinstance(event, AcceptConnection):
                    request = {"type": "PROMPT_REQUEST", "payload": prompt}
                    sock.sendall(connection.send(TextMessage(data=json.dumps(request))))
                elif isinstance(event, TextMessage):
                    text += event.data
                    if event.message_finished:
                        yield json.loads(text)
                        text = ""


def _home(folder: Path) -> Path:
    """A home that may read the world book of the demo."""
    for source, target in (
        (ROOT / "manifests" / "kb.toml", folder / "manifests" / "kb.toml"),
        (DEMO / "lore" / "en" / "knowledge.json", folder / "knowledge" / "lantern-inn" / "knowledge.json"),
    ):
        target.parent.mkdir(parents=True)
        shutil.copy(source, target)
    return folder


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """A server of a home as a process of its own; its URL."""
    command = [sys.executable, "-m", "innkeeper", "serve", "--data", str(home), "--port", "0", "--json"]
    environment = {key: value for key, value in os.environ.items() if key != "INNKEEPER_HOME"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as server:  # noqa: S603
        try:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())["url"]
            server.send_signal(signal.SIGTERM)
            print(f"\nthe server has stopped (exit code {server.wait(PATIENCE)})")
        finally:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
