"""What crosses the border between a script and the host: every kind of value, and whatever a hostile script sends."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from innkeeper import GuestError, Host, LimitError
from innkeeper.bridge.host import open_host
from innkeeper.plugins import home as home_module
from innkeeper.sandbox.limits import MIB
from kb_fakes import FakeKnowledge

SCRIPT = Path(__file__).parent / "script" / "script.wasm"
README = Path(__file__).parent.parent / "pdk-samples" / "README.md"


class Echo(FakeKnowledge):
    """Keeps what the host was given, and gives it back."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Any] = []

    async def render(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.given.append(request["values"].get("it"))
        return {"text": "", "variables": dict(request["values"]), "note": ""}


def make_home(folder: Path) -> Path:
    home, notes = folder / "home", folder / "files" / "notes"
    for each in (home / "plugins", home / "manifests", notes):
        each.mkdir(parents=True)
    (notes / "today.txt").write_text("Buy oil. 买油。")
    (home / "innkeeper.toml").write_text(f"[files.roots]\nuser = {json.dumps(str(notes.parent))}\n")
    wasm = SCRIPT.read_bytes()
    (home / "plugins" / "script.wasm").write_bytes(wasm)
    given = 'capabilities = ["kb.read:world", "kv", "files.read:user://notes"]'
    (home / "manifests" / "script.toml").write_text(f'sha256 = "{hashlib.sha256(wasm).hexdigest()}"\n{given}\n')
    return home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    return make_home(tmp_path)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of many hosts, one after the other."""
    return make_home(tmp_path_factory.mktemp("script"))


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[tuple[Host, Echo]]:
    echo = Echo()
    async with open_host(home, watch=False, knowledge=echo.make) as host:
        yield host, echo


async def run(host: Host, script: str) -> str:
    """What a script's value is shown as."""
    data = json.dumps({"inputs": {"script": script}, "config": {}, "run": {"id": "", "node": ""}}).encode()
    answer = json.loads((await host.plugins["script"].call("run", data)).output)
    shown: str = answer["outputs"]["shown"]
    return shown


TABLE: list[tuple[str, Any, str]] = [
    ("null", None, "null"),
    ("undefined", None, "undefined"),
    ("[undefined, 1]", [None, 1], "[null,1]"),
    ("({a: undefined, b: null})", {"b": None}, '{"b":null}'),
    ("true", True, "true"),
    ("0", 0, "0"),
    ("-0", 0, "0"),
    ("-33", -33, "-33"),
    ("2 ** 53", 2**53, "9007199254740992"),
    ("2 ** 53 + 2", float(2**53 + 2), "9007199254740994"),
    ("1e300", 1e300, "1e+300"),
    ("0.1", 0.1, "0.1"),
    ("5e-324", 5e-324, "5e-324"),
    ("Infinity", math.inf, "Infinity"),
    ("5n", 5, "5"),
    ("2n ** 53n + 1n", 2**53 + 1, "9007199254740993n"),
    ("-(2n ** 63n)", -(2**63), "-9223372036854775808n"),
    ("2n ** 64n - 1n", 2**64 - 1, "18446744073709551615n"),
    ("'龙 \\u{1f409} \\0'", "龙 \U0001f409 \0", '"龙 \U0001f409 \\u0000"'),
    ("'a\\ud800b'", "a\ufffdb", '"a\ufffdb"'),
    ("'\\udc00\\ud800'", "\ufffd\ufffd", '"\ufffd\ufffd"'),
    ("new Uint8Array([0, 255])", b"\x00\xff", "bytes(0,255)"),
    ("new Uint8Array(70000)", bytes(70000), "bytes(" + ",".join("0" * 70000) + ")"),
    ("new Float32Array([0.5, 2])", [0.5, 2], "[0.5,2]"),
    ("({['__proto__']: {x: 1}, length: 2})", {"__proto__": {"x": 1}, "length": 2}, '{"__proto__":{"x":1},"length":2}'),
    ("({'\\ud800': 1})", {"\ufffd": 1}, '{"\ufffd":1}'),
    ("Array.from({length: 300}, (_, i) => i)", list(range(300)), "[" + ",".join(map(str, range(300))) + "]"),
    ("new Proxy({a: 1}, {})", {"a": 1}, '{"a":1}'),
    ("({get a() { return innkeeper.call('kb.render', {template: ''}).text + 'x'; }})", {"a": "x"}, '{"a":"x"}'),
]  # fmt: skip


async def test_each_kind_of_value_reaches_the_host_and_comes_back_as_what_it_was(home: Path) -> None:
    async with opened(home) as (host, echo):
        for script, given_to_host, shown in TABLE:
            echo.given.clear()
            assert await run(host, f"echo({script})") == shown, script
            (*_, got) = echo.given
            assert (got, type(got)) == (given_to_host, type(given_to_host)), script
        echo.given.clear()
        assert await run(host, "echo(NaN)") == "NaN"
        assert math.isnan(echo.given[0])


REFUSED = {
    "echo(2n ** 64n)": "RangeError: a BigInt for the host has at most 64 bits",
    "echo(-(2n ** 63n) - 1n)": "RangeError: a BigInt for the host has at most 64 bits",
    "echo(() => 1)": "TypeError: the host takes plain data: no functions and no symbols",
    "echo([Symbol()])": "TypeError: the host takes plain data: no functions and no symbols",
    "(() => { const a = []; a.push(a); return echo(a); })()": "RangeError: a value for the host is nested too deeply",
    "(() => { const o = {}; o.o = o; return echo(o); })()": "RangeError: a value for the host is nested too deeply",
    "(() => { let a = 1; for (let i = 0; i < 30; i++) a = [a]; return echo(a); })()": "BridgeError invalid: ",
    "(() => { let a = 1; for (let i = 0; i < 1e5; i++) a = [a]; return echo(a); })()": "RangeError: ",
    "echo({get a() { throw new Error('mine'); }})": "Error: mine",
    "echo(new Proxy({}, {ownKeys() { throw new Error('trap'); }}))": "Error: trap",
    "echo(Object.defineProperty([], 0, {get() { throw new Error('item'); }}))": "Error: item",
    "(() => { const {proxy, revoke} = Proxy.revocable({}, {}); revoke(); return echo(proxy); })()": "TypeError: ",
    "echo(new Array(20000).fill(0))": "BridgeError invalid: ",
    "echo('x'.repeat(2 << 20))": "BridgeError invalid: ",
    "innkeeper.call('kb.put', {base: 'world'})": "TypeError: the manifest requests no capability",
    "innkeeper.call('kb.nothing')": "TypeError: the manifest requests no capability",
    "innkeeper.call()": "TypeError: the manifest requests no capability",
    "innkeeper.call({toString() { throw new Error('name'); }})": "Error: name",
    "innkeeper.call('kb.render', 'text')": "TypeError: the arguments of 'kb.render' are an object",
    "innkeeper.call('kb.render', [])": "BridgeError invalid: kb.render takes a map",
    "innkeeper.call('kb.render')": "BridgeError invalid: kb.render",
    "innkeeper.call('kb.render', {template: 3})": "BridgeError invalid: kb.render: template",
    "innkeeper.call('kb.render', {template: '', other: 1})": "BridgeError invalid: kb.render: other",
    "innkeeper.call('kb.get', {base: 'secret', id: 'x'})": "BridgeError denied: ",
    "innkeeper.call('kb.get', {base: 'world', id: 'x'})": "BridgeError not_found: ",
    "innkeeper.readFile('/user/notes/none.txt')": "ReferenceError: there is no file",
    "innkeeper.readFile('/user/notes/../../home/innkeeper.toml')": "TypeError: ",
    "innkeeper.readFile('/etc/passwd')": "TypeError: '/etc/passwd' is in no folder that was granted",
    "innkeeper.readFile()": "TypeError: ",
}  # fmt: skip


async def test_what_is_no_plain_data_or_too_much_is_an_error_that_the_script_can_catch(home: Path) -> None:
    async with opened(home) as (host, echo):
        for script, said in REFUSED.items():
            answer: str = json.loads(await run(host, f"tried(() => {script})"))
            assert answer.startswith(said), (script, answer)
            assert str(home.parent) not in answer
        assert echo.given == []
        # Nothing of it is left: the next call is as any other.
        assert await run(host, "echo([1, 'two'])") == '[1,"two"]'


async def test_a_script_that_sends_without_end_is_stopped_and_the_host_goes_on(home: Path) -> None:
    endless = {
        "echo(new Array(4294967295))": (LimitError, GuestError),
        "echo(new Proxy({}, {ownKeys: () => Array.from({length: 1e7}, (_, i) => `${i}`)}))": (LimitError, GuestError),
        "for (;;) echo({get a() { return 'x'; }})": (LimitError, GuestError),
        "echo({get a() { for (;;); }})": (LimitError,),
        "for (let all = [];;) all.push(echo(new Uint8Array(1 << 18)))": (LimitError, GuestError),
    }  # fmt: skip
    async with opened(home) as (host, _):
        for script, kinds in endless.items():
            with trio.fail_after(60), pytest.raises(kinds):
                await run(host, script)
        assert await run(host, "'well'") == '"well"'
        (usage,) = [(await host.plugins["script"].call("run", b'{"inputs": {"script": "1"}}')).usage]
        assert usage.memory <= 64 * MIB


_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=6)
    ),
    max_leaves=40,
)


def _whole(value: Any) -> Any:
    """A value as JavaScript has it: its numbers are integers up to 2^53 where they have no fraction, else floats."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        return int(value) if abs(value) <= 2**53 and value == int(value) else float(value)
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return {key: _whole(each) for key, each in value.items()} if isinstance(value, dict) else value


async def _round_trip(home: Path, values: list[Any]) -> None:
    async with opened(home) as (host, echo):
        text = json.dumps(json.dumps(values))
        shown = await run(host, f"JSON.stringify(JSON.parse({text}).map((value) => ({{value: echo(value)}})))")
        assert echo.given == [_whole(value) for value in values]
        again = [each.get("value") for each in json.loads(json.loads(shown))]
        assert [_whole(value) for value in again] == [_whole(value) for value in values]


@given(st.lists(_PLAIN, min_size=1, max_size=25))
@settings(deadline=None, max_examples=6)
def test_whatever_json_can_say_goes_there_and_back(kept: Path, values: list[Any]) -> None:
    trio.run(_round_trip, kept, values)


async def test_the_guides_example_counts_its_calls_and_reads_a_granted_file(home: Path) -> None:
    (example,) = re.findall(r"```js\n(export function remember.*?)```", README.read_text("utf-8"), re.DOTALL)
    source = example.replace("export function", "function")
    async with opened(home) as (host, _):
        for count in (1, 2):
            script = f"{source}; remember({{inputs: {{note: 'today.txt'}}}})"
            assert await run(host, script) == f'{{"text":"Buy oil. 买油。","times":{count}}}'
        said = await run(
            host,
            f"{source}; (() => {{ try {{ remember({{inputs: {{note: 'none'}}}}); }} catch (e) {{ return e; }} }})()",
        )
        assert "there is no note 'none'" in said


def test_the_guest_of_these_tests_is_what_its_sources_give() -> None:
    import tomllib

    root = SCRIPT.parent.parent.parent
    recorded = tomllib.loads((SCRIPT.parent / "SOURCES.toml").read_text("utf-8"))["script.wasm"]
    assert recorded["sha256"] == hashlib.sha256(SCRIPT.read_bytes()).hexdigest()
    now = {path: hashlib.sha256((root / path).read_bytes()).hexdigest() for path in recorded["sources"]}
    assert now == recorded["sources"], "run `make plugins` and commit what it writes"
