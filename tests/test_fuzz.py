"""A short run of each fuzzing target, and that what a target finds is kept, whatever way its process ends."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from fuzz import __main__ as command
from fuzz.modules import module_text
from fuzz.plain import plain_engine
from fuzz.runner import CRASHES, Finding, Outcome, minimise, replay, run_target
from fuzz.target import kind, module_of, names

ROOT = Path(__file__).resolve().parent.parent
CASES = {
    "abi": 400,
    "backups": 1500,
    "bases": 400,
    "behaviour": 60,
    "cards": 300,
    "chats": 400,
    "codec": 3000,
    "lorebooks": 500,
    "macros": 2000,
    "manifests": 2000,
    "oracle": 12,
    "payloads": 800,
    "presets": 500,
    "random_modules": 60,
    "wasi": 80,
    "wasm_parser": 3000,
}
"""About a second each, and two to start."""


def test_every_target_has_a_short_run() -> None:
    assert sorted(CASES) == names()


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_short_run_finds_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The same inputs on each machine: each version of Binaryen, where there is one, makes others.
    monkeypatch.setenv("PATH", "")
    outcome = run_target(name, seed=1, cases=CASES[name], crashes=tmp_path)
    assert [f"{finding.what}\n{finding.report[-3000:]}" for finding in outcome.findings] == []
    assert outcome.cases == CASES[name]
    assert len(outcome.outcomes) > 3


BROKEN = """
import os, time
from fuzz.target import Target

class Fuzz(Target):
    hang = 1.0
    memory = 150 << 20
    def generate(self, rng, pool):
        return rng.randbytes(8) + b"{word}" * (rng.random() < 0.2)
    async def check(self, data):
        if b"{word}" in data:
            {harm}
        return str(len(data))
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for targets that find something."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "harm", "what"),
    [
        ("raises", "assert data is None, 'a promise'", "AssertionError: a promise"),
        ("dies", "os.kill(os.getpid(), 11)", "the process died: signal SIGSEGV"),
        ("exits", "os._exit(3)", "the process died: exit code 3"),
        ("hangs", "time.sleep(60)", "a hang: one input took more than 1 s"),
        ("swells", "self.much = b'x' * (200 << 20); time.sleep(60)", r"too much memory: \d+ MiB"),
    ],
)
def test_the_input_is_kept_whatever_way_the_process_ends(name: str, harm: str, what: str, broken: Path) -> None:
    (broken / f"broken_{name}.py").write_text(BROKEN.format(word=name, harm=harm))
    outcome = run_target(name, seed=3, cases=9, module=f"broken_{name}", crashes=broken / "crashes")
    (finding,) = outcome.findings
    assert re.fullmatch(what, finding.what)
    assert finding.file.read_bytes().endswith(name.encode())
    assert finding.file.with_suffix(".txt").read_text().startswith(finding.what)


def test_a_target_that_does_not_start_is_one_process_and_one_finding(broken: Path) -> None:
    (broken / "broken_start.py").write_text(
        "from fuzz.target import Target\n"
        "class Fuzz(Target):\n"
        "    async def __aenter__(self):\n"
        "        with open(__file__ + '.log', 'a') as log: log.write('started ')\n"
        "        raise RuntimeError('no engine')\n"
    )
    outcome = run_target("start", seed=3, cases=9, module="broken_start", crashes=broken / "one" / "crashes")
    assert [finding.what for finding in outcome.findings] == ["RuntimeError: no engine"]
    assert (broken / "broken_start.py.log").read_text() == "started "


def test_a_kept_input_can_be_tried_again_and_cut_down(broken: Path) -> None:
    (broken / "broken_word.py").write_text(BROKEN.format(word="word", harm="assert False, 'a promise'"))
    file = broken / "word-1"
    file.write_bytes(b"12345678word9")
    what, report = replay("word", file, "broken_word")
    assert what == "AssertionError: a promise"
    assert "Traceback" in report
    assert minimise("word", file, tries=40, module="broken_word") == b"word"
    file.write_bytes(b"harmless")
    assert replay("word", file, "broken_word")[0] is None


def test_the_same_seed_makes_the_same_inputs(tmp_path: Path) -> None:
    first, second = (run_target("manifests", seed=9, cases=300, crashes=tmp_path) for _ in range(2))
    assert first.outcomes == second.outcomes


def test_the_command_line_lists_the_targets() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "--list"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == names()


@pytest.mark.parametrize("found", [True, False])
def test_the_exit_code_and_the_last_line_say_whether_something_was_found(
    found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []

    def run(name: str, **options: Any) -> Outcome:
        asked.append({"name": name, **options})
        findings = [Finding("a hang", tmp_path / f"{name}-1", "")] if found and name == "wasi" else []
        return Outcome(name, options["seed"], findings=findings)

    monkeypatch.setattr(command, "run_target", run)
    assert command.main(["7", "abi", "wasi", "--seed", "5", "--crashes", str(tmp_path)]) == found
    assert [(one["name"], one["seconds"], one["seed"]) for one in asked] == [("abi", 7.0, 5), ("wasi", 7.0, 5)]
    said = capsys.readouterr()
    assert ("found something: wasi" in said.err) is found
    assert ("python -m fuzz --replay" in said.out) is found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "nothing"], "there is no target 'nothing'"),
        (["--seconds", "0"], "the seconds must be more than 0"),
        (["--cases", "0"], "the cases must be more than 0"),
        (["--jobs", "0"], "the jobs must be more than 0"),
        (["--replay", "gone"], "there is no file gone"),
    ],
)
def test_a_wrong_command_line_is_said(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_every_target_is_described_and_whether_coverage_can_lead_it() -> None:
    page = (ROOT / "fuzz" / "README.md").read_text("utf-8")
    assert sorted(re.findall(r"^\*\*(\w+)\*\*:", page, re.MULTILINE)) == names()
    able = [name for name in names() if kind(module_of(name)).guided]
    assert f"({', '.join(able)})" in " ".join(page.split())


def test_every_module_of_the_generator_is_valid() -> None:
    engine = plain_engine()
    for seed in range(60):
        for portable in (False, True):
            wasmtime.Module.validate(engine, wasmtime.wat2wasm(module_text(random.Random(seed), portable=portable)))


def test_crashes_are_no_part_of_the_project() -> None:
    assert f"{CRASHES.relative_to(ROOT).as_posix()}/" in (ROOT / ".gitignore").read_text().splitlines()
