"""`innkeeper serve` ends in an orderly way, says what it counted, and logs what its operator asked for."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from commands import Commands
from innkeeper.cli.main import invoke
from test_guards_watching import samples
from work_homes import House, Working, eventually


class Serving(Working):
    """`innkeeper serve --json` as a process."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.said: list[dict[str, Any]] = []
        command = [sys.executable, "-m", "innkeeper", "--home", str(home), "serve", "--port", "0", "--json", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url: str = self.until(lambda said: said["event"] == "ready")["url"]

    def _read(self) -> None:
        # All the time: a log that nobody reads would fill its pipe.
        assert self.process.stderr is not None
        self.log += [line.decode() for line in iter(self.process.stderr.readline, b"")]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, trust_env=False, timeout=30)

    def ended(self, number: int = signal.SIGTERM) -> int:
        """Ends it by a signal; gives its exit code."""
        self.send(number)
        code = self.process.wait(120)
        self._reader.join(30)
        assert "Traceback" not in "".join(self.log)
        return code

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    house = House(tmp_path / "home")
    monkeypatch.setenv("INNKEEPER_HOME", str(house.path))
    monkeypatch.chdir(tmp_path)
    yield house
    house.close()


@pytest.fixture
def queue(house: House, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Queues a workflow of one node; gives the run's id."""

    def submit(type_: str) -> str:
        assert invoke(["run", house.workflow(type_), "--queue", "--json"]) == 0
        return str(json.loads(capsys.readouterr().out)["run"])

    return submit


@pytest.fixture
def serve(house: House) -> Iterator[Callable[..., Serving]]:
    started: list[Serving] = []

    def start(*arguments: str) -> Serving:
        started.append(Serving(house.path, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def status(capsys: pytest.CaptureFixture[str], run: str) -> str:
    return str(Commands(capsys).json("runs", "show", run)["status"])


def test_while_runs_end_the_server_answers_and_begins_nothing(
    serve: Callable[..., Serving], queue: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = queue("Nap")
    serving = serve("--drain", "1h")
    serving.run(run, "running")
    serving.send(signal.SIGTERM)
    serving.until(lambda said: said["event"] == "closing")
    assert serving.get("/readyz").status_code == 503
    assert serving.get("/healthz").status_code == 200
    assert httpx.post(serving.url + "/api/prompt", json={}, trust_env=False).status_code == 503
    serving.run(run, "complete")
    assert serving.process.wait(120) == 0
    assert status(capsys, run) == "complete"


def test_a_second_signal_does_not_wait(
    serve: Callable[..., Serving], queue: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = queue("Sleep")
    serving = serve("--drain", "1h")
    serving.run(run, "running")
    serving.send(signal.SIGINT)
    serving.until(lambda said: said["event"] == "closing")
    assert serving.ended(signal.SIGINT) == 6
    assert status(capsys, run) == "interrupted"


def test_what_a_run_and_its_nodes_took_is_counted(serve: Callable[..., Serving], queue: Callable[..., str]) -> None:
    good, bad = queue("Quick"), queue("Fail")
    serving = serve()
    serving.run(good, "complete")
    serving.run(bad, "error")

    def count(name: str, **labels: str) -> float:
        return samples(serving.get("/metrics").text).get((name, frozenset(labels.items())), 0.0)

    eventually(lambda: count("innkeeper_runs_total", status="error") == 1)
    assert count("innkeeper_runs_total", status="complete") == 1
    assert count("innkeeper_runs_queued") == 0
    assert count("innkeeper_node_duration_seconds_count", plugin="slow") >= 1
    assert count("innkeeper_node_duration_seconds_sum", plugin="slow") > 0
    loaded = [count("innkeeper_plugin_load_seconds_count", source=source) for source in ("cache", "compiler")]
    assert sum(loaded) >= 1
    assert count("innkeeper_database_commits_total") > 1
    eventually(lambda: count("innkeeper_loop_lag_seconds_count") >= 1)
    assert serving.ended() == 0


def test_the_log_is_as_its_operator_wants_it(
    serve: Callable[..., Serving], house: House, queue: Callable[..., str]
) -> None:
    (house.path / "innkeeper.toml").write_text('[server]\nlog_format = "json"\n')
    good, bad = queue("Quick"), queue("Fail")
    serving = serve()
    serving.run(good, "complete")
    serving.run(bad, "error")
    serving.get("/nothing?token=very-secret")
    serving.get("/healthz")
    assert serving.ended() == 0
    lines = [json.loads(line) for line in serving.log]
    asked = [line for line in lines if line["logger"] == "innkeeper.access"]
    assert [(line["path"], line["status"], line["level"]) for line in asked] == [("/nothing", 404, "info")]
    assert asked[0]["request"]
    assert "very-secret" not in "".join(serving.log)
    said = [(line["run"], line["status"]) for line in lines if line["logger"] == "innkeeper.runs"]
    assert sorted(said) == sorted([(good, "running"), (good, "complete"), (bad, "running"), (bad, "error")])
    [failed] = [line for line in lines if line.get("kind") == "guest"]
    assert (failed["run"], failed["user"], failed["node"], failed["plugin"]) == (bad, "default_user", "it", "slow")
    assert failed["seconds"] >= 0
    assert failed["error"]
