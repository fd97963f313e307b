"""A short run of each fuzzing target, and that what a target finds is kept, whatever way its process ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fuzz.runner import CRASHES, minimise, replay, run_target  # noqa: E402 (fuzz/ is no installed package)
from fuzz.target import names  # noqa: E402

CASES = {
    "abi": 400,
    "behaviour": 60,
    "codec": 3000,
    "manifests": 2000,
    "oracle": 12,
    "payloads": 800,
    "random_modules": 60,
    "wasi": 80,
    "wasm_parser": 3000,
}
"""About a second each, and two to start."""


def test_every_target_has_a_short_run() -> None:
    assert sorted(CASES) == names()


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_short_run_finds_nothing(name: str, tmp_path: Path) -> None:
    outcome = run_target(name, seed=1, cases=CASES[name], crashes=tmp_path)
    assert [f"{finding.what}\n{finding.report[-3000:]}" for finding in outcome.findings] == []
    assert outcome.cases == CASES[name]
    assert len(outcome.outcomes) > 3


BROKEN = """
import os, time
from fuzz.target import Target

class Fuzz(Target):
    hang = 1.0
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
    ],
)
def test_the_input_is_kept_whatever_way_the_process_ends(name: str, harm: str, what: str, broken: Path) -> None:
    (broken / f"broken_{name}.py").write_text(BROKEN.format(word=name, harm=harm))
    outcome = run_target(name, seed=3, cases=9, module=f"broken_{name}", crashes=broken / "crashes")
    assert [finding.what for finding in outcome.findings] == [what]
    kept = outcome.findings[0].file
    assert kept.read_bytes().endswith(name.encode())
    assert kept.with_suffix(".txt").read_text().startswith(what)


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


def test_every_module_of_the_generator_is_valid() -> None:
    import random

    from fuzz.engines import plain_engine
    from fuzz.modules import module_text

    engine = plain_engine()
    for seed in range(60):
        for portable in (False, True):
            wasmtime.Module.validate(engine, wasmtime.wat2wasm(module_text(random.Random(seed), portable=portable)))


def test_crashes_are_no_part_of_the_project() -> None:
    assert f"{CRASHES.relative_to(ROOT).as_posix()}/" in (ROOT / ".gitignore").read_text().splitlines()
