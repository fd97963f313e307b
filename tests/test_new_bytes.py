"""A grant is for the bytes that it names. By policy it carries over to others that ask for no more, never to more."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from fakes import module
from innkeeper.cli.main import invoke
from innkeeper.plugins import home as home_module
from innkeeper.plugins.catalogue import Catalogue, read_catalogue
from innkeeper.plugins.home import open_home
from innkeeper.plugins.host import Host
from reload_homes import Inn, answer

SAME = '[policy]\nnew_bytes = "same"\n'


def request(*names: str) -> str:
    return "".join(f"[[capabilities]]\nname = '{name}'\nreason = 'r'\n" for name in names)


def plugin(*names: str, version: str = "1") -> bytes:
    return module("run", manifest=f'id = "a"\nversion = "{version}"\n{request(*names)}', salt=version)


def grant(wasm: bytes, given: list[str], asked: list[str] | None, more: str = "") -> str:
    consent = "" if asked is None else f'[consent]\nversion = "1"\nasked = {json.dumps(asked)}\n'
    digest = hashlib.sha256(wasm).hexdigest()
    return f'sha256 = "{digest}"\ncapabilities = {json.dumps(given)}\n{consent}{more}'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    folder = tmp_path / "home"
    for name in ("plugins", "manifests"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setenv("INNKEEPER_HOME", str(folder))
    return folder


def read(home: Path) -> Catalogue:
    return read_catalogue(open_home(home))


def rights(found: Catalogue) -> list[str]:
    return [str(each) for each in found.entries["a"].rights.capabilities]


@pytest.mark.parametrize(
    ("asked", "given", "wanted", "has"),
    [
        (["kv"], ["kv"], ["kv"], ["kv"]),
        (["kv"], ["kv:notes"], ["kv"], ["kv:notes"]),
        (["kv"], ["kv"], ["kv:notes"], ["kv:notes"]),
        (["kv"], ["kv"], [], []),
        (["kv", "clock"], ["kv"], ["clock", "kv"], ["kv"]),
        (["kv"], ["kv"], ["kv", "log"], ["kv"]),
        (["kv:notes"], ["kv:notes"], ["kv"], None),
        (["kv"], ["kv"], ["kv", "clock"], None),
        (["kv:a"], ["kv"], ["kv:b"], None),
        ([], ["kv"], ["kv"], None),
        (None, ["kv"], ["kv"], None),
        (None, ["kv"], [], None),
        (["http:https://a.example/*"], ["http:https://a.example/*"], ["http:https://a.example.org/*"], None),
    ],
)
def test_a_grant_carries_over_to_bytes_that_ask_for_no_more_and_to_no_others(
    home: Path, asked: list[str] | None, given: list[str], wanted: list[str], has: list[str] | None
) -> None:
    (home / "innkeeper.toml").write_text(SAME)
    (home / "plugins/a.wasm").write_bytes(plugin(*wanted, version="2"))
    written = grant(plugin("kv"), given, asked, '[limits]\nmemory = "1MiB"\n')
    (home / "manifests/a.toml").write_text(written)
    found = read(home)
    entry = found.entries["a"]
    if has is None:
        assert (entry.grant, entry.grant_state, rights(found), entry.limits.memory) == (None, "changed", [], 64 << 20)
        assert found.problems[0] == "manifests/a.toml: the file changed since it was granted; the grant is not used"
    else:
        assert (entry.grant_state, rights(found), entry.limits.memory) == ("carried", has, 1 << 20)
    assert (home / "manifests/a.toml").read_text() == written


def test_without_the_policy_other_bytes_get_nothing_and_it_is_said_once(home: Path) -> None:
    (home / "plugins/a.wasm").write_bytes(plugin(version="2"))
    (home / "manifests/a.toml").write_text(grant(plugin("kv"), ["kv"], ["kv"]))
    found = read(home)
    assert (found.entries["a"].grant_state, rights(found)) == ("changed", [])
    assert found.problems == ["manifests/a.toml: the file changed since it was granted; the grant is not used"]


def test_steps_do_not_add_up_to_more(home: Path) -> None:
    (home / "innkeeper.toml").write_text(SAME)
    (home / "manifests/a.toml").write_text(grant(plugin("kv", "clock"), ["kv", "clock"], ["kv", "clock"]))
    for wanted, has in ((["kv"], ["kv"]), (["kv", "clock"], ["kv", "clock"]), (["kv", "random"], [])):
        (home / "plugins/a.wasm").write_bytes(plugin(*wanted, version=str(len(wanted) + len(has))))
        assert rights(read(home)) == has


def test_lists_show_that_a_grant_was_carried_over_and_grant_makes_it_the_grant_of_the_new_bytes(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (home / "innkeeper.toml").write_text(SAME)
    (home / "plugins/a.wasm").write_bytes(plugin("kv", version="2"))
    (home / "manifests/a.toml").write_text(grant(plugin("kv"), ["kv"], ["kv"]))
    assert invoke(["plugins"]) == 0
    assert "yes: carried over from other bytes" in capfd.readouterr().out
    assert invoke(["grants", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["grants"][0]["state"] == "carried"
    assert invoke(["grant", "a", "--yes"]) == 0
    assert read(home).entries["a"].grant_state == "granted"


# --- while a host runs ------------------------------------------------------------------------------------------------


@pytest.fixture
def inn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inn:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    return Inn(tmp_path / "home")


def in_service(host: Host) -> list[str]:
    return [str(each) for each in host._roster.services["a"].generation.rights.capabilities]


def says(inn: Inn, text: str, *names: str) -> bytes:
    return inn.plugin(text, manifest=f'id = "a"\nversion = "1"\n{request(*names)}')


async def test_a_grant_for_other_bytes_is_said_once_while_the_host_runs(inn: Inn) -> None:
    path = inn.put("plugins/a.wasm", says(inn, "one", "kv"))
    inn.put("manifests/a.toml", grant(path.read_bytes(), ["kv"], ["kv"]))
    async with inn.host() as host:
        assert in_service(host) == ["kv"]
        path.write_bytes(says(inn, "two", "kv"))
        for _ in range(3):
            await host.reload()
        assert (await answer(host.plugins["a"]), host.plugins["a"].grant_state) == ("two", "changed")
        assert in_service(host) == []
        assert len([text for text in inn.texts("problem") if "manifests/a.toml" in text]) == 1


async def test_a_grant_carries_over_while_the_host_runs_and_is_recorded(inn: Inn) -> None:
    inn.put("innkeeper.toml", SAME)
    path = inn.put("plugins/a.wasm", says(inn, "one", "kv"))
    inn.put("manifests/a.toml", grant(path.read_bytes(), ["kv"], ["kv"]))
    async with inn.host() as host:
        assert (await answer(host.plugins["a"]), in_service(host)) == ("one", ["kv"])
        path.write_bytes(says(inn, "two", "kv:notes"))
        await host.reload()
        assert (await answer(host.plugins["a"]), host.plugins["a"].grant_state) == ("two", "carried")
        assert in_service(host) == ["kv:notes"]
        (said,) = inn.texts("changed")
        assert "manifests/a.toml, which is for other bytes, is in force for these" in said
        path.write_bytes(says(inn, "three", "kv", "clock"))
        await host.reload()
        assert (await answer(host.plugins["a"]), host.plugins["a"].grant_state) == ("three", "changed")
        assert in_service(host) == []


async def test_a_grant_that_was_carried_over_before_the_host_began_is_recorded_when_it_begins(
    inn: Inn, caplog: pytest.LogCaptureFixture
) -> None:
    inn.put("innkeeper.toml", SAME)
    inn.put("plugins/a.wasm", says(inn, "two", "kv"))
    inn.put("manifests/a.toml", grant(says(inn, "one", "kv"), ["kv"], ["kv"]))
    with caplog.at_level("INFO", logger="innkeeper"):
        async with inn.host() as host:
            assert in_service(host) == ["kv"]
    assert "plugins/a.wasm: manifests/a.toml, which is for other bytes, is in force for these" in caplog.text
