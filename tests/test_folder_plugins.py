"""A folder with plugin.json or plugin.yaml is one plugin: its module lies in it, and has the same rules as any."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from fakes import module
from innkeeper.cli.main import invoke
from innkeeper.plugins import home as home_module
from innkeeper.plugins import listing as listing_module
from innkeeper.plugins.catalogue import Catalogue, read_catalogue
from innkeeper.plugins.home import open_home
from native_homes import House
from reload_homes import Inn, answer

NODE = {"type": "A", "function": "run", "inputs": {"text": {"dataFlowType": "STRING"}}}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    return House(tmp_path / "home", on=False)


def read(house: House) -> Catalogue:
    return read_catalogue(open_home(house.path))


def shout(house: House, **more: Any) -> None:
    house.put("shout/plugin.json", json.dumps({"id": "shout", "version": "1.0", "wasm": "shout.wasm", **more}))
    house.put("shout/shout.wasm", module("run"))


def test_the_module_is_the_plugin_and_its_manifest_the_folders(house: House) -> None:
    shout(house, nodes=[NODE])
    house.put("shout/other.wasm", module("run", salt="x"))
    found = read(house)
    assert found.problems == []
    assert list(found.entries) == ["shout"]
    entry = found.entries["shout"]
    assert (entry.label, entry.path.name) == ("plugins/shout/shout.wasm", "shout.wasm")
    assert entry.module.digest == hashlib.sha256(module("run")).hexdigest()
    assert list(found.nodes) == ["shout:A"]


def test_yaml_says_the_same(house: House) -> None:
    house.put("deep/shout/bin/s.wasm", module("run"))
    house.put(
        "deep/shout/plugin.yaml",
        "id: shout\nversion: '1.0'\nwasm: bin/s.wasm\nnodes:\n- type: A\n  function: run\ncapabilities:\n"
        "- {name: kv, reason: remembers}\n",
    )
    found = read(house)
    assert found.problems == []
    assert found.entries["shout"].label == "plugins/deep/shout/bin/s.wasm"
    manifest = found.entries["shout"].module.manifest
    assert manifest is not None
    assert [each.name for each in manifest.capabilities] == ["kv"]


def test_what_comfytavern_writes_is_read_and_what_has_no_counterpart_is_kept(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    house.put("s/s.wasm", module("run"))
    foreign = {"frontend": {"type": "vanilla"}, "content_scripts": ["a.js"], "ui_slots": {"x": 1}, "configOptions": []}
    manifest = {"name": "shout", "displayName": "Shout!", "version": "1.0", "wasm": "s.wasm", "zebra": 7, **foreign}
    house.put("s/plugin.json", json.dumps(manifest | {"nodes": {"entry": "./nodes/index.ts"}}))
    found = read(house)
    assert found.problems == []
    said = found.entries["shout"].module.manifest
    assert said is not None
    assert (said.id, said.name) == ("shout", "Shout!")
    assert said.unused == {**foreign, "nodes": {"entry": "./nodes/index.ts"}, "zebra": 7}
    assert invoke(["--home", str(house.path), "plugins"]) == 0
    line = "shout says what this version does not use yet: frontend, content_scripts, ui_slots, configOptions, nodes,"
    assert line in capfd.readouterr().out


@pytest.mark.parametrize(("more", "name"), [({}, None), ({"displayName": "Shout!"}, "Shout!")])
def test_without_an_id_the_name_is_it(house: House, more: dict[str, str], name: str | None) -> None:
    house.put("s/s.wasm", module("run"))
    house.put("s/plugin.json", json.dumps({"name": "shout", "version": "1.0", "wasm": "s.wasm", **more}))
    found = read(house)
    assert found.problems == []
    said = found.entries["shout"].module.manifest
    assert said is not None
    assert said.name == name


def test_several_mistakes_are_all_said_at_once(house: House) -> None:
    manifest = {"id": "Shout", "wasm": "../s.wasm", "python": "1", "capabilities": [{"name": "everything"}]}
    house.put("s/plugin.json", json.dumps(manifest))
    text = "\n".join(read(house).problems)
    for key in ("id is", "version is missing", "wasm is", "python is", "both 'wasm' and 'python'", "capabilities[0]"):
        assert f"plugins/s/plugin.json: {key}" in text or f"plugins/s/plugin.json: has {key}" in text, key


@pytest.mark.parametrize("entry", [{}, {"nodes": {"entry": "./index.ts"}}])
def test_without_an_entry_it_is_no_plugin(house: House, entry: dict[str, Any]) -> None:
    house.put("s/plugin.json", json.dumps({"id": "s", "version": "1.0", **entry}))
    house.put("s/s.wasm", module("run"))
    found = read(house)
    assert "plugins/s/plugin.json: has no entry: add 'wasm'" in found.problems[0]
    assert not found.entries


def test_a_number_beyond_all_bounds_is_a_problem_of_its_plugin_and_of_no_other(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    shout(house)
    for name, number in (("one", "1" + ":0" * 200 + ".5"), ("two", "0x" + "f" * 6000)):
        house.put(f"{name}/plugin.yaml", f"id: {name}\nversion: '1'\nwasm: s.wasm\nfrontend: {number}\n")
    found = read(house)
    assert list(found.entries) == ["shout"]
    assert [text.partition(": ")[0] for text in found.problems] == [
        "plugins/one/plugin.yaml",
        "plugins/two/plugin.yaml",
    ]
    assert invoke(["--home", str(house.path), "plugins", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["problems"] == found.problems


def test_with_both_entries_it_is_no_plugin(house: House) -> None:
    shout(house, python="main:setup")
    found = read(house)
    assert "has both 'wasm' and 'python'" in found.problems[0]
    assert not found.entries
    assert not found.native


def test_with_both_manifests_it_is_no_plugin(house: House) -> None:
    shout(house)
    house.put("shout/plugin.yaml", "id: shout")
    assert read(house).problems == ["plugins/shout: has both plugin.json and plugin.yaml: remove one"]


@pytest.mark.parametrize(
    "name",
    ["../other.wasm", "/etc/x.wasm", "a/../../x.wasm", "./s.wasm", "a//s.wasm", "a\\s.wasm", "s.txt", "", "c:s.wasm"],
)
def test_an_entry_outside_of_the_folder_is_refused(house: House, name: str) -> None:
    house.put("other.wasm", module("run"))
    shout(house, wasm=name)
    found = read(house)
    assert list(found.entries) == ["other"]
    assert f"plugins/shout/plugin.json: wasm is {name!r}" in found.problems[0]


def test_an_entry_that_is_a_link_or_lies_behind_one_is_refused(house: House, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/s.wasm").write_bytes(module("run"))
    shout(house)
    (house.path / "plugins/shout/shout.wasm").unlink()
    os.symlink(tmp_path / "out/s.wasm", house.path / "plugins/shout/shout.wasm")
    shout_two = {"id": "two", "version": "1.0", "wasm": "in/s.wasm"}
    house.put("two/plugin.json", json.dumps(shout_two))
    os.symlink(tmp_path / "out", house.path / "plugins/two/in")
    found = read(house)
    assert not found.entries
    assert [problem.partition(":")[0] for problem in found.problems] == [
        "plugins/shout/shout.wasm",
        "plugins/two/in/s.wasm",
    ]
    assert all("is a link or lies behind one" in problem for problem in found.problems)


def test_a_manifest_that_is_a_link_is_refused(house: House, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text("{}")
    shout(house)
    (house.path / "plugins/shout/plugin.json").unlink()
    os.symlink(tmp_path / "m.json", house.path / "plugins/shout/plugin.json")
    assert read(house).problems == ["plugins/shout/plugin.json: is a symbolic link, which is not followed here"]


def test_a_manifest_of_the_modules_own_must_say_the_same(house: House) -> None:
    own = 'id = "shout"\nversion = "1.0"\n[[nodes]]\ntype = "A"\nfunction = "run"\n'
    house.put("shout/shout.wasm", module("run", manifest=own))
    same = {"id": "shout", "version": "1.0", "wasm": "shout.wasm", "nodes": [{"type": "A", "function": "run"}]}
    house.put("shout/plugin.json", json.dumps(same))
    assert read(house).problems == []
    house.put("shout/plugin.json", json.dumps(same | {"capabilities": [{"name": "kv", "reason": "more"}]}))
    assert "carries a manifest of its own" in read(house).problems[0]


def test_a_node_that_the_module_does_not_export_is_a_mistake(house: House) -> None:
    shout(house, nodes=[{**NODE, "function": "walk"}])
    assert "is 'walk', which the module does not export" in read(house).problems[0]


def test_a_module_that_is_none_is_named_by_its_own_file(house: House) -> None:
    shout(house)
    house.put("shout/shout.wasm", b"not wasm")
    assert read(house).problems[0].startswith("plugins/shout/shout.wasm: ")


def test_a_manifest_beside_the_plugins_makes_no_folder_of_them(house: House) -> None:
    house.put("plugin.json", "{}")
    house.put("p.wasm", module("run"))
    found = read(house)
    assert list(found.entries) == ["p"]
    assert found.problems == ["plugins/plugin.json: is not looked at; put the plugin into a folder of its own"]


def test_a_folder_with_very_many_files_is_not_used(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "MAX_FOLDER_ENTRIES", 5)
    shout(house)
    for number in range(5):
        house.put(f"shout/{number}.txt", "x")
    assert "has more than 5 files and folders" in read(house).problems[0]


def test_what_is_in_such_folders_counts_among_the_entries_of_the_home(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "MAX_ENTRIES", 10)
    shout(house)
    for number in range(10):
        house.put(f"shout/{number}.txt", "x")
    assert read(house).problems == ["plugins: has more than 10 entries; the rest is not looked at"]


def test_pictures_beside_a_module_shut_no_other_plugin_out(house: House) -> None:
    shout(house)
    with open(house.put("shout/film.bin", ""), "r+b") as film:
        film.truncate(2 << 30)
    house.put("z.wasm", module("run", salt="z"))
    found = read(house)
    assert found.problems == []
    assert sorted(found.entries) == ["shout", "z"]


def test_a_grant_is_for_the_bytes_of_the_module(house: House, capfd: pytest.CaptureFixture[str]) -> None:
    shout(house, capabilities=[{"name": "kv", "reason": "remembers"}])
    assert invoke(["--home", str(house.path), "grant", "shout", "--yes"]) == 0
    entry = read(house).entries["shout"]
    assert entry.grant is not None
    assert entry.grant.sha256 == hashlib.sha256(module("run")).hexdigest()
    assert entry.rights.allows("kv", "notes")
    house.put("shout/shout.wasm", module("run", salt="other"))
    assert not read(house).entries["shout"].rights.allows("kv", "notes")


# --- while a host runs ----------------------------------------------------------------------------------------------


async def test_a_host_follows_the_files_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    inn = Inn(tmp_path / "home")
    manifest = json.dumps({"id": "s", "version": "1.0", "wasm": "bin/s.wasm"})
    async with inn.host(watch=True) as host:
        inn.put("plugins/s/bin/s.wasm", inn.plugin("one"))
        inn.put("plugins/s/plugin.json", manifest.encode())
        await inn.until("added")
        plugin = host.plugins["s"]
        assert plugin.label == "plugins/s/bin/s.wasm"
        assert await answer(plugin) == "one"
        inn.put("plugins/s/bin/s.wasm", inn.plugin("two"))
        await inn.until("changed")
        assert await answer(plugin) == "two"
        # A broken manifest leaves the version before it in service.
        inn.put("plugins/s/plugin.json", b"{")
        await inn.until("problem")
        assert await answer(plugin) == "two"
        assert any(
            "plugins/s/plugin.json: is not JSON" in text and "stays in service" in text for text in host.problems
        )
        (inn.path / "plugins/s/plugin.json").write_text(manifest)
        await host.reload()
        assert host.problems == []
        (inn.path / "plugins/s/plugin.json").unlink()
        (inn.path / "plugins/s/bin/s.wasm").unlink()
        await inn.until("removed")
        assert "s" not in host.plugins


async def test_a_broken_manifest_is_said_with_what_stays_whatever_the_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    inn = Inn(tmp_path / "home")
    inn.put("plugins/box/bin/m.wasm", inn.plugin("one"))
    inn.put("plugins/box/plugin.json", json.dumps({"id": "s", "version": "1.0", "wasm": "bin/m.wasm"}).encode())
    async with inn.host() as host:
        assert await answer(host.plugins["s"]) == "one"
        for broken in (b"{", b"["):
            inn.put("plugins/box/plugin.json", broken)
            await host.reload()
            assert await answer(host.plugins["s"]) == "one"
            (problem,) = host.problems
            assert "plugins/box/plugin.json: is not JSON" in problem
            assert problem.endswith("; the version before it stays in service")
