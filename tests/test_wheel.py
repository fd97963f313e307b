"""What the wheel carries is enough: the sample workflow runs from any folder after an install."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 900
"""Seconds for one step; packages may come over a slow line."""


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    ended = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, encoding="utf-8", check=False, timeout=PATIENCE
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.fixture
def innkeeper(tmp_path: Path) -> Path:
    """The command, installed from a wheel of this checkout into an environment that has nothing else."""
    wheels, venv = tmp_path / "wheels", tmp_path / "venv"
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", wheels, ROOT)
    (wheel,) = wheels.glob("innkeeper-*.whl")
    run(sys.executable, "-m", "venv", venv)
    run(venv / "bin" / "python", "-m", "pip", "install", wheel)
    return venv / "bin" / "innkeeper"


@pytest.mark.soak
def test_the_sample_workflow_runs_from_an_empty_folder_after_an_install_of_the_wheel(
    innkeeper: Path, tmp_path: Path
) -> None:
    home, empty, sample = tmp_path / "home", tmp_path / "empty", tmp_path / "sample"
    for folder in (home, empty, sample):
        folder.mkdir()
    for name in ("read-the-docs.json", "text.md"):
        shutil.copy(ROOT / "docs" / "demo" / name, sample)
    # Nothing of this process's environment: no home of innkeeper, no path of Python, no folders of a desktop.
    alone = {"HOME": str(home), "PATH": os.defpath}

    where = run(
        innkeeper.with_name("python"), "-c", "import innkeeper; print(innkeeper.__file__)", cwd=empty, env=alone
    )
    assert Path(where.strip()).is_relative_to(innkeeper.parent.parent)

    arguments = ("run", sample / "read-the-docs.json", "--input-file", f"text={sample / 'text.md'}")
    out = run(innkeeper, *arguments, cwd=empty, env=alone)
    table, _, report = out.partition("== report ==\n")
    assert "core-basics" in table
    assert "core-messages" in table
    assert report.startswith("The text has ")
    assert "How often it mentions" in report
    assert list(empty.iterdir()) == []

    # The demo's world is imported as any base is; nothing came along that would give a plugin a right to it.
    shutil.copytree(ROOT / "docs" / "demo" / "lore" / "en", sample / "lore")
    run(innkeeper, "kb", "import", sample / "lore", "--no-embed", cwd=empty, env=alone)
    for name in ("set-the-scene.json", "chat.en.json"):
        shutil.copy(ROOT / "docs" / "demo" / name, sample)
    asked = ("run", sample / "set-the-scene.json", "--input-file", f"chat={sample / 'chat.en.json'}")
    scene = (*asked, "--input", "book=lantern-inn", "--json")
    refused = subprocess.run(
        (innkeeper, *scene), cwd=empty, env=alone, capture_output=True, encoding="utf-8", check=False, timeout=PATIENCE
    )
    assert refused.returncode != 0
    assert "innkeeper grant" in refused.stdout
    granted = json.loads(run(innkeeper, "grants", "--json", cwd=empty, env=alone))["grants"]
    assert {each["id"]: each["state"] for each in granted}.get("kb", "none") == "none"
    run(innkeeper, "grant", "kb", "--yes", "--only", "kb.read:lantern-inn", cwd=empty, env=alone)
    given = json.loads(run(innkeeper, *scene, cwd=empty, env=alone))["outputs"]
    assert "The Honest Toll" in given["trace"]
    assert "game master of the Lantern Inn" in given["prompt"]

    # Regular expressions are tested in a guest that travels, too.
    lines = (ROOT / "tests" / "worldinfo_cases_surprises.jsonl").read_text("utf-8").splitlines()
    assert any('"/' in line for line in lines)
    (sample / "cases.jsonl").write_text("\n".join(lines))
    cases = run(
        innkeeper, "kb", "cases", sample / "cases.jsonl", "--profile", "st-1.15", "--json", cwd=empty, env=alone
    )
    assert len(cases.splitlines()) == len(lines)

    # The guests of `innkeeper bench` travel as plugins do, and none of them is one.
    code = (
        "from innkeeper.bench import samples; print(*map(samples.path_of, (samples.SMALL, samples.LARGE, samples.GO)))"
    )
    guests = run(innkeeper.with_name("python"), "-c", code, cwd=empty, env=alone).split()
    assert len([path for path in map(Path, guests) if path.is_relative_to(innkeeper.parent.parent)]) == 3
    assert [Path(path).read_bytes()[:4] for path in guests] == [b"\0asm"] * 3
    assert run(innkeeper, "bench", "--only", "help", cwd=empty, env=alone).startswith("row ")
    listed = run(innkeeper, "plugins", cwd=empty, env=alone)
    assert "core-basics" in listed
    assert "problem" not in listed
