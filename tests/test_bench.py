"""`innkeeper bench` measures what it says; nothing here depends on a clock being fast."""

from __future__ import annotations

import hashlib
import json
import os
import string
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper import InnkeeperError, open_host
from innkeeper.bench import (
    cache,
    cache_mix,
    chunks,
    epochs,
    flows,
    fresh,
    go,
    graphs,
    hostcalls,
    interrupts,
    loads,
    memo,
    modules,
    peer_extism,
    processes,
    ready,
    runner,
    runs,
    samples,
    svg,
    table,
    throughput,
    timing,
    waiting,
    workflows,
)
from innkeeper.bench.measured import EXTISM, INNKEEPER, PEERS, WASMTIME, Figure, Measured
from innkeeper.bench.report import Report
from innkeeper.bench.rows import ROWS, Row
from innkeeper.bench.workspace import Workspace
from innkeeper.cli.main import invoke
from innkeeper.errors import InternalError, UsageError
from innkeeper.plugins.catalogue import read_catalogue
from innkeeper.plugins.home import open_home
from innkeeper.sandbox.wasm import parse

ROOT = Path(__file__).parent.parent
GUESTS = ROOT / "plugins" / "_bench"
NEEDED = {"name", *PEERS, "unit", "ratio_to_extism"}
"""Keys that every row has, whoever reads it."""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace whose rows have one round each."""
    # What `use` sets ends with the test.
    for name in ("INNKEEPER_CACHE", "EXTISM_CACHE_CONFIG"):
        monkeypatch.setenv(name, "")
    made = Workspace(tmp_path, patience=0.0)
    made.use()
    return made


def _told(row: Row) -> dict[str, float]:
    return {name: 1.0 for _, name, _, _ in string.Formatter().parse(row.tells) if name}


def report_of(name: str, ours: float, theirs: float | None, **extra: float) -> Report:
    figures = {INNKEEPER: Figure(ours, ours, ours, 3)}
    if theirs is not None:
        figures[EXTISM] = Figure(theirs, theirs, theirs, 3)
    report = Report()
    report.add(ROWS[name], Measured(figures, {**_told(ROWS[name]), **extra}))
    report.close()
    return report


# Rows


@pytest.mark.parametrize("name", ["fresh-small", "warm", "fresh-64k", "warm-1m"])
def test_a_call_is_timed_beside_both_peers(name: str, workspace: Workspace) -> None:
    measured = fresh.measure(name, workspace)
    assert set(measured.figures) == set(PEERS)
    assert all(0 < figure.low <= figure.median <= figure.high for figure in measured.figures.values())


@pytest.mark.parametrize("name", ["host-call", "host-await"])
def test_host_calls_are_timed_beside_both_peers(
    name: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "HOST_CALLS", 20)
    assert set(hostcalls.measure(name, workspace).figures) == set(PEERS)


def test_guests_that_wait_are_timed_beside_both_peers(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "CALLS", 12)
    assert set(waiting.measure("waiting", workspace).figures) == set(PEERS)


def test_a_guest_that_computes_is_timed_beside_one_that_cannot_be_interrupted(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "_TIMES", 3)
    measured = epochs.measure("epochs", workspace)
    assert measured.extra["ratio_to_wasmtime_py"] > 0


def test_the_go_row_compares_with_their_warm_call_and_50_microseconds(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A small guest instead, since Go's takes seconds to compile.
    path = workspace.folder / "small.wasm"
    path.write_bytes(modules.made(900))
    monkeypatch.setattr(samples, "path_of", lambda name: path)
    monkeypatch.setattr(samples, "bytes_of", lambda name: path.read_bytes())
    monkeypatch.setattr(go, "_REST", 0.0)
    measured = go.measure("go", workspace)
    assert measured.figures[EXTISM].median == pytest.approx(measured.extra["extism_warm"] + 50)


def test_loads_are_timed_in_new_processes(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loads, "GUEST", samples.SMALL)
    measured = loads.measure("load-new-process", workspace)
    assert set(measured.figures) == set(PEERS)
    assert measured.extra["with_open_host"] >= measured.figures[INNKEEPER].median


def test_the_same_bytes_are_loaded_again_in_one_host(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loads, "GUEST", samples.SMALL)
    assert set(loads.measure("load-again", workspace).figures) == set(PEERS)


@pytest.mark.parametrize("name", ["twenty-plugins", "forty-modules"])
def test_many_modules_are_made_ready_and_called(
    name: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modules, "SIZES", (900, 1200))
    measured = ready.measure(name, workspace)
    assert set(measured.figures) == {INNKEEPER}
    assert measured.extra["without_cache"] > 0


def test_calls_of_two_processes_are_counted_together(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "_EACH", 0.02)
    measured = throughput.measure("two-cores", workspace)
    assert set(measured.figures) == set(PEERS)
    assert measured.extra["one_process"] > 0


def test_without_the_sdk_its_column_is_empty(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_extism, "installed", lambda: False)
    assert set(fresh.measure("fresh-small", workspace).figures) == {INNKEEPER, WASMTIME}


# Timing


async def test_peers_take_turns_round_by_round() -> None:
    order: list[str] = []

    def named(name: str) -> timing.Batch:
        async def batch(count: int) -> object:
            order.append(name)
            return "the same"

        return batch

    found = await timing.in_turns({"a": named("a"), "b": named("b")}, rounds=3, seconds=60.0, rest=0.0)
    assert order == ["a", "b"] * 3
    assert {figure.rounds for figure in found.values()} == {3}


async def test_a_peer_with_another_result_is_not_timed() -> None:
    batches = {"a": timing.looped(lambda: b"right"), "b": timing.looped(lambda: b"wrong")}
    with pytest.raises(InternalError, match="the results of a and b differ"):
        await timing.in_turns(batches, rounds=5, seconds=1.0)


async def test_there_is_a_round_even_without_time() -> None:
    found = await timing.in_turns({"a": timing.looped(lambda: 1)}, rounds=5, seconds=0.0)
    assert found["a"].rounds == 1


@settings(deadline=None)
@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=50))
def test_quartiles_lie_around_the_median_and_survive_the_pipe(taken: list[float]) -> None:
    figure = Figure.of(taken)
    assert min(taken) <= figure.low <= figure.median <= figure.high <= max(taken)
    measured = Measured({INNKEEPER: figure}, {"more": taken[0]})
    assert Measured.from_object(json.loads(json.dumps(measured.as_object()))) == measured


# Processes


def test_a_measuring_process_that_fails_says_why() -> None:
    with pytest.raises(InternalError, match=r"a measuring process failed \(1\): .*No module named"):
        processes.run("nothing_of_this_name")


def test_a_row_that_takes_too_long_is_ended_with_all_of_its_processes(workspace: Workspace) -> None:
    process = processes.start("throughput_once", INNKEEPER, str(workspace.folder), "60", group=True)
    with pytest.raises(InternalError, match="took more than"):
        processes.finish(process, longest=0.3)
    assert process.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_row_that_cannot_be_measured_has_its_reason(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(runner, "LONGEST", 0.01)
    assert invoke(["bench", "--only", "warm", "--json"]) == 70
    (row,) = json.loads(capfdbinary.readouterr().out)["rows"]
    assert row.keys() >= NEEDED
    assert row["innkeeper"] is None
    assert "took more than 0.01 s" in row["error"]


# The command


def test_the_command_writes_one_object_and_a_picture(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    picture = tmp_path / "bench.svg"
    assert invoke(["bench", "--only", "fresh-small", "--json", "--svg", str(picture)]) == 0
    written = capfdbinary.readouterr()
    found = json.loads(written.out)
    assert written.out.count(b"\n") == 1
    assert written.err == b""
    assert list(found) == ["machine", "versions", "rows"]
    (row,) = found["rows"]
    assert row.keys() >= NEEDED
    assert row["name"] == "fresh-small"
    assert row["unit"] == "us"
    assert row["ratio_to_extism"] == pytest.approx(row["innkeeper"] / row["extism"], rel=0.01)
    assert ElementTree.fromstring(picture.read_text("utf-8")).tag.endswith("svg")
    # Neither a host's name nor a path.
    assert set(found["machine"]) == {
        *("cores", "cpu", "os"),
        *("load_average", "load_average_after", "other_processes"),
    }


def test_a_wrong_name_is_a_usage_error_that_lists_the_rows(capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["bench", "--only", "fast"]) == 2
    error = capfd.readouterr().err
    assert all(name in error for name in ("'fast'", *ROWS))


def test_help_lists_the_rows(capfd: pytest.CaptureFixture[str]) -> None:
    assert invoke(["bench", "--only", "help"]) == 0
    assert [line.split()[0] for line in capfd.readouterr().out.splitlines()[1:]] == list(ROWS)


def test_a_picture_that_cannot_be_written_is_said_before_anything_is_measured(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["bench", "--svg", str(tmp_path / "missing" / "bench.svg")]) == 2
    assert "there is no such folder" in capfd.readouterr().err


def test_rows_are_measured_in_the_order_of_the_table() -> None:
    assert runner.chosen(["warm", "fresh-small", "warm"]) == ["fresh-small", "warm"]
    assert runner.chosen([]) == list(ROWS)
    with pytest.raises(UsageError):
        runner.chosen(["warm", "warmer"])


def test_what_several_rows_begin_with_means_all_of_them() -> None:
    assert runner.chosen(["cache"]) == ["cache-misses", "cache-read", "cache-invalidation"]
    # One that is a row itself means that alone.
    assert "warm-1m" not in runner.chosen(["warm"])
    with pytest.raises(UsageError):
        runner.chosen(["cach"])


@pytest.mark.parametrize("name", ["chunk-single", "chunk-many"])
def test_chunks_are_timed_from_guest_to_guest(name: str, workspace: Workspace) -> None:
    measured = chunks.measure(name, workspace)
    assert set(measured.figures) == {INNKEEPER}
    assert measured.figures[INNKEEPER].median > 0


@pytest.mark.parametrize("name", ["chain", "fan"])
def test_nodes_of_a_large_workflow_are_timed_beside_the_same_calls(name: str, workspace: Workspace) -> None:
    measured = workflows.measure(name, workspace)
    assert set(measured.figures) == {INNKEEPER}
    assert measured.extra["whole_ms"] > 0
    assert measured.extra["guests_ms"] > 0


@pytest.mark.parametrize("name", ["cache-misses", "cache-read", "cache-invalidation"])
def test_the_cache_of_the_server_is_timed_on_the_recorded_mix(
    name: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "ACCESSES", 2000)
    monkeypatch.setattr(cache, "_INVALIDATIONS", 200)
    measured = cache.measure(name, workspace)
    assert measured.figures[INNKEEPER].median > 0
    assert ROWS[name].tells.format(**measured.extra)


def test_the_recorded_mix_is_the_same_in_every_run() -> None:
    found = list(cache_mix.steps(20_000))
    assert found == list(cache_mix.steps(20_000))
    said = hashlib.sha256("\n".join(f"{step.kind} {step.key} {step.said}" for step in found).encode())
    assert said.hexdigest() == "19cd0bcc255f1aaad84a3293f821300dc9c2b331684f782fb7160cb6f5489859"
    assert {step.key for step in found if step.kind == "read"} <= set(cache_mix.every_key())
    kinds = [step.said.kind for step in found if step.said is not None]
    assert set(kinds) == {"key", "prefix", "pattern"}


def test_most_reads_of_the_recorded_mix_are_hits(workspace: Workspace) -> None:
    # Which they are depends on no clock: nothing is kept for so long that it ends meanwhile.
    measured = cache.measure("cache-misses", workspace)
    assert measured.figures[INNKEEPER].median < 20


@pytest.mark.parametrize("shape", [graphs.chain, graphs.fan])
def test_a_large_workflow_has_as_many_nodes_as_are_said_and_no_two_equal_calls(shape: Any) -> None:
    workflow = shape("some text")
    assert len({node["id"] for node in workflow["nodes"]}) == graphs.NODES
    assert len({json.dumps(node["inputs"]) for node in workflow["nodes"]}) == graphs.NODES
    targets = {edge["targetNodeId"] for edge in workflow["edges"]}
    assert len(targets) == graphs.NODES - 1


def test_a_stream_is_timed_through_a_workflow_with_what_memory_it_took(workspace: Workspace) -> None:
    measured = flows.measure("stream", workspace)
    assert measured.figures[INNKEEPER].median > 0
    assert measured.extra["chunks"] == 1000
    assert "grown_mib" in measured.extra


def test_the_lag_of_a_timer_is_taken_beside_runs_that_all_end_well(workspace: Workspace) -> None:
    measured = runs.measure("runs", workspace)
    figure = measured.figures[INNKEEPER]
    assert 0 <= figure.low <= figure.median <= figure.high
    assert measured.extra["runs_a_second"] > 0
    assert measured.extra["cores_busy"] > 0


def test_a_run_that_would_go_on_for_ever_is_timed_to_its_end(workspace: Workspace) -> None:
    measured = interrupts.measure("interrupt", workspace)
    assert 0 < measured.figures[INNKEEPER].median <= measured.extra["longest_ms"]


# What is shown


def test_what_else_was_found_is_told_below_the_table() -> None:
    rows = report_of("runs", 6.0, None, cores_busy=1.936, cores=2.0, runs_a_second=29.4).rows
    assert table.footnotes(rows)[-1] == "runs: 1.94 of 2 cores busy, 29 workflows of 8 nodes a second"


def test_a_ratio_is_ours_divided_by_theirs_and_judged_against_its_aim() -> None:
    (row,) = report_of("fresh-small", 15.0, 100.0).rows
    assert (row["ratio_to_extism"], row["met"], table.style(row)) == (0.15, False, "yellow")
    (row,) = report_of("fresh-small", 9.0, 100.0).rows
    assert (row["met"], table.style(row)) == (True, "green")
    (row,) = report_of("fresh-small", 90.0, 100.0).rows
    assert table.style(row) == "red"


def test_a_row_without_a_peer_is_judged_by_itself() -> None:
    (row,) = report_of("twenty-plugins", 99.0, None).rows
    assert (row["ratio_to_extism"], row["extism"], row["met"], table.style(row)) == (None, None, True, "green")
    (row,) = report_of("forty-modules", 301.0, None).rows
    assert (row["met"], table.cells(row)[-1]) == (False, "300 ms")


def test_the_table_says_what_the_peers_leave_out_and_how_busy_the_machine_was() -> None:
    report = report_of("warm", 10.0, 20.0)
    assert any("no guest ABI" in line for line in table.footnotes(report.rows))
    assert "load average" in report.busy()


def test_the_picture_has_a_bar_for_each_row_with_an_aim_and_loads_nothing() -> None:
    report = Report()
    for row in ROWS.values():
        figures = {INNKEEPER: Figure(500.0, 400.0, 600.0, 9), EXTISM: Figure(1.0, 1.0, 1.0, 9)}
        report.add(row, Measured(figures, _told(row)))
    report.close()
    found = report.as_object()
    found["machine"]["cpu"] = "<Fast & Furious>"
    picture = svg.draw(found)
    root = ElementTree.fromstring(picture)
    bars = [float(each.attrib["width"]) for each in root.iter() if each.attrib.get("class") == "slower"]
    assert len(bars) == sum(row.aim is not None for row in ROWS.values())
    assert max(bars) <= svg.BARS
    assert "<Fast" not in picture
    assert picture.count("http") == picture.count("http://www.w3.org/2000/svg") == 1


def test_the_picture_in_the_repository_is_one_of_ours() -> None:
    picture = (ROOT / "docs" / "bench.svg").read_text("utf-8")
    assert [row.title for row in ROWS.values() if row.aim is not None and row.title not in picture] == []
    assert ElementTree.fromstring(picture).tag.endswith("svg")


# The guests


def recorded() -> dict[str, Any]:
    found = tomllib.loads((GUESTS / "SOURCES.toml").read_text("utf-8"))
    return {name: record for name, record in found.items() if name != "tools"}


@pytest.mark.parametrize("name", recorded())
def test_a_guest_and_its_sources_are_those_that_were_recorded(name: str) -> None:
    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    again = "run `make plugins` and commit what it writes"
    record = recorded()[name]
    assert digest(GUESTS / name) == record["sha256"], again
    assert {path: digest(ROOT / path) for path in record["sources"]} == record["sources"], again
    sources = (ROOT / "pdk-samples" / "bench").rglob("*")
    present = {path.relative_to(ROOT).as_posix() for path in sources if path.is_file() and path.suffix != ".pyc"}
    assert present | {"pdk-samples/build.py"} == set(record["sources"]), again


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        (samples.SMALL, 1000, 10_000),
        (samples.LARGE, 1_000_000, 2_000_000),
        (samples.GO, 2_000_000, 4_400_000),
    ],
)
def test_a_guest_has_the_size_that_its_rows_promise(name: str, least: int, most: int) -> None:
    wasm = samples.bytes_of(name)
    assert least <= len(wasm) <= most
    assert str(ROOT).encode() not in wasm
    assert "echo" in parse(wasm).exports


def test_the_large_guest_has_the_code_of_the_small_one_and_thousands_of_functions() -> None:
    small, large = (parse(samples.bytes_of(name)) for name in (samples.SMALL, samples.LARGE))
    assert set(small.exports) < set(large.exports)
    assert set(large.exports) - set(small.exports) == {"dispatch"}


async def test_every_function_of_the_large_guest_can_be_called(workspace: Workspace) -> None:
    from innkeeper.bench.peer_innkeeper import functions

    async with open_host(workspace.home, catalogue=False) as host:
        plugin = await host.load(samples.path_of(samples.LARGE), functions=functions(), instance="shared")
        answers = set()
        for number in range(2200):
            answers.add((await plugin.call("dispatch", samples.number(number) + samples.number(7))).output)
    assert len(answers) > 2000


def test_the_guests_are_plugins_of_nobodys_home(tmp_path: Path) -> None:
    assert not {samples.SMALL, samples.LARGE, samples.GO} & set(read_catalogue(open_home(tmp_path)).entries)


async def test_made_modules_have_about_the_sizes_that_were_asked_for_and_all_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    monkeypatch.setattr(modules, "SIZES", (900, 2600, 31_000))
    paths = modules.write(tmp_path, 6)
    sizes = [path.stat().st_size for path in paths]
    assert all(
        0.85 * wanted < size < 1.15 * wanted for size, wanted in zip(sizes, (900, 2600, 31_000) * 2, strict=True)
    )
    assert len({path.read_bytes() for path in paths}) == 6
    async with open_host(workspace.home, catalogue=False) as host:
        for path in paths:
            try:
                plugin = await host.load(path)
            except InnkeeperError as error:
                pytest.fail(str(error))
            assert (await plugin.call("echo", b"x")).output == b"x"


@pytest.mark.parametrize("name", ["memo-small", "memo-64k"])
def test_a_remembered_call_is_timed_beside_a_fresh_one(name: str, workspace: Workspace) -> None:
    measured = memo.measure(name, workspace)
    assert set(measured.figures) == {INNKEEPER}
    hit, fresh = measured.extra["remembered_us"], measured.extra["fresh_us"]
    assert measured.figures[INNKEEPER].median == pytest.approx(100 * hit / fresh)


def test_no_other_row_remembers_anything() -> None:
    folder = ROOT / "host" / "innkeeper" / "bench"
    assert [path.name for path in sorted(folder.glob("*.py")) if "memo=" in path.read_text(encoding="utf-8")] == [
        "memo.py"
    ]
