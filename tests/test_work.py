"""`innkeeper work` and the commands that reach it through the database."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import Commands
from innkeeper.cli.host_process import Said
from innkeeper.cli.kept_runs import LOCK, clock_text, duration_text
from innkeeper.cli.main import invoke
from innkeeper.storage.process_lock import ProcessLock
from work_homes import LONG, House, eventually, one


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    house = House(tmp_path / "home")
    monkeypatch.setenv("INNKEEPER_HOME", str(house.path))
    monkeypatch.chdir(tmp_path)
    yield house
    house.close()


@pytest.fixture
def commands(capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(capsys)


@pytest.fixture
def queue(house: House, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Queues a workflow of one node; gives the run's id."""

    def submit(type_: str = "Quick", *arguments: str) -> str:
        assert invoke(["run", house.workflow(type_), "--queue", "--json", *arguments]) == 0
        return str(json.loads(capsys.readouterr().out)["run"])

    return submit


Queue = Callable[..., str]


def status(commands: Commands, run: str) -> str:
    return str(commands.json("runs", "show", run)["status"])


# --- without a host ---------------------------------------------------------------------------------------------------


def test_a_run_is_queued_as_it_was_wanted(commands: Commands, house: House) -> None:
    arguments = ("--queue", "--name", "mine", "--priority", "7", "--deadline", "1h", "--after-crash", "again")
    said = commands.run("run", house.workflow(), *arguments)
    [run] = commands.json("runs")["runs"]
    assert said.strip() == run["run"]
    assert (run["name"], run["priority"], run["after_crash"], run["status"]) == ("mine", 7, "again", "queued")
    assert run["deadline"] - run["submitted"] == pytest.approx(3600, abs=1)
    assert (run["owner"], run["plugin"]) == ("default_user", None)


def test_who_queues_a_run_hears_that_nobody_works(house: House, capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["run", house.workflow(), "--queue"]) == 0
    assert "no `innkeeper work` runs here" in capfd.readouterr().err


def test_a_workflow_that_does_not_check_is_not_queued(commands: Commands, house: House) -> None:
    said = commands.run("run", house.workflow("Nobody"), "--queue", code=2)
    assert "no plugin has the node type" in said
    assert commands.run("runs") == "there are no runs\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--priority", "3"], "--priority belongs to --queue"),
        (["--wait"], "--wait belongs to --queue"),
        (["--name", "x"], "--name belongs to --queue"),
        (["--queue", "--events"], "does not go with --queue"),
        (["--queue", "--no-memo"], "does not go with --queue"),
        (["--queue", "--priority", "1001"], "1001"),
        (["--queue", "--deadline", "soon"], "--deadline"),
        (["--queue", "--name", "a\nb"], "--name"),
        (["--queue", "--after-crash", "never"], "never"),
    ],
)
def test_options_of_the_queue_are_looked_at_before_anything_is_done(
    commands: Commands, house: House, arguments: list[str], said: str
) -> None:
    assert said in commands.run("run", house.workflow(), *arguments, code=2)
    assert commands.json("runs")["runs"] == []


def test_a_project_s_references_mean_the_same_in_the_queue_and_in_a_schedule(commands: Commands, house: House) -> None:
    demo = house.path / "demo"
    shutil.copytree(Path(__file__).parent.parent / "docs/demo", demo)
    # One that the host cannot have got from anywhere but this project.
    (demo / "lore/en").rename(demo / "lore/here")
    project = json.loads((demo / "project.json").read_text())
    project["knowledgeBaseReferences"][0]["path"] = "lore/here"
    (demo / "project.json").write_text(json.dumps(project))
    commands.run("grant", "kb", "--only", "kb.read:lantern-inn", "--yes")
    workflow = (str(demo / "set-the-scene.json"), "--input-file", f"chat={demo / 'chat.en.json'}")
    expected = commands.json("run", *workflow)["outputs"]
    assert "Ninth Stall" in json.dumps(expected)
    working = house.work()
    queued = commands.json("run", *workflow, "--queue")["run"]
    working.run(queued, "complete")
    assert commands.json("runs", "show", queued)["outputs"] == expected
    scheduled = commands.json("schedule", "add", *workflow, "--in", "1s")["schedule"]
    working.until(lambda said: said["event"] == "run" and said["run"] != queued and said["status"] == "complete")
    (fired,) = [run for run in commands.json("runs")["runs"] if run["schedule"] == scheduled]
    assert commands.json("runs", "show", fired["run"])["outputs"] == expected
    # It is looked for as the run begins; where it has mistakes, these are what went wrong.
    (demo / "project.json").write_text("{")
    again = commands.json("runs", "retry", queued)["run"]
    assert "project.json" in working.run(again, "error")["error"]["message"]


def test_a_project_with_mistakes_is_said_before_anything_is_queued(commands: Commands, house: House) -> None:
    demo = house.path / "demo"
    shutil.copytree(Path(__file__).parent.parent / "docs/demo", demo)
    (demo / "project.json").write_text("{")
    chat = f"chat={demo / 'chat.en.json'}"
    said = commands.run("run", str(demo / "set-the-scene.json"), "--queue", "--input-file", chat, code=2)
    assert "project.json" in said
    assert commands.json("runs")["runs"] == []


def test_a_full_queue_is_busy(commands: Commands, house: House) -> None:
    (house.path / "innkeeper.toml").write_text("[runs]\nqueued = 1\n")
    commands.run("run", house.workflow(), "--queue")
    assert "the queue is full" in commands.run("run", house.workflow(), "--queue", code=7)
    assert len(commands.json("runs")["runs"]) == 1


def test_a_home_that_does_not_count_takes_no_runs(
    commands: Commands, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INNKEEPER_HOME")
    monkeypatch.chdir(house.path)
    assert "nothing was written" in commands.run("run", house.workflow(), "--queue", code=2)
    assert "nothing is executed" in commands.run("work", code=2)
    assert not (house.path / "state").exists()


def test_a_queued_run_is_cancelled_and_queued_again(commands: Commands, queue: Queue) -> None:
    run = queue("Quick", "--name", "mine", "--priority", "-3")
    assert commands.run("runs", "cancel", run) == f"{run}: cancelled\n"
    assert "has ended already" in commands.run("runs", "cancel", run, code=2)
    again = commands.run("runs", "retry", run).strip()
    found = commands.json("runs", "show", again)
    assert (found["name"], found["priority"], found["status"]) == ("mine", -3, "queued")
    assert "has not ended" in commands.run("runs", "retry", again, code=2)


def test_runs_are_found_by_the_beginning_of_their_ids(commands: Commands, queue: Queue) -> None:
    run = queue()
    assert commands.json("runs", "show", run[:8])["run"] == run
    assert "there is no run" in commands.run("runs", "show", run[:3], code=2)
    assert "there is no run" in commands.run("runs", "show", "0" * 8, code=2)
    assert "there is no run" in commands.run("watch", "x" * 500, code=2)


def test_runs_are_listed_by_status_and_number(commands: Commands, queue: Queue) -> None:
    first, second = queue(), queue()
    commands.run("runs", "cancel", first)
    assert [run["run"] for run in commands.json("runs", "--status", "cancelled")["runs"]] == [first]
    assert [run["run"] for run in commands.json("runs", "--limit", "1")["runs"]] == [second]
    assert "like that" in commands.run("runs", "--status", "error")
    assert [line.split()[0] for line in commands.run("runs").splitlines()] == ["run", second, first]


@pytest.mark.parametrize(
    "arguments",
    [("show",), ("cancel",), ("list", "x"), ("show", "x", "--status", "error"), ("--limit", "0"), ("purge", "x")],
)
def test_slips_in_the_words_of_runs_are_said(commands: Commands, house: House, arguments: tuple[str, ...]) -> None:
    assert commands.run("runs", *arguments, code=2).startswith("innkeeper: ")


def test_where_nothing_was_ever_kept_nothing_is_made(commands: Commands, house: House) -> None:
    assert commands.run("runs") == "there are no runs\n"
    assert commands.json("schedule", "list") == {"schedules": []}
    assert "nothing ever ran" in commands.run("watch", "abcd", code=2)
    assert not (house.path / "state").exists()


# --- schedules --------------------------------------------------------------------------------------------------------


def test_a_schedule_is_kept_paused_resumed_and_removed(commands: Commands, house: House) -> None:
    file = house.workflow()
    made = commands.json(
        "schedule", "add", file, "--cron", "30 7 * * MON-FRI", "--timezone", "Europe/Berlin", "--name", "report",
        "--priority", "5", "--deadline", "10min", "--after-crash", "again",
    )  # fmt: skip
    [found] = commands.json("schedule", "list")["schedules"]
    assert found == made
    assert (found["lasting"], found["priority"], found["after_crash"]) == (600, 5, "again")
    assert "report" in commands.run("schedule", "list")
    commands.run("schedule", "pause", "report")
    assert commands.json("schedule", "list")["schedules"][0]["paused"]
    commands.run("schedule", "resume", made["schedule"][:6])
    assert "is not paused" in commands.run("schedule", "resume", "report", code=2)
    run = commands.run("schedule", "run", "report").strip()
    assert commands.json("runs", "show", run)["schedule"] == made["schedule"]
    commands.run("schedule", "remove", "report")
    assert commands.run("schedule", "list") == "there are no schedules\n"
    assert "there is no schedule" in commands.run("schedule", "run", "report", code=2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say when"),
        (["--cron", "* * * * *", "--in", "1h"], "say when"),
        (["--cron", "61 * * * *"], "--cron"),
        (["--cron", "* * * * *", "--timezone", "Nowhere/At"], "time zone"),
        (["--in", "1h", "--timezone", "UTC"], "--timezone belongs"),
        (["--in", "soon"], "--in"),
        (["--in", "999999h"], "ten years"),
        (["--at", "2001-01-01T00:00"], "has passed"),
        (["--at", "9999-12-31T23:59"], "ten years"),
        (["--at", "tomorrow"], "--at: write"),
        (["--in", "1h", "--input", "no=1"], "no inputs"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(
    commands: Commands, house: House, arguments: list[str], said: str
) -> None:
    assert said in commands.run("schedule", "add", house.workflow(), *arguments, code=2)
    assert commands.json("schedule", "list") == {"schedules": []}


def test_a_schedule_of_a_workflow_that_does_not_check_is_not_kept(commands: Commands, house: House) -> None:
    assert "no plugin has" in commands.run("schedule", "add", house.workflow("Nobody"), "--in", "1h", code=2)
    assert commands.json("schedule", "list") == {"schedules": []}


# --- with a host ------------------------------------------------------------------------------------------------------


def test_what_is_queued_is_executed_and_each_run_has_its_lines(commands: Commands, house: House, queue: Queue) -> None:
    before = queue()
    working = house.work()
    working.run(before, "complete")
    after = queue("Fail", "--name", "odd")
    said = working.run(after, "error")
    assert (said["name"], said["error"]["kind"], said["error"]["node"]) == ("odd", "guest", "it")
    assert working.end() == 0
    lines = [(each["run"], each["status"]) for each in working.said if each["event"] == "run"]
    assert lines == [(before, "running"), (before, "complete"), (after, "running"), (after, "error")]
    found = commands.json("runs", "show", before)
    assert (found["outputs"], found["nodes"]["it"]["status"]) == ({"out": "done"}, "complete")
    shown = commands.run("runs", "show", after)
    assert "why       node 'it'" in shown
    assert "error" in shown


def test_a_second_one_on_the_same_data_says_so_and_ends(commands: Commands, house: House) -> None:
    working = house.work()
    assert "runs already" in commands.run("work", code=7)
    assert working.end() == 0
    lock = ProcessLock(house.path / "state" / LOCK)
    assert lock.take(), "the lock outlived its process"
    lock.release()


def test_hosts_that_share_a_server_do_not_keep_each_other_out_and_keep_a_restore_out(
    commands: Commands, house: House, queue: Queue, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands.run("backup", "b.tar.gz")
    monkeypatch.setenv("INNKEEPER_DATABASE_URL", postgres_url)
    hosts = [house.work(), house.work()]
    for _ in range(3):
        run = queue("Quick")
        eventually(lambda run=run: status(commands, run) == "complete")
    hosts.pop().end()
    assert "a host uses this home" in commands.run("restore", "b.tar.gz", "--home", str(house.path), "--force", code=7)
    assert hosts.pop().end() == 0
    # The file of the home is another database, whose queue is nobody else's.
    monkeypatch.delenv("INNKEEPER_DATABASE_URL")
    house.work()
    assert "runs already" in commands.run("work", code=7)


def test_what_runs_may_end_before_the_host_does(commands: Commands, house: House, queue: Queue) -> None:
    run = queue("Nap")
    working = house.work("--drain", "1h")
    working.run(run, "running")
    assert working.end() == 0
    assert status(commands, run) == "complete"


def test_what_does_not_end_in_time_is_interrupted(commands: Commands, house: House, queue: Queue) -> None:
    (house.path / "innkeeper.toml").write_text("[runs]\nparallel = 1\n")
    run, waits = queue("Sleep"), queue("Quick", "--priority", "-1")
    working = house.work("--drain", "0s")
    working.run(run, "running")
    assert working.end() == 6
    assert (status(commands, run), status(commands, waits)) == ("interrupted", "queued")


def test_a_second_signal_does_not_wait(commands: Commands, house: House, queue: Queue) -> None:
    run = queue("Sleep")
    working = house.work("--drain", "1h")
    working.run(run, "running")
    working.send(signal.SIGINT)
    working.until(lambda said: said["event"] == "closing")
    assert working.end(signal.SIGINT) == 6
    assert status(commands, run) == "interrupted"


@pytest.mark.parametrize(("running", "said"), [(1, "1 run has 30 s"), (2, "2 runs have 30 s")])
def test_at_the_end_people_hear_how_many_runs_are_waited_for(
    capfd: pytest.CaptureFixture[str], running: int, said: str
) -> None:
    Said(json=False).closing(running, 30.0)
    assert f"{said} to end; Ctrl-C interrupts" in capfd.readouterr().err


def test_a_run_that_may_begin_again_is_given_back(commands: Commands, house: House, queue: Queue) -> None:
    run = queue("Nap", "--after-crash", "again")
    working = house.work("--drain", "0s")
    working.run(run, "running")
    assert working.end() == 6
    assert working.said[-1]["status"] == "queued"
    second = house.work()
    second.run(run, "complete")
    assert commands.json("runs", "show", run)["attempt"] == 2


def test_what_a_killed_host_ran_is_interrupted_or_begins_again(commands: Commands, house: House, queue: Queue) -> None:
    run, again = queue("Sleep"), queue("Nap", "--after-crash", "again")
    working = house.work()
    working.run(run, "running")
    working.run(again, "running")
    working.kill()
    second = house.work()
    second.run(again, "complete")
    eventually(lambda: status(commands, run) == "interrupted")


def test_a_run_that_is_cancelled_ends_in_the_host(commands: Commands, house: House, queue: Queue) -> None:
    run = queue("Sleep")
    working = house.work()
    working.run(run, "running")
    commands.run("runs", "cancel", run)
    working.run(run, "cancelled")
    eventually(lambda: status(commands, run) == "cancelled")


def test_plugins_that_come_while_it_works_are_picked_up(house: House, queue: Queue) -> None:
    working = house.work()
    for ending in ("wasm", "toml"):
        text = (house.path / f"plugins/slow.{ending}").read_bytes()
        (house.path / f"plugins/other.{ending}").write_bytes(text.replace(b'id = "slow"', b'id = "other"'))
    said = working.until(lambda said: said["event"] == "change")
    assert said["plugin"] == "other"


def test_a_schedule_fires_once_and_is_gone(commands: Commands, house: House) -> None:
    schedule = commands.json("schedule", "add", house.workflow(), "--in", "100ms", "--name", "soon")["schedule"]
    working = house.work()
    said = working.until(lambda said: said.get("status") == "complete")
    assert said["name"] == "soon"
    assert commands.json("runs", "show", said["run"])["schedule"] == schedule
    assert commands.json("schedule", "list") == {"schedules": []}


def test_a_reader_that_goes_away_does_not_end_the_host(commands: Commands, house: House, queue: Queue) -> None:
    working = house.work()
    assert working.process.stdout is not None
    working.process.stdout.close()
    for _ in range(2):
        run = queue()
        eventually(lambda run=run: status(commands, run) == "complete")
    assert working.process.poll() is None


# --- watching ---------------------------------------------------------------------------------------------------------


def test_whoever_waits_sees_the_run_and_ends_as_it_does(house: House) -> None:
    house.work()
    for type_, code in (("Quick", 0), ("Fail", 1)):
        command = [sys.executable, "-m", "innkeeper", "run", house.workflow(type_), "--queue", "--wait"]
        ended = subprocess.run(command, capture_output=True, timeout=LONG, check=False, text=True)
        assert ended.returncode == code, ended.stderr
        assert "it: running" in ended.stdout
        assert ("== out ==\ndone" in ended.stdout) == (code == 0)
        assert ("node 'it'" in ended.stderr) == (code == 1)


def test_watching_goes_on_after_a_number(commands: Commands, house: House, queue: Queue) -> None:
    run = queue()
    working = house.work()
    working.run(run, "complete")
    lines = [json.loads(line) for line in commands.run("watch", run, "--json").splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["payload"] == {"promptId": run, "status": "complete"}
    later = [json.loads(line) for line in commands.run("watch", run, "--json", "--after", "2").splitlines()]
    assert later == lines[2:]
    # Whoever watches later learns when things happened, and how long they took.
    times = [line["timestamp"] for line in lines]
    shown = commands.json("runs", "show", run)
    assert shown["started"] - 60 < times[0] <= times[-1] < shown["ended"] + 60
    began, seconds = shown["nodes"]["it"]["began"], shown["nodes"]["it"]["seconds"]
    assert times[0] <= began <= began + seconds <= times[-1] + 1e-6
    said = commands.run("watch", run).splitlines()
    assert said[0] == f"{clock_text(times[1])} run: running"
    assert f"{clock_text(began + seconds)} it: complete {duration_text(seconds)}" in said
    assert duration_text(seconds) in commands.run("runs", "show", run)


def test_a_picture_of_a_workflow_shows_what_became_of_its_nodes_in_a_run(
    commands: Commands, house: House, queue: Queue
) -> None:
    run = queue("Fail")
    house.work().run(run, "error")
    assert 'class="plain became-error"' in commands.run("graph", house.workflow("Fail"), "--run", run[:8])
    assert "there is no run" in commands.run("graph", house.workflow("Fail"), "--run", "0000", code=2)


def test_watching_a_run_that_was_cancelled_says_so(commands: Commands, queue: Queue) -> None:
    run = queue()
    commands.run("runs", "cancel", run)
    assert "the run was cancelled" in commands.run("watch", run, code=6)


def test_the_end_of_watching_is_not_the_end_of_the_run(commands: Commands, house: House, queue: Queue) -> None:
    run = queue("Sleep")
    working = house.work()
    working.run(run, "running")
    watching = subprocess.Popen(
        [sys.executable, "-m", "innkeeper", "watch", run, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert watching.stdout is not None
    assert watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=LONG)
    assert watching.returncode == 6
    assert b"Traceback" not in err
    assert status(commands, run) == "running"


def test_bytes_of_an_input_reach_the_run(commands: Commands, house: House, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\x00\xff")
    payload: dict[str, Any] = one("Quick", interfaceInputs={"data": {"dataFlowType": "BINARY", "required": True}})
    payload["nodes"].append({"id": "in", "fullType": "core:GroupInput"})
    payload["interfaceOutputs"]["data"] = {"dataFlowType": "BINARY"}
    payload["outputInterfaceMappings"]["data"] = {"sourceNodeId": "in", "sourceSlotKey": "data"}
    file = tmp_path / "bytes.json"
    file.write_text(json.dumps(payload))
    working = house.work()
    run = commands.json("run", str(file), "--queue", "--input-file", f"data={tmp_path / 'data'}")["run"]
    working.run(run, "complete")
    assert commands.json("runs", "show", run)["outputs"] == {"out": "done", "data": "AP8="}
