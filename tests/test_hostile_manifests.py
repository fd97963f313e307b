"""A home whose every author is hostile: names, reasons and exports that would steer a terminal, forge a line or flood
it, in every command, as JSON or not, and in the host's log."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from fakes import module
from innkeeper import open_host
from innkeeper.cli.main import invoke
from innkeeper.plugins import home as home_module
from innkeeper.plugins.manifest_table import KEYS
from innkeeper.plugins.tables import MAX_BYTES
from innkeeper.printable import UNSAFE

EVIL = "\x1b[2J\x1b]0;t\x07\r\n\x9b31m\u202eok\u2028\u2066\x7f\b"
"""Clears a screen, names a window, begins lines, turns text around."""

FORGED = "a\ninnkeeper: granted everything\n\x1b[1A"
GIANT = "W\u0336" * 40_000
MOST_SHOWN = 200_000
"""Characters that one command may print of one plugin; a screen has some thousands."""

SAFE = {chr(code) for code in UNSAFE} - {"\n"}


def literal(value: Any) -> str:
    """A value as TOML: JSON's texts, numbers and arrays are TOML's as well, but for DEL."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)} = {literal(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    return json.dumps(value).replace("\x7f", "\\u007f")


def manifest(**fields: Any) -> str:
    table = {"id": "demo", "version": "1.0", **fields}
    return "".join(f"{key} = {literal(value)}\n" for key, value in table.items())


def slots(text: str) -> dict[str, Any]:
    return {"dataFlowType": "STRING", "displayName": text, "description": text}


def talkative(text: str) -> str:
    """A manifest that is right, with the text wherever an author may write what they want."""
    return manifest(
        name=text,
        description=text,
        author=text,
        license=text,
        homepage=text,
        repository=text,
        category=text[:60],
        keywords=[text[:60], "b" + text[:60]],
        readme=text,
        capabilities=[
            {"name": "kv", "reason": text, "optional": True},
            {"name": "call:words/count", "reason": text, "optional": True},
        ],
        config_schema={
            "type": "object",
            "properties": {"a": {"type": "string", "title": text, "description": text, "default": text}},
        },
        nodes=[
            {
                "type": "N", "function": "run", "displayName": text, "description": text, "category": text,
                "inputs": {"a": slots(text)}, "outputs": {"b": slots(text)},
            }
        ],
        dependencies=[{"id": "other", "versions": ">=1", "optional": True}],
    )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "home"
    for name in ("plugins", "manifests"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setenv("INNKEEPER_HOME", str(folder))
    monkeypatch.setenv("COLUMNS", "120")
    return folder


def put(home: Path, text: str, *exports: str) -> None:
    wasm = module("run", *exports, salt="hostile")
    (home / "plugins" / "demo.wasm").write_bytes(wasm)
    (home / "plugins" / "demo.toml").write_text(text)


COMMANDS = (
    ("plugins",), ("inspect", "demo"), ("grant", "demo"), ("grant", "demo", "--yes"), ("grants",),
    ("call", "demo", "gone"), ("call", "demo", "run", "--input", "x"), ("config",), ("doctor", "--security"),
    ("journals",), ("revoke", "demo"), ("grants",), ("trust", "plugins/demo"), ("plugins",), ("cache",),
)  # fmt: skip


@pytest.fixture
def said(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, str]]:
    """Runs all commands; what each said, once nothing of it steers a terminal."""

    def run(commands: tuple[tuple[str, ...], ...] = COMMANDS) -> dict[str, str]:
        found = {}
        with open(os.devnull) as nothing:
            monkeypatch.setattr(sys, "stdin", nothing)
            for more in ((), ("--json",)):
                for command in commands:
                    invoke([*command, *more])
                    out, err = capfd.readouterr()
                    text = out + err
                    assert not SAFE & set(text), (command, sorted(SAFE & set(text)))
                    assert "Traceback" not in text, command
                    assert len(text) < MOST_SHOWN, (command, len(text))
                    assert "\ninnkeeper: granted" not in text, command
                    found[" ".join((*command, *more))] = text
        return found

    return run


@pytest.mark.parametrize("text", [EVIL, FORGED], ids=["escapes", "lines"])
def test_nothing_that_an_author_writes_steers_a_terminal_in_any_command(home: Path, said: Any, text: str) -> None:
    put(home, talkative(text), "f" + text)
    found = said()
    # It was shown, as text: a plugin that is refused proves nothing.
    assert '"id": "demo"' in found["plugins --json"]
    assert "\\x1b" in found["inspect demo"]
    assert "\\x1b" in found["grant demo --yes"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "value",
    [EVIL, GIANT, [EVIL] * 3, {EVIL: EVIL, GIANT[:2000]: 1}, [{"name": EVIL, "reason": GIANT, "type": EVIL}]],
    ids=["escapes", "giant", "list", "table", "tables"],
)
def test_a_manifest_that_is_wrong_is_said_in_lines_that_are_safe_and_bounded(
    home: Path, said: Any, key: str, value: Any
) -> None:
    put(home, manifest(**{key: value}))
    said((("plugins",), ("inspect", "demo")))


def test_keys_that_nobody_knows_are_shown_safely(home: Path, said: Any) -> None:
    put(home, manifest(**{EVIL: EVIL, FORGED: 1, **{f"k{number}\x1b": 1 for number in range(3000)}}))
    found = said((("plugins",), ("inspect", "demo"), ("grant", "demo")))
    assert "demo" in found["plugins"]


def test_a_manifest_as_large_as_may_be_floods_no_terminal(home: Path, said: Any) -> None:
    text = talkative("\u4e00" * 900)
    many = [
        {"name": f"http:https://{number}.example.com/*", "reason": "W" * 990, "optional": True} for number in range(64)
    ]
    text = text.replace(
        text[text.index("capabilities =") : text.index("config_schema =")], f"capabilities = {literal(many)}\n"
    )
    assert len(text.encode()) < MAX_BYTES
    put(home, text, *(f"f{number}" + "g" * 200 for number in range(2000)))
    said((("plugins",), ("grant", "demo"), ("grant", "demo", "--yes"), ("grants",)))


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_a_folder_with_a_hostile_manifest_steers_no_terminal_either(home: Path, said: Any, kind: str) -> None:
    (home / "innkeeper.toml").write_text("native_plugins = true\n")
    folder = home / "plugins" / "n"
    folder.mkdir()
    capabilities = [{"name": "kv", "reason": EVIL, "optional": True}]
    table = {"id": "n", "version": "1", "name": EVIL, "description": FORGED, "python": "main:setup", EVIL: FORGED}
    (folder / f"plugin.{kind}").write_text(json.dumps({**table, "capabilities": capabilities}))
    (folder / "main.py").write_text(f"def setup(api):\n    api.log.info({EVIL!r})\n    raise ValueError({EVIL!r})\n")
    (folder / f"b{EVIL.replace('/', '')}.txt").write_text("")
    said(
        (
            ("plugins",),
            ("trust", "n"),
            ("trust", "n", "--yes"),
            ("plugins",),
            ("doctor", "--security"),
            ("distrust", "n"),
        )
    )


@pytest.mark.parametrize(
    "name",
    [f"a{EVIL}.wasm", f"{FORGED}.wasm", "\udcff\udc9b31m.wasm", "x" * 240 + ".wasm"],
    ids=["e", "f", "bytes", "long"],
)
def test_names_of_files_steer_neither_a_terminal_nor_the_hosts_log(
    home: Path, said: Any, name: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for data in (b"no module", module("run", salt="a")):
        (home / "plugins" / name).write_bytes(data)
        (home / "manifests" / name.replace(".wasm", ".toml")).write_bytes(b"sha256 = 3")
        said((("plugins",), ("grants",), ("doctor", "--security")))
    (home / "plugins" / name).unlink()

    async def watched() -> None:
        async with open_host(home, watch=False) as host:
            (home / "plugins" / name).write_bytes(b"no module")
            await host.reload()
            (home / "plugins" / name).write_bytes(module("run", salt="b"))
            await host.reload()
            (home / "plugins" / name).unlink()
            await host.reload()

    with caplog.at_level(logging.DEBUG, "innkeeper"):
        trio.run(watched)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("innkeeper")]
    assert lines
    for line in lines:
        assert line.isprintable(), line
        assert len(line) < 4000
    assert not SAFE & set(capfd.readouterr().err)


@pytest.mark.parametrize(
    "twin", ["dem0", "d\u0435mo", "demo\u200b", "Demo", "DEMO", "demo.", "..", "demo/..", "\uff44emo"]
)
def test_an_id_that_looks_like_another_is_no_id_or_another_plugin(home: Path, said: Any, twin: str) -> None:
    put(home, manifest(capabilities=[{"name": "kv", "reason": "r", "optional": True}]))
    invoke(["grant", "demo", "--yes"])
    (home / "plugins" / "twin.wasm").write_bytes(module("run", salt="twin"))
    (home / "plugins" / "twin.toml").write_text(f"id = {literal(twin)}\nversion = '1'\n")
    found = json.loads(said((("plugins",),))["plugins --json"])
    demo = next(each for each in found["plugins"] if each["id"] == "demo")
    assert demo["grant"] == "granted"
    others = [each for each in found["plugins"] if each["id"] != "demo" and not each["shipped"]]
    assert all(each["grant"] == "none" and each["id"].isascii() for each in others)
    assert len(others) == (1 if twin in ("dem0", "demo.") else 0)


def graphs(text: str) -> list[dict[str, Any]]:
    """Workflows with the text wherever their author may write what they want: some check, some do not."""
    node = {"id": text, "fullType": "demo:N", "inputs": {"a": text}, "displayName": text, "configValues": {text: text}}
    interface = {"interfaceInputs": {text: slots(text)}, "interfaceOutputs": {text: slots(text)}}
    right = {"nodes": [{"id": text, "fullType": "demo:N", "inputs": {"a": text}}], "edges": []}
    return [
        right,
        {"nodes": [node], "edges": []},
        {**right, "name": text, "metadata": {text: text}, text: text},
        {**right, **interface, "outputInterfaceMappings": {text: {"sourceNodeId": text, "sourceSlotKey": "b"}}},
        {"nodes": [node, node], "edges": [{"id": text, "sourceNodeId": text, "targetNodeId": text}]},
        {"nodes": [{"id": text, "fullType": text}], "edges": [{text: text}]},
        {"nodes": [{"id": text, "fullType": f"demo:{text}"}, text], "edges": text},
    ]


@pytest.mark.parametrize("text", [EVIL, FORGED, GIANT[:5000]], ids=["escapes", "lines", "giant"])
def test_a_hostile_workflow_steers_no_terminal_either(home: Path, said: Any, tmp_path: Path, text: str) -> None:
    put(home, talkative("t"))
    for number, graph in enumerate(graphs(text)):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(graph))
        run = ("run", str(file))
        found = said((run, (*run, "--events"), (*run, "--input", f"{text}={text}"))) if number < 4 else said((run,))
        assert any(each.strip() for each in found.values())
