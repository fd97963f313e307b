"""Nodes and plugins over HTTP: listed without a path of the host, turned off and on, configured, and nothing served but
the one folder that a plugin's manifest names."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guests import assemble
from http_users import ended, sent, slow_home, users_of
from innkeeper.cli.main import invoke
from innkeeper.plugins.grant import Grant, parse_grant
from innkeeper.plugins.paused import ALL, Paused, read_paused, write_paused
from innkeeper.server.answers import AnswerError
from innkeeper.server.plugins.assets import MOST_BYTES, PluginFrontEnd, parts_of, read_asset
from native_homes import House, node
from work_homes import MANIFEST, SLOW, one

SCHEMA = """
[config_schema]
type = "object"
additionalProperties = false
[config_schema.properties.language]
type = "string"
maxLength = 5
[config_schema.properties.turns]
type = "integer"
[config_schema.properties.token]
type = "string"
writeOnly = true
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return slow_home(tmp_path / "home")


# --- nodes ------------------------------------------------------------------------------------------------------------


async def test_nodes_are_listed_as_editors_read_them(home: Path) -> None:
    async with users_of(home) as users:
        answer = await users.ann.get("/api/nodes")
        nodes = {f"{each['namespace']}:{each['type']}": each for each in answer.json()}
        assert {"slow:Quick", "core:GroupInput", "core:NodeGroup"} <= set(nodes)
        quick = nodes["slow:Quick"]
        assert quick["inputs"]["text"]["dataFlowType"] == "STRING"
        assert quick["displayName"] == "Quick"
        assert quick["innkeeper"] == {"plugin": "slow", "native": False}
        assert str(home) not in answer.text
        assert "function" not in quick


async def test_a_client_that_has_the_list_is_not_sent_it_again_until_it_changes(home: Path) -> None:
    async with users_of(home) as users:
        first = await users.ann.get("/api/nodes")
        known = {"If-None-Match": first.headers["etag"]}
        again = await users.ann.get("/api/nodes", headers=known)
        assert (again.status_code, again.content) == (304, b"")
        (home / "plugins/slow.toml").write_text(MANIFEST.replace('"STRING"', '"WILDCARD"', 1))
        assert (await users.root.post("/api/nodes/reload")).json()["success"] is True
        other = await users.ann.get("/api/nodes", headers=known)
        assert other.status_code == 200
        assert other.headers["etag"] != first.headers["etag"]


async def test_fields_that_lead_to_files_are_not_listed(home: Path) -> None:
    place = "[nodes.inputs.text]"
    more = f'filePath = "/srv/hidden-place"\nclientScriptUrl = "x.js"\ntheirs = "kept"\n{place}'
    (home / "plugins/slow.toml").write_text(MANIFEST.replace(place, more, 1))
    async with users_of(home) as users:
        text = (await users.ann.get("/api/nodes")).text
        assert "kept" in text
        assert "hidden-place" not in text
        assert "x.js" not in text


async def test_there_are_no_scripts_of_nodes(home: Path) -> None:
    async with users_of(home) as users:
        answer = await users.ann.get("/api/nodes/slow/Quick/client-script/../../../innkeeper.toml")
        assert answer.status_code == 404
        answer = await users.ann.get("/api/nodes/slow/Quick/client-script/a.js")
        assert (answer.status_code, "no client script" in answer.json()["error"]) == (404, True)


# --- turning off and on -----------------------------------------------------------------------------------------------


async def test_a_plugin_that_is_turned_off_takes_no_calls_whatever_its_bytes_until_it_is_turned_on(home: Path) -> None:
    async with users_of(home) as users:
        answer = await users.root.put("/api/plugins/slow/state", json={"enabled": False})
        assert answer.json()["isEnabled"] is False
        # Twice is as once.
        assert (await users.root.put("/api/plugins/slow/state", json={"enabled": False})).status_code == 200
        assert "slow:Quick" not in (await users.ann.get("/api/nodes")).text
        said = await ended(users.ann, await sent(users.ann, one("Quick")))
        assert (said["status"], said["error"]["kind"]) == ("error", "busy")
        assert "root did so" in said["error"]["message"]
        (home / "plugins/slow.wasm").write_bytes(assemble(SLOW.replace("3600000000000", "3600000000001")))
        await users.root.post("/api/plugins/reload")
        assert (await ended(users.ann, await sent(users.ann, one("Quick"))))["status"] == "error"
    # It stays so over a restart.
    async with users_of(home) as users:
        assert (await ended(users.ann, await sent(users.ann, one("Quick"))))["status"] == "error"
        answer = await users.root.put("/api/plugins/slow/state", json={"enabled": True})
        assert answer.json()["isEnabled"] is True
        assert (await ended(users.ann, await sent(users.ann, one("Quick"))))["status"] == "complete"
    assert read_paused(home / "state") == {}


def test_commands_say_who_is_turned_off_and_turn_it_on(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_paused(home / "state", Paused("slow", ALL, 1.0, "root did so"))
    for command in (["plugins"], ["inspect", "slow"]):
        assert invoke(["--home", str(home), *command]) == 0
        assert "root did so" in capfd.readouterr().out
    assert invoke(["--home", str(home), "plugins", "resume", "slow"]) == 0
    assert read_paused(home / "state") == {}


@pytest.mark.parametrize("client", ["nobody", "ann", "key", "half"])
async def test_who_is_no_administrator_changes_nothing(home: Path, client: str) -> None:
    async with users_of(home) as users:
        asks = getattr(users, client)
        refused = 401 if client == "nobody" else 403
        for method, path, body in (
            ("PUT", "/api/plugins/slow/state", {"enabled": False}),
            ("POST", "/api/plugins/slow/settings", {"a": "b"}),
            ("GET", "/api/plugins/slow/settings", None),
            ("POST", "/api/plugins/reload", None),
            ("POST", "/api/nodes/reload", None),
        ):
            assert (await asks.request(method, path, json=body)).status_code == refused
        assert not (home / "manifests").exists()
        assert read_paused(home / "state") == {}


async def test_a_plugin_that_is_not_there_has_no_state(home: Path) -> None:
    async with users_of(home) as users:
        assert (await users.root.put("/api/plugins/none/state", json={"enabled": False})).status_code == 404
        assert (await users.root.put("/api/plugins/slow/state", json={"enabled": "perhaps"})).status_code == 422


async def test_a_native_plugin_is_listed_as_one_and_is_not_turned_off_here(tmp_path: Path) -> None:
    house = House(tmp_path / "home")
    house.native("raw", node('return {"out": 1}'))
    async with users_of(house.path) as users:
        [found] = [each for each in (await users.ann.get("/api/plugins")).json() if each["native"]]
        assert (found["name"], found["nodes"], found["isEnabled"]) == ("raw", ["raw:N"], True)
        nodes = (await users.ann.get("/api/nodes")).json()
        assert {"plugin": "raw", "native": True} in [each["innkeeper"] for each in nodes]
        assert (await users.root.put("/api/plugins/raw/state", json={"enabled": False})).status_code == 409


# --- configuration ----------------------------------------------------------------------------------------------------


async def test_a_configuration_is_written_into_the_grant_and_is_in_force(home: Path) -> None:
    (home / "plugins/slow.toml").write_text(MANIFEST.replace("[[nodes]]", SCHEMA + "[[nodes]]", 1))
    async with users_of(home) as users:
        answer = await users.root.post("/api/plugins/slow/settings", json={"language": "de", "turns": 3, "token": "s3"})
        assert answer.json()["values"] == {"language": "de", "turns": "3"}
        assert answer.json()["withheld"] == ["token"]
        assert users.parts.host.plugins["slow"].config == {"language": "de", "turns": "3", "token": "s3"}
        assert "s3" not in (await users.root.get("/api/plugins/slow/settings")).text
        answer = await users.root.post("/api/plugins/slow/settings", json={"turns": None})
        assert answer.json()["values"] == {"language": "de"}


@pytest.mark.parametrize(
    "settings",
    [
        {"language": "much too long"},
        {"turns": "many"},
        {"other": "x"},
        {"language": ["x"]},
        {"x" * 200: "y"},
        {str(number): "x" for number in range(300)},
        {"language": "\ud800"},
        [],
    ],
    ids=lambda value: str(value)[:20],
)
async def test_a_configuration_that_the_manifest_does_not_allow_is_refused(home: Path, settings: Any) -> None:
    (home / "plugins/slow.toml").write_text(MANIFEST.replace("[[nodes]]", SCHEMA + "[[nodes]]", 1))
    async with users_of(home) as users:
        body = json.dumps(settings).encode()
        answer = await users.root.post("/api/plugins/slow/settings", content=body)
        assert answer.status_code == 422
        assert not (home / "manifests").exists()


async def test_what_else_stands_in_a_grant_stays_and_nothing_is_granted(home: Path) -> None:
    (home / "manifests").mkdir()
    (home / "manifests/slow.toml").write_text(f'sha256 = "{"0" * 64}"\n[limits]\ncpu = "5s"\n[config]\na = "1"\n')
    async with users_of(home) as users:
        assert (await users.root.post("/api/plugins/slow/settings", json={"b": True})).status_code == 200
    found = parse_grant((home / "manifests/slow.toml").read_bytes(), where="")
    # For the bytes that it was for, and not for those that are there.
    assert found == Grant("0" * 64, limits={"cpu": 5}, config={"a": "1", "b": "true"})


async def test_a_grant_that_cannot_be_read_is_not_overwritten(home: Path) -> None:
    (home / "manifests").mkdir()
    (home / "manifests/slow.toml").write_text("sha256 = 7\n")
    async with users_of(home) as users:
        assert (await users.root.post("/api/plugins/slow/settings", json={"b": "x"})).status_code == 409
    assert (home / "manifests/slow.toml").read_text() == "sha256 = 7\n"


# --- front ends -------------------------------------------------------------------------------------------------------

FRONT = {"type": "vanilla", "vanilla": {"entry": "./main.js", "styles": ["a.css"], "rootDir": "web"}}


def front_home(home: Path, *, granted: bool = True) -> Path:
    folder = home / "plugins/front"
    (folder / "web/deep").mkdir(parents=True)
    wasm = assemble('(module (func (export "run")))')
    (folder / "front.wasm").write_bytes(wasm)
    manifest = {"id": "front", "version": "1", "wasm": "front.wasm", "frontend": FRONT}
    (folder / "plugin.json").write_text(json.dumps(manifest))
    (folder / "web/main.js").write_text("1")
    (folder / "web/deep/a.css").write_text("2")
    (folder / "web/page.html").write_text("<script>alert(1)</script>")
    (folder / "web/.hidden.js").write_text("3")
    if granted:
        (home / "manifests").mkdir()
        (home / "manifests/front.toml").write_text(f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\n')
    return folder


async def test_a_front_end_is_served_from_its_folder_and_is_no_page_of_the_host(home: Path) -> None:
    front_home(home)
    async with users_of(home) as users:
        [found] = [each for each in (await users.ann.get("/api/plugins")).json() if each["name"] == "front"]
        assert found["frontend"] == {"entryUrl": "/plugins/front/main.js", "styleUrls": ["/plugins/front/a.css"]}
        answer = await users.ann.get("/plugins/front/main.js")
        assert (answer.text, answer.headers["content-type"]) == ("1", "text/javascript; charset=utf-8")
        assert "sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        known = {"If-None-Match": answer.headers["etag"]}
        assert (await users.ann.get("/plugins/front/main.js", headers=known)).status_code == 304
        assert (await users.ann.get("/plugins/front/deep/a.css")).text == "2"


@pytest.mark.parametrize(
    "path",
    [
        "../plugin.json",
        "%2e%2e/plugin.json",
        "..%2fplugin.json",
        "deep/../../plugin.json",
        "deep%2f..%2f..%2ffront.wasm",
        "page.html",
        ".hidden.js",
        "deep",
        "deep/",
        "/etc/passwd",
        "main.js%00",
        "main.js/",
        "link.js",
        "out/main.js",
        "a" * 300 + ".js",
        "",
    ],
)
async def test_nothing_else_is_served(home: Path, path: str) -> None:
    folder = front_home(home)
    (home / "secret.js").write_text("secret")
    os.symlink(home / "secret.js", folder / "web/link.js")
    os.symlink(home, folder / "web/out")
    (home / "main.js").write_text("secret")
    async with users_of(home) as users:
        answer = await users.ann.get(f"/plugins/front/{path}")
        assert answer.status_code == 404
        assert "secret" not in answer.text


async def test_a_plugin_that_nobody_granted_anything_shows_nothing(home: Path) -> None:
    front_home(home, granted=False)
    async with users_of(home) as users:
        assert (await users.ann.get("/plugins/front/main.js")).status_code == 404
        assert (await users.nobody.get("/plugins/front/main.js")).status_code == 401


async def test_a_plugin_that_is_turned_off_shows_nothing(home: Path) -> None:
    front_home(home)
    async with users_of(home) as users:
        await users.root.put("/api/plugins/front/state", json={"enabled": False})
        assert (await users.ann.get("/plugins/front/main.js")).status_code == 404


def test_a_file_that_is_too_large_or_no_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    front_end = PluginFrontEnd(("web",), "main.js")
    with open(tmp_path / "web/big.js", "wb") as file:
        file.truncate(MOST_BYTES + 1)
    os.mkfifo(tmp_path / "web/pipe.js")
    for name, status in (("big.js", 413), ("pipe.js", 404)):
        with pytest.raises(AnswerError) as caught:
            read_asset(tmp_path, front_end, name)
        assert caught.value.status == status


@given(st.text(alphabet="./\\:%~a\0\n", max_size=30) | st.text(max_size=30))
def test_no_path_leads_out_of_its_folder(path: str) -> None:
    parts = parts_of(path)
    if parts is not None:
        joined = os.path.normpath(os.path.join("/base", *parts))
        assert joined.startswith("/base/")
        assert joined == "/base/" + "/".join(parts)


@pytest.mark.parametrize(
    "odd",
    [
        '"description": "\\ud800"',
        '"displayName": "\\udfff"',
        '"configOptions": ["\\ud800", {"\\ud800": 1}]',
        '"configOptions": [1e308, -1e308]',
        '"frontend": {"vanilla": {"entry": "\\ud800.js"}}',
        '"nodes": [{"type": "N", "function": "run", "theirs": "\\ud800", "description": "\\ud800"}]',
    ],
)
async def test_whatever_an_author_wrote_the_lists_are_there(home: Path, odd: str) -> None:
    folder = home / "plugins/odd"
    folder.mkdir()
    (folder / "odd.wasm").write_bytes(assemble('(module (func (export "run")))'))
    (folder / "plugin.json").write_text(f'{{"id": "odd", "version": "1", "wasm": "odd.wasm", {odd}}}')
    async with users_of(home) as users:
        for path in ("/api/plugins", "/api/nodes"):
            answer = await users.ann.get(path)
            assert answer.status_code == 200
            assert "slow" in answer.text
            json.loads(answer.content)


async def test_numbers_of_yaml_that_json_has_not_do_not_keep_the_list_away(home: Path) -> None:
    folder = home / "plugins/odd"
    folder.mkdir()
    (folder / "odd.wasm").write_bytes(assemble('(module (func (export "run")))'))
    (folder / "plugin.yaml").write_text('id: odd\nversion: "1"\nwasm: odd.wasm\nconfigOptions: [.nan, .inf, 1]\n')
    async with users_of(home) as users:
        assert (await users.ann.get("/api/plugins")).status_code == 200


# --- the page ---------------------------------------------------------------------------------------------------------


async def test_the_page_has_no_script_and_may_load_nothing(home: Path) -> None:
    async with users_of(home) as users:
        answer = await users.nobody.get("/")
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "<script" not in answer.text
        assert str(home) not in answer.text
