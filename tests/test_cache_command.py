"""`innkeeper cache`, and what a terminal shows while modules are compiled."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from heavy import eventually
from innkeeper.cli import progress, run_view
from innkeeper.cli.main import invoke
from innkeeper.cli.progress import compiling_shown
from innkeeper.plugins.configuration import parse_configuration
from innkeeper.plugins.tables import SettingsError
from innkeeper.sandbox.compilation.cache import Cache
from innkeeper.sandbox.compilation.entry import Label
from innkeeper.sandbox.compilation.progress import CacheTrouble, Compiling, Stage, listener
from innkeeper.sandbox.compilation.settings import fingerprint, new_engine
from innkeeper.sandbox.limits import GIB

FINGERPRINT = fingerprint(new_engine())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("INNKEEPER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("INNKEEPER_CACHE", str(tmp_path / "compiled"))
    cache = Cache(tmp_path / "compiled", GIB)
    now = int(time.time())
    cache.put(bytes(4096), Label("11" * 32, FINGERPRINT, "ab" * 32, 1_160_512, now, "core-messages"))
    cache.put(bytes(1024), Label("22" * 32, "00" * 32, "cd" * 32, 2000, now - 86_400 * 3, ""))
    (tmp_path / "compiled" / f"{'33' * 32}.cwasm").write_bytes(b"broken")
    cache.close()
    return tmp_path


def out(capfd: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert invoke(["cache", *arguments]) == code
    captured = capfd.readouterr()
    return captured.out if code == 0 else captured.err


def test_the_list_says_what_is_kept_and_in_which_state(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = out(capfd).splitlines()
    assert lines[0].split() == ["plugin", "sha256", "wasm", "size", "compiled", "last", "use", "state"]
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert "core-messages abababab 1.1 MiB 4.2 KiB just now just now current" in text
    assert "- cdcdcdcd 2.0 KiB 1.2 KiB 3 d ago just now of another version or machine" in text
    assert "- - - 6 B - just now not used: others may read or write it" in text
    assert lines[-1] == f"3 modules, 5.4 KiB of 1.0 GiB in {folder}/compiled (INNKEEPER_CACHE)"


def test_the_list_as_json(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = json.loads(out(capfd, "list", "--json"))
    assert (found["folder"], found["problem"], found["max_size"]) == (f"{folder}/compiled", None, 1 << 30)
    entries = {item["file"][:2]: item for item in found["entries"]}
    assert entries["11"]["plugin"] == "core-messages"
    assert entries["11"]["sha256"] == "ab" * 32
    assert entries["33"]["state"] == "not used: others may read or write it"
    assert found["size"] == sum(item["size"] for item in found["entries"])


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ((), ["11"]),
        (("--all",), []),
        (("--older-than", "1h"), ["11", "22", "33"]),
        (("--older-than", "1d", "--to", "1GB"), ["11", "22", "33"]),
        (("--to", "1"), []),
    ],
)
def test_prune_removes_what_it_is_asked_to(
    folder: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], left: list[str]
) -> None:
    text = out(capfd, "prune", *arguments)
    assert text.startswith(f"removed {3 - len(left)} file")
    assert sorted(path.name[:2] for path in (folder / "compiled").iterdir()) == left


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--all",), "--all: write innkeeper cache prune --all"),
        (("prune", "--all", "--to", "1MB"), "give --all or --to, not both"),
        (("prune", "--older-than", "soon"), "--older-than: 'soon' is not a duration; write it like 30d, 12h or 10min"),
        (("prune", "--older-than", "d"), "--older-than: 'd' is not a duration; write it like 30d, 12h or 10min"),
        (("prune", "--older-than", "5md"), "--older-than: '5md' is not a duration; write it like 30d, 12h or 10min"),
        (("prune", "--to", "much"), "--to: 'much' is not a size; write it like 64MiB, 512KiB or 4096"),
    ],
)
def test_mistakes_are_said(
    folder: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert out(capfd, *arguments, code=2) == f"innkeeper: {words}\n"


def test_a_folder_that_is_not_used_is_said(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "link").symlink_to("compiled")
    monkeypatch.setenv("INNKEEPER_CACHE", str(folder / "link"))
    reason = f"the cache is not used: {folder}/link is a link; name the folder itself"
    assert out(capfd) == reason + "\n"
    assert json.loads(out(capfd, "--json"))["problem"] == reason
    assert out(capfd, "prune", code=2) == f"innkeeper: {reason}\n"


def test_a_cache_that_is_off_is_said(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INNKEEPER_CACHE")
    (folder / "home/innkeeper.toml").write_text('cache = "off"\n')
    assert out(capfd) == "the cache is off (innkeeper.toml)\n"
    assert out(capfd, "prune", "--all") == "removed 0 files, 0 B\n"


def test_the_configuration_takes_a_folder_and_bounds() -> None:
    read = parse_configuration(
        b'cache = "/c"\n[bounds]\ncompile_cpu = "2min"\ncompile_memory = "2GiB"\ncache_size = 9\n'
    )
    assert read.cache == "/c"
    assert (read.bounds.compile_cpu, read.bounds.compile_memory, read.bounds.cache_size) == (120.0, 2 << 30, 9)


@pytest.mark.parametrize("text", ['"here"', "3", '"a\\u0000b"'])
def test_the_configuration_refuses_what_is_no_folder(text: str) -> None:
    with pytest.raises(SettingsError, match=r'cache is .*: it must be (an absolute path, or "off"|text)'):
        parse_configuration(f"cache = {text}".encode())


# --- progress ---------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def event(stage: Stage, key: str = "k", plugin: str | None = "core-messages") -> Compiling:
    return Compiling(key, plugin, 1_160_512, stage)


def tell(said: Any) -> None:
    hear = listener.get()
    assert hear is not None
    hear(said)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    made = Terminal()
    # The real one is pytest's own between a fixture and its test.
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=made))
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    return made


def shown(terminal: Terminal, words: str) -> bool:
    return eventually(lambda: words in terminal.getvalue())


def test_what_takes_long_to_compile_has_a_line_that_disappears(terminal: Terminal) -> None:
    with compiling_shown():
        tell(event(Stage.QUEUED))
        tell(event(Stage.COMPILING))
        assert shown(terminal, "compiling core-messages (1.2 MB) ...")
        tell(event(Stage.DONE))
        assert terminal.getvalue().endswith("\r\x1b[K")
    assert listener.get() is None


def test_several_have_one_line(terminal: Terminal) -> None:
    with compiling_shown():
        for key in "abc":
            tell(event(Stage.QUEUED, key, None))
        assert shown(terminal, "compiling a module (1.2 MB) and 2 more ...")
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_plugin_s_name_steers_no_terminal(terminal: Terminal) -> None:
    with compiling_shown():
        tell(event(Stage.QUEUED, plugin="\x1b]0;x\x07"))
        assert shown(terminal, r"compiling \x1b]0;x\x07 (1.2 MB)")


def test_what_is_compiled_quickly_is_not_mentioned(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 60.0)
    with compiling_shown():
        tell(event(Stage.QUEUED))
        tell(event(Stage.DONE))
    assert terminal.getvalue() == ""


def test_another_picture_can_take_the_text(terminal: Terminal) -> None:
    with compiling_shown(line=False) as compiling:
        assert compiling.text == ""
        tell(event(Stage.QUEUED))
        assert compiling.text == "compiling core-messages (1.2 MB) ..."
    assert terminal.getvalue() == ""


def test_trouble_with_the_cache_does_not_tear_another_picture(
    terminal: Terminal, capfd: pytest.CaptureFixture[str]
) -> None:
    with compiling_shown(line=False):
        tell(CacheTrouble("the cache is not used: /x is a link; name the folder itself"))
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "innkeeper: the cache is not used: /x is a link; name the folder itself\n"


def test_the_bar_of_a_run_says_what_is_compiled_and_which_nodes_run_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Terminal()
    monkeypatch.setattr("sys.stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    compiling: Any = SimpleNamespace(text="")
    with run_view.progress(["the-first", "the-second"], compiling) as receive:
        receive({"type": "NODE_EXECUTING", "payload": {"nodeId": "the-first"}})
        assert shown(made, "the-first")
        compiling.text = "compiling core-messages (1.2 MB) ..."
        assert shown(made, "compiling core-messages (1.2 MB) ...")


def test_trouble_with_the_cache_is_said_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with compiling_shown():
        tell(event(Stage.QUEUED))
        tell(CacheTrouble("the cache is not used: /x is a link; name the folder itself"))
        tell(event(Stage.DONE))
    assert capfd.readouterr().err == "innkeeper: the cache is not used: /x is a link; name the folder itself\n"
