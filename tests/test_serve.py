"""A server begins without configuration, answers, and ends in an orderly way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from servers import served


async def test_a_server_says_that_it_lives_and_takes_requests(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        assert (await server.client.get("/healthz")).json() == {"status": "ok"}
        assert (await server.client.get("/readyz")).json() == {"status": "ready"}
        server.parts.stopping.set()
        answer = await server.client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"error": "the server is stopping"})


async def test_what_is_not_there_is_said_as_every_error_is(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        answer = await server.client.get("/api/nothing")
        assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})


def test_serve_works_on_a_fresh_folder_without_configuration(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    command = [sys.executable, "-m", "innkeeper", "serve", "--data", str(home), "--port", "0", "--json"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("INNKEEPER_")}
    environment["INNKEEPER_CACHE"] = str(tmp_path / "cache")
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path, env=environment) as child:
        try:
            assert child.stdout is not None
            ready = json.loads(child.stdout.readline())
            assert ready["event"] == "ready"
            assert httpx.get(ready["url"] + "/healthz", trust_env=False).json() == {"status": "ok"}
            child.send_signal(signal.SIGTERM)
            assert child.wait(30) == 0
        finally:
            child.kill()
