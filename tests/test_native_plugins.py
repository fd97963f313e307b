"""What runs natively works beside guests, is marked everywhere, and whatever it raises stays its own."""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import FakeEngine, module
from innkeeper import GuestError, LimitError
from innkeeper.bridge.bridge import bridge_of
from innkeeper.bridge.codec import decode
from innkeeper.bridge.host import open_host
from innkeeper.bridge.native import NativeBridge
from innkeeper.errors import InnkeeperError
from innkeeper.plugins import home as home_module
from innkeeper.plugins.host import open_host as open_bare_host
from innkeeper.plugins.native import tier as tier_module
from innkeeper.plugins.native.contain import PluginError, contained
from innkeeper.storage.audit import AuditKind, AuditLog
from innkeeper.storage.database import open_database
from innkeeper.storage.kv import KvStore
from innkeeper.storage.run_model import USER, Account
from innkeeper.workflow.engine.run import run_workflow
from innkeeper.workflow.formats.payload import read_payload
from innkeeper.workflow.runner import WorkflowRunner
from innkeeper.workflow.scheduling.execution import Task
from native_homes import House, node, run, workflow
from run_fakes import NoSink, stored_run

KV = [{"name": "kv", "reason": "remembers"}]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(home_module, "_PACKAGE", tmp_path / "package")
    return House(tmp_path / "home")


async def out(house: House, code: str, **more: Any) -> Any:
    """What the node of a plugin with this code gives, or the error that it ends with."""
    house.native("p", code, **more)
    async with house.host() as host:
        assert host.problems == []
        outcome = (await run(host, a="p:N")).nodes["a"]
        return outcome.error if outcome.error is not None else outcome.outputs().get("out")


# --- nodes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_function_is_a_node(house: House, kind: str) -> None:
    body = "return {'out': [call.inputs['text'].upper(), call.node, bool(call.run), call.config]}"
    assert await out(house, node(body, kind=kind)) == ["HELLO", "a", True, {}]


async def test_a_function_that_is_not_async_does_not_keep_the_host_waiting(house: House) -> None:
    code = node("api.go.wait(60)\nreturn {'out': 1}", kind="def", before="import threading", after="")
    house.native(
        "p", code.replace("def setup(api):", "go = threading.Event()\ndef setup(api):").replace("api.go", "go")
    )
    async with house.host() as host, trio.open_nursery() as nursery:
        nursery.start_soon(run_and_check, host)
        await trio.testing.wait_all_tasks_blocked()
        # The loop is free although the function waits.
        module = sys.modules[f"{host.native['p'].version.modules.name}.main"]
        module.go.set()


async def run_and_check(host: Any) -> None:
    assert (await run(host, a="p:N")).nodes["a"].outputs() == {"out": 1}


async def test_what_the_manifest_declares_the_code_need_only_name(house: House) -> None:
    code = "def setup(api):\n    @api.node('N')\n    def run(call): return {'out': call.inputs['text']}\n"
    text = {"text": {"dataFlowType": "STRING"}}
    declared = [{"type": "N", "inputs": text, "outputs": {"out": {"dataFlowType": "STRING"}}, "function": "elsewhere"}]
    assert await out(house, code, nodes=declared) == "hello"


NO_SETUP = {
    "def setup(api): api.node('N')": "ValueError: the manifest defines no node 'N'",
    "def setup(api): api.node({})": "ValueError: node None: type is",
    "def setup(api): api.node({'type': 'A', 'namespace': 'core'})": "must be the plugin's, ",
    "def setup(api): api.node({'type': 'A', 'inputs': {'x': 1}})": "inputs.x is 1: it must be a table",
    "def setup(api): api.node({'type': 'A', 'x': {1, 2}})": "holds what JSON cannot",
    "def setup(api):\n for _ in 'ab': api.node({'type': 'A'})(print)": "the node 'A' is registered already",
    "def setup(api): 1 / 0": "ZeroDivisionError",
    "def setup(api): raise SystemExit(3)": "SystemExit: 3",
    "async def setup(api): raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise SystemExit('at import')": "SystemExit: at import",
    "def setup(api:": "SyntaxError",
    "import nowhere_to_be_found": "ModuleNotFoundError",
    "def prepare(api): pass": "AttributeError: the module 'main' has no function 'setup'",
    "\0": "null bytes",
    "import trio\nasync def setup(api): raise trio.Cancelled._create()": "Cancelled",
    "class E(Exception):\n def __str__(self): raise SystemExit\ndef setup(api): raise E": "its text cannot be had",
}


async def test_a_plugin_that_fails_to_set_up_is_a_problem_with_its_name_and_the_others_come(house: House) -> None:
    for number, code in enumerate(NO_SETUP):
        house.native(f"p{number}", code + "\n")
    house.native("good", node("return {'out': 1}"))
    async with house.host() as host:
        assert list(host.native) == ["good"]
        problems = {problem.partition(":")[0]: problem for problem in host.problems}
        for number, words in enumerate(NO_SETUP.values()):
            problem = problems[f"plugins/p{number}"]
            assert f"the native plugin 'p{number}' could not be loaded: " in problem
            assert words in problem
            assert "\n" not in problem
        # It is not tried again and again.
        assert await host.reload() == []


async def test_a_node_that_is_declared_and_not_registered_is_a_problem(house: House) -> None:
    house.native("p", "def setup(api): pass\n", nodes=[{"type": "N"}])
    async with house.host() as host:
        assert "registers no function for the node 'N'" in host.problems[0]


async def test_a_plugin_that_does_not_come_back_from_setup_is_given_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tier_module, "LOAD_WALL", 0.2)
    house.native("p", "import trio\nasync def setup(api): await trio.sleep_forever()\n")
    house.native("q", "import time\ndef setup(api):\n    time.sleep(0.5)\n    api.node({'type': 'Late'})(print)\n")
    async with house.host() as host:
        assert not host.native
        assert all("TimeoutError: it took more than 0.2 s" in problem for problem in host.problems)
        await trio.sleep(0.7)
        await host.reload()
        assert host.node_types() == []


async def test_a_host_closes_though_a_plugin_does_not_come_back_from_setup(house: House) -> None:
    hold = threading.Event()
    sys.modules["native_test_hold"] = SimpleNamespace(hold=hold)  # type: ignore[assignment]
    try:
        with trio.fail_after(30):
            async with house.host() as host, trio.open_nursery() as nursery:
                house.native("p", "import native_test_hold as t\ndef setup(api): t.hold.wait(60)\n")
                nursery.start_soon(host.reload)
                await trio.sleep(0.3)
                nursery.cancel_scope.cancel()
        assert not hold.is_set()
    finally:
        hold.set()
        del sys.modules["native_test_hold"]


async def test_nothing_is_registered_after_setup(house: House) -> None:
    body = "try:\n    api.node({'type': 'Late'})\nexcept RuntimeError as error:\n    return {'out': str(error)}"
    assert "while setup(api) runs" in await out(house, node(body))


async def test_two_plugins_may_have_modules_of_one_name(house: House) -> None:
    for name in ("p", "q"):
        code = node("return {'out': who}", before="from .deep.who import who")
        house.native(name, code, files={"deep/who.py": f"who = {name!r}\n"})
    async with house.host() as host:
        found = await run(host, a="p:N", b="q:N")
        assert [each.outputs()["out"] for each in found.nodes.values()] == ["p", "q"]


# --- what it raises -------------------------------------------------------------------------------------------------


RAISING = {
    "raise ValueError('no such\\nword')": "ValueError: no such word",
    "raise SystemExit(1)": "SystemExit: 1",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise GeneratorExit": "GeneratorExit",
    "raise StopIteration": "StopIteration",
    "raise StopAsyncIteration": "StopAsyncIteration",
    "raise BaseExceptionGroup('several', [ValueError('x'), KeyboardInterrupt()])": "several",
    "import trio\nraise trio.Cancelled._create()": "Cancelled",
    "return [1]": "native code returned 'list'; return a dict of outputs by slot",
    "return {1: 2}": "return a dict of outputs by slot",
    "return {'out': {1, 2}}": "native code returned set, which is no plain data",
    "return {'out': {1: 2}}": "a key that is no text: int",
    "return {'out': 1 << 64}": "a number of more than 64 bits",
    "return {'out': '\\ud800'}": "half of a surrogate pair",
    "x = []\nx.append(x)\nreturn {'out': x}": "nested more than 64 deep",
    "return {'other': 1}": "an output 'other' that the node does not have",
}


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_whatever_it_raises_is_an_error_of_its_node_and_the_others_go_on(house: House, kind: str) -> None:
    lines = ["from . import bodies", "def setup(api):"]
    bodies = []
    for number, body in enumerate(RAISING):
        bodies.append(f"{kind} n{number}(call):\n" + "".join(f"    {line}\n" for line in body.splitlines()))
        slots = "'inputs': {'text': {'dataFlowType': 'STRING'}}, 'outputs': {'out': {'dataFlowType': 'WILDCARD'}}"
        lines.append(f"    api.node({{'type': 'N{number}', {slots}}})(bodies.n{number})")
    house.native("p", "\n".join(lines), files={"bodies.py": "\n".join(bodies)})
    house.native("good", node("return {'out': 'fine'}"))
    async with house.host() as host:
        assert host.problems == []
        types = {f"n{number}": f"p:N{number}" for number in range(len(RAISING))}
        found = await run(host, **types, good="good:N")
        assert found.nodes["good"].outputs() == {"out": "fine"}
        for name, words in zip(types, RAISING.values(), strict=True):
            error = found.nodes[name].error
            assert isinstance(error, GuestError)
            assert words in error.message
            assert (error.plugin, error.node) == ("p", name)
            assert found.nodes[name].usage is not None
            assert "Traceback" not in str(error)
        # The host is as it was.
        assert (await run(host, good="good:N")).status == "complete"


async def test_the_traceback_is_in_the_log_and_shows_the_lines_that_ran(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "innkeeper.native"):
        error = await out(house, node("raise ValueError('deep inside')  # this line"))
    assert error.message == "native code failed: ValueError: deep inside"
    record = next(record for record in caplog.records if record.name == "innkeeper.native")
    assert record.levelno == logging.INFO
    assert "native plugin p" in record.getMessage()
    assert "# this line" in caplog.text
    assert "<native plugin p: main.py>" in caplog.text


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_code_that_takes_too_long_is_ended_by_the_limit_wall(house: House, kind: str) -> None:
    body = "import time\ntime.sleep(3)" if kind == "def" else "import trio\nawait trio.sleep_forever()"
    house.native("p", node(body, kind=kind))
    (house.path / "innkeeper.toml").write_text('native_plugins = true\n[defaults]\nwall = "200ms"\n')
    async with house.host() as host:
        error = (await run(host, a="p:N")).nodes["a"].error
    assert isinstance(error, LimitError)
    assert (error.limit, error.value) == ("wall", 0.2)


async def test_a_cancelled_run_cancels_native_code(house: House) -> None:
    body = "import trio\ntry:\n    await trio.sleep_forever()\nfinally:\n    api.log.info('ended')\n    ended.append(1)"
    house.native("p", node(body, before="ended = []"))
    async with house.host() as host:
        with trio.move_on_after(0.2) as scope:
            await run(host, a="p:N")
        assert scope.cancelled_caught
        module = sys.modules[f"{host.native['p'].version.modules.name}.main"]
        assert module.ended == [1]


async def test_a_cancellation_passes_and_a_forged_one_does_not() -> None:
    limiter = trio.CapacityLimiter(1)

    async def forged() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise SystemExit

    with trio.move_on_after(5) as scope, pytest.raises(PluginError) as found:
        await contained(forged, threads=limiter)
    assert not scope.cancelled_caught
    assert isinstance(found.value.cause, BaseExceptionGroup)
    with trio.CancelScope() as scope:
        scope.cancel()
        await contained(trio.sleep_forever, threads=limiter)
    assert scope.cancelled_caught


async def test_an_output_beyond_the_limit_is_refused_before_it_is_copied(house: House) -> None:
    error = await out(house, node("return {'out': 'x' * (17 << 20)}"))
    assert isinstance(error, LimitError)
    assert error.limit == "output"


# --- log, files, configuration, services ----------------------------------------------------------------------------


async def test_log_lines_belong_to_the_call_bounded_and_on_one_line_each(house: House) -> None:
    house.native("p", node("api.log.info('one\\ntwo\\x1b[31m')\napi.log.warn('x' * 5000)\napi.log.error('y' * 90_000)"))
    async with house.host() as host:
        outcome = (await run(host, a="p:N")).nodes["a"]
    assert outcome.native
    assert outcome.usage is not None
    assert outcome.usage.log[:2] == [("info", "one"), ("info", "two\\x1b[31m")]
    assert all(len(text) <= 1024 for _, text in outcome.usage.log)


async def test_a_flood_of_log_is_cut_at_the_limit(house: House) -> None:
    house.native("p", node("for _ in range(200): api.log.info('x' * 1000)", kind="def"))
    async with house.host() as host:
        usage = (await run(host, a="p:N")).nodes["a"].usage
    assert usage is not None
    assert sum(len(text) for _, text in usage.log) <= 64 << 10
    assert usage.log_dropped > 100_000


async def test_empty_lines_of_a_text_of_others_are_counted_too(house: House) -> None:
    house.native("p", node("api.log.info('\\n' * 1_000_000)", kind="def"))
    async with house.host() as host:
        usage = (await run(host, a="p:N")).nodes["a"].usage
    assert usage is not None
    assert len(usage.log) <= 64 << 10
    assert usage.log_dropped > 900_000


async def test_outside_of_a_call_the_log_is_the_hosts_and_marked(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.native("p", "def setup(api): api.log.warn('starting')\n")
    async with house.host():
        pass
    assert "native plugin p: starting" in caplog.text


async def test_files_are_those_that_were_trusted(house: House) -> None:
    body = "open(path, 'w').write('changed')\nreturn {'out': api.file('data/words.txt').decode()}"
    path = str(house.path / "plugins/p/data/words.txt")
    assert (
        await out(house, node(body, before=f"path = {path!r}"), files={"data/words.txt": "as trusted"}) == "as trusted"
    )


async def test_a_file_that_is_not_in_the_folder_is_not_there(house: House) -> None:
    error = await out(house, node("api.file('../q/secret')"))
    assert error.message.startswith("native code failed: FileNotFoundError: the folder of the plugin has no file")


async def test_a_grant_gives_limits_and_configuration(house: House) -> None:
    house.native("p", node("return {'out': [api.config['tone'], api.id, api.version]}"))
    async with house.host() as host:
        digest = host.native["p"].digest
        (house.path / "manifests").mkdir(exist_ok=True)
        grant = house.path / "manifests/p.toml"
        grant.write_text(f'sha256 = "{digest}"\n[limits]\ninput = "1KiB"\n[config]\ntone = "loud"\n')
        await host.reload()
        assert host.problems == []
        assert (await run(host, a="p:N")).nodes["a"].outputs() == {"out": ["loud", "p", "1.0"]}
        assert host.native["p"].limits.input == 1024
        grant.write_text(f'sha256 = "{"0" * 64}"\n[config]\ntone = "soft"\n')
        await host.reload()
        assert "the file changed since it was granted" in host.problems[0]
        assert host.native["p"].version.config == {}


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_service_answers_what_its_manifest_requests(house: House, kind: str) -> None:
    ask = "await api.service" if kind == "async def" else "api.service_from_thread"
    body = f"{ask}('kv.put', key='k', value=b'v')\nreturn {{'out': {ask}('kv.get', key='k')['value']}}"
    if kind == "async def":
        body = (
            f"{ask}('kv.put', key='k', value=b'v')\nfound = {ask}('kv.get', key='k')\nreturn {{'out': found['value']}}"
        )
    assert await out(house, node(body, kind=kind), capabilities=KV) == b"v"


async def test_a_service_passes_the_same_gate_as_for_guests(house: House) -> None:
    body = (
        "from innkeeper.native import ServiceRefusedError\nfound = []\n"
        "for arguments in ({'key': 'k', 'space': 'x'}, {'key': ''}, {'kee': 'k'}, {'key': 'k', 'space': 'notes'}):\n"
        "    try:\n        await api.service('kv.get', **arguments)\n"
        "    except ServiceRefusedError as error:\n        found.append(error.kind)\n"
        "return {'out': found}"
    )
    narrow = [{"name": "kv:notes", "reason": "remembers"}]
    assert await out(house, node(body), capabilities=narrow) == ["denied", "invalid", "invalid"]


async def test_a_service_that_was_not_requested_is_not_there(house: House) -> None:
    error = await out(house, node("await api.service('kv.get', key='k')"))
    assert "LookupError: there is no operation 'kv.get', or the manifest does not request" in error.message


async def test_two_plugins_do_not_see_each_others_values(house: House) -> None:
    house.native("p", node("await api.service('kv.put', key='k', value=b'mine')"), capabilities=KV)
    house.native("q", node("return {'out': await api.service('kv.get', key='k')}"), capabilities=KV)
    async with house.host() as host:
        await run(host, a="p:N")
        assert (await run(host, a="q:N")).nodes["a"].outputs() == {"out": None}


async def test_what_native_code_keeps_for_a_run_is_its_owners(house: House) -> None:
    hook = (
        "@api.on_run_start\nasync def started(run): await api.service('kv.put', key='hook', value=b'')\n"
        "@api.before_node\ndef before(node): api.service_from_thread('kv.put', key='thread', value=b'')"
    )
    body = "await api.service('kv.put', key='node', value=b'')\nreturn {}"
    house.native("p", node(body, after=hook), capabilities=KV)
    async with house.host() as host:
        job = msgpack.packb({"workflow": {"nodes": [{"id": "a", "fullType": "p:N"}], "edges": []}, "inputs": {}})
        for owner in ("ada", "bob"):
            task = Task(stored_run(owner, account=Account(owner)), job, 1000)
            report = await WorkflowRunner(host).execute(task, NoSink())
            assert report.failure is None
        kv = KvStore(await bridge_of(host).database())
        for owner in ("ada", "bob"):
            assert await kv.list(owner, "p", "default") == ["hook", "node", "thread"]
        assert await kv.list(USER, "p", "default") == []


# --- hooks ----------------------------------------------------------------------------------------------------------

HOOKS = """
seen = []
def setup(api):
    @api.on_run_start
    def started(run): seen.append(("start", run.nodes, run.status))
    @api.on_run_end
    async def ended(run): seen.append(("end", run.status))
    @api.before_node
    def before(node): seen.append(("before", node.node, node.type, node.plugin, node.native))
    @api.after_node
    async def after(node): seen.append(("after", node.node, node.error, node.seconds > 0))
    @api.on_stop
    def stop(): seen.append(("stop",))
"""


async def test_hooks_see_runs_and_nodes(house: House) -> None:
    house.native("h", HOOKS)
    house.native("p", node("if call.node == 'bad': raise ValueError('x')\nreturn {}"))
    async with house.host() as host:
        seen = sys.modules[f"{host.native['h'].version.modules.name}.main"].seen
        await run(host, a="p:N")
        assert seen == [
            ("start", 1, "running"), ("before", "a", "p:N", "p", True), ("after", "a", None, True), ("end", "complete"),
        ]  # fmt: skip
        seen.clear()
        await run(host, bad="p:N")
        assert seen[2:] == [("after", "bad", "native code failed: ValueError: x", True), ("end", "error")]
        seen.clear()
    assert seen == [("stop",)]


async def test_the_hooks_of_a_cancelled_run_are_told_that_it_was_interrupted(house: House) -> None:
    house.native("h", HOOKS)
    house.native("p", node("import trio\nawait trio.sleep_forever()"))
    async with house.host() as host:
        seen = sys.modules[f"{host.native['h'].version.modules.name}.main"].seen
        with trio.move_on_after(0.2):
            await run(host, a="p:N")
        assert seen[-1] == ("end", "interrupted")


@pytest.mark.parametrize("body", ["raise ValueError('slip')", "raise SystemExit", "raise KeyboardInterrupt"])
async def test_a_hook_that_fails_is_reported_with_its_plugin_and_ends_nothing(
    house: House, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    names = ("on_run_start", "on_run_end", "before_node", "after_node")
    code = "".join(f"    @api.{name}\n    def {name}(about): {body}\n" for name in names)
    house.native("h", f"def setup(api):\n{code}")
    house.native("p", node("return {'out': 1}"))
    async with house.host() as host:
        found = await run(host, a="p:N")
        assert found.status == "complete"
    for name in names:
        assert f"native plugin h: its hook {name} failed: {body.split()[1].partition('(')[0]}" in caplog.text


async def test_only_a_refusal_keeps_a_node_from_running_and_only_that_node(house: House) -> None:
    house.native(
        "h",
        "from innkeeper.native import NodeRefusedError\ndef setup(api):\n    @api.before_node\n    def before(node):\n"
        "        if node.node == 'a': raise NodeRefusedError('not today')\n",
    )
    house.native("p", node("return {'out': 1}"))
    async with house.host() as host:
        found = await run(host, a="p:N", b="p:N")
    error = found.nodes["a"].error
    assert error is not None
    assert error.message == "the native plugin 'h' refused to run the node: not today"
    assert found.nodes["b"].status == "complete"


async def test_hooks_see_and_refuse_what_a_plugin_has_the_scheduler_run(house: House) -> None:
    house.native(
        "h",
        "from innkeeper.native import NodeRefusedError\nseen = []\ndef setup(api):\n    @api.before_node\n"
        "    def before(node):\n        seen.append(node.type)\n        raise NodeRefusedError('not today')\n",
    )
    own = 'id = "w"\nversion = "1.0"\n[[nodes]]\ntype = "N"\nfunction = "run"\n'
    house.put("w.wasm", module("run", manifest=own))
    async with house.host() as host:
        job = msgpack.packb({"workflow": {"nodes": [{"id": "a", "fullType": "w:N"}], "edges": []}, "inputs": {}})
        task = Task(stored_run("r", plugin="somebody"), job, 1000)
        report = await WorkflowRunner(host).execute(task, NoSink())
        assert sys.modules[f"{host.native['h'].version.modules.name}.main"].seen == ["w:N"]
    assert report.failure is not None
    assert report.failure.message == "the native plugin 'h' refused to run the node: not today"


async def test_a_hook_that_does_not_come_back_is_given_up(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from innkeeper.plugins.native import hooks

    monkeypatch.setattr(hooks, "WALL", 0.1)
    house.native(
        "h", "import trio\ndef setup(api):\n    @api.on_run_start\n    async def f(run): await trio.sleep(99)\n"
    )
    house.native("p", node("return {'out': 1}"))
    async with house.host() as host:
        assert (await run(host, a="p:N")).status == "complete"
    assert "its hook on_run_start took more than 0.1 s" in caplog.text


# --- marks and records ----------------------------------------------------------------------------------------------


async def test_every_event_of_a_native_node_says_so(house: House) -> None:
    house.native("p", node("if call.node == 'bad': raise ValueError('x')\nreturn {}"))
    events: list[dict[str, Any]] = []
    async with house.host() as host:
        await run_workflow(read_payload(workflow(a="p:N", bad="p:N")), host, on_event=events.append)
    marked = [event["type"] for event in events if event["payload"].get("native")]
    assert sorted(marked) == ["NODE_COMPLETE", "NODE_ERROR", "NODE_EXECUTING", "NODE_EXECUTING"]


async def test_each_load_is_in_the_audit_log_before_anything_runs(house: House) -> None:
    house.native("p", "raise SystemExit\n")
    house.native("q", "def setup(api): pass\n")
    async with house.host() as host:
        digest = host.native["q"].digest
    async with open_database(house.path / "state/innkeeper.db") as database:
        records = await AuditLog(database).read(kind=AuditKind.NATIVE_LOAD)
    assert [(record.plugin, record.details) for record in records] == [
        ("q", {"folder": "plugins/q"}),
        ("p", {"folder": "plugins/p"}),
    ]
    assert records[0].digest == digest


async def test_what_cannot_be_recorded_does_not_run(house: House, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    house.native("p", f"open({str(mark)!r}, 'w')\ndef setup(api): pass\n")
    (house.path / "state").write_text("no folder")
    async with house.host() as host:
        assert not host.native
        assert "the native plugin 'p' could not be loaded" in host.problems[0]
    assert "it-ran" not in os.listdir(tmp_path)


async def test_without_services_nothing_native_runs(house: House) -> None:
    house.native("p", "def setup(api): pass\n")
    async with open_bare_host(house.path, engine=FakeEngine(), watch=False) as host:
        assert not host.native
        assert "native plugins need them" in host.problems[0]


async def test_a_host_that_needs_no_catalogue_runs_nothing_native(house: House, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    house.native("p", f"open({str(mark)!r}, 'w')\ndef setup(api): pass\n")
    async with open_host(house.path, engine=FakeEngine(), catalogue=False):
        pass
    assert "it-ran" not in os.listdir(tmp_path)


# --- values ---------------------------------------------------------------------------------------------------------

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False)
    | st.text(st.characters(blacklist_categories=["Cs"])) | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(blacklist_categories=["Cs"])), inner),
    max_leaves=30,
)  # fmt: skip


@given(PLAIN)
@settings(deadline=None)
def test_values_go_through_as_they_are(value: object) -> None:
    async def there_and_back() -> object:
        bridge = NativeBridge(no_database, 90)
        return await bridge.decode(await bridge.encode(value, 1 << 20))

    assert trio.run(there_and_back) == value


async def no_database() -> Any:
    raise AssertionError


@pytest.mark.parametrize("value", [[list(range(50)) for _ in range(3000)], {str(i): "x" * 90 for i in range(5000)}])
async def test_large_values_go_through_threads(value: Any) -> None:
    bridge = NativeBridge(no_database, 90)
    data = await bridge.encode(value, 1 << 24)
    assert decode(data, "msgpack") == value == await bridge.decode(data)


@pytest.mark.parametrize(
    ("value", "kind"), [([0] * 1_000_001, GuestError), (b"x" * 2000, LimitError), (["x" * 30] * 300, LimitError)]
)
async def test_values_beyond_the_bounds_are_refused(value: Any, kind: type[InnkeeperError]) -> None:
    with pytest.raises(kind):
        await NativeBridge(no_database, 90).encode(value, 1000 if kind is LimitError else 1 << 24)


def test_a_manifest_may_not_ask_for_another_codec(house: House) -> None:
    from innkeeper.plugins.catalogue import read_catalogue
    from innkeeper.plugins.home import open_home

    house.native("p", "", codec="json", trust=False)
    assert "codec is 'json': a native plugin gets values" in read_catalogue(open_home(house.path)).problems[0]
