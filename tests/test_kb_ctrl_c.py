"""Ctrl-C at any moment of long work on a base: one line, exit code 6, and what is kept is whole."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from innkeeper.bridge.bridge import FILE
from innkeeper.cli.main import invoke
from innkeeper.knowledge.opening import open_library
from innkeeper.knowledge.store.values import Report
from innkeeper.plugins.home import STATE
from innkeeper.storage.database import open_database
from innkeeper.storage.knowledge_model import Place

COUNT = 600
# A background child of a shell may have inherited that SIGINT is ignored.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from innkeeper.cli.main import main
print("ready", flush=True)
main(sys.argv[1:])
"""


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A world book that takes a second or so."""
    chance = random.Random(4)
    words = ["".join(chance.choices("abcdefghij", k=6)) for _ in range(3000)]
    entries = {
        str(at): {"uid": at, "key": chance.choices(words, k=4), "content": " ".join(chance.choices(words, k=60))}
        for at in range(COUNT)
    }
    path = tmp_path / "book.json"
    path.write_text(json.dumps({"entries": entries}))
    return path


def interrupted(after: float, *words: str) -> tuple[int, str]:
    """The exit code of a command that gets a SIGINT, and what it said."""
    command = [sys.executable, "-c", PROGRAM, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(after)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, said.decode()


def verified(home: Path, base: str) -> Report:
    async def main() -> Report:
        async with open_database(home / STATE / FILE) as db:
            library = open_library(db)
            try:
                await library.base(Place("default_user", base))
                return await library.verify(Place("default_user", base))
            finally:
                await library.aclose()

    return trio.run(main)


def listed(home: Path, capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capfd.readouterr()
    assert invoke(["--home", str(home), "kb", "list", "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capfd.readouterr().out)["bases"]
    return found


def test_an_import_that_ctrl_c_ends_leaves_whole_bases_or_none(
    tmp_path: Path, book: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(11)
    home = tmp_path / "home"
    home.mkdir()
    for attempt in range(4):
        words = ("--home", str(home), "kb", "import", str(book), "--id", f"b{attempt}", "--no-embed")
        code, said = interrupted(chance.uniform(0.2, 2.5), *words)
        assert code in (0, 6)
        assert "Traceback" not in said
        assert code == 0 or "cancelled" in said
    for known in listed(home, capfd):
        assert (known["problem"], known["entries"]) == (None, COUNT)
        assert invoke(["--home", str(home), "kb", "search", known["id"], "x", "--mode", "keyword"]) == 0
        report = verified(home, known["id"])
        assert (report.entries, report.problems) == (COUNT, [])
    assert invoke(["--home", str(home), "kb", "import", str(book), "--id", "last", "--no-embed"]) == 0
    assert not [path.name for path in (home / "knowledge").iterdir() if path.name.startswith(".import-")]


def test_an_embedding_that_ctrl_c_ends_keeps_what_was_made_and_goes_on(
    tmp_path: Path, book: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(12)
    home = tmp_path / "home"
    home.mkdir()
    assert invoke(["--home", str(home), "kb", "import", str(book), "--id", "b", "--no-embed"]) == 0
    for _ in range(3):
        code, said = interrupted(chance.uniform(0.2, 1.5), "--home", str(home), "kb", "embed", "b")
        assert code in (0, 6)
        assert "Traceback" not in said
        assert verified(home, "b").problems == []
    capfd.readouterr()
    assert invoke(["--home", str(home), "kb", "embed", "b", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["entries"] == COUNT
    report = verified(home, "b")
    assert (report.entries, report.embedded, report.problems) == (COUNT, COUNT, [])
