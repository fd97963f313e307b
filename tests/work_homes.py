"""A home with nodes that sleep, fail or answer at once, and `innkeeper work` as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guests import assemble, text_block, wat

LONG = 120
"""Seconds after which something never happens, on however busy a machine."""

ANSWER = b'{"outputs": {"out": "done"}}'

# A clock subscription of WASI: a relative time of so many nanoseconds.
SLEEP = """(func $sleep (param $nanoseconds i64)
  (i64.store (i32.const 24) (local.get $nanoseconds))
  (drop (call $poll_oneoff (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 96))))"""


def nodes_that_take_time(nap: int) -> str:
    """A module of nodes: one answers at once, one after so many nanoseconds, one sleeps, one fails."""
    return wat(
        f"""(memory (export "memory") 1)
        {SLEEP}
        (func $answer (local $b i64)
          {text_block("answer", ANSWER, "b")}
          (call $output_set (local.get $b) (i64.const {len(ANSWER)})))
        (func (export "Quick") (call $answer))
        (func (export "Nap") (call $sleep (i64.const {nap})) (call $answer))
        (func (export "Sleep") (call $sleep (i64.const 3600000000000)))
        (func (export "Fail") (unreachable))""",
        "alloc store_u8 output_set",
        "poll_oneoff",
    )


SLOW = nodes_that_take_time(1_500_000_000)

MANIFEST = 'id = "slow"\nversion = "1"\ncodec = "json"\n' + "".join(
    f'[[nodes]]\ntype = "{name}"\n[nodes.inputs.text]\ndataFlowType = "STRING"\n'
    f'[nodes.outputs.out]\ndataFlowType = "STRING"\n'
    for name in ("Quick", "Nap", "Sleep", "Fail")
)


def one(type_: str, **more: Any) -> dict[str, Any]:
    """A workflow of one node."""
    return {
        "nodes": [{"id": "it", "fullType": f"slow:{type_}"}],
        "edges": [],
        "interfaceOutputs": {"out": {"dataFlowType": "STRING"}},
        "outputInterfaceMappings": {"out": {"sourceNodeId": "it", "sourceSlotKey": "out"}},
    } | more


class House:
    """A home.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "plugins").mkdir(parents=True)
        (path / "plugins/slow.wasm").write_bytes(assemble(SLOW))
        (path / "plugins/slow.toml").write_text(MANIFEST)
        # A host that was killed counts as ended soon.
        (path / "innkeeper.toml").write_text('[runs]\nlease = "3s"\n')
        self._working: list[Working] = []

    @classmethod
    def there(cls, path: Path) -> House:
        """A home that is there."""
        house = cls.__new__(cls)
        house.path, house._working = path, []
        return house

    def workflow(self, type_: str = "Quick", **more: Any) -> str:
        """A file with a workflow of one node (its name)."""
        file = self.path / f"{type_}.json"
        file.write_text(json.dumps(one(type_, **more)))
        return str(file)

    def work(self, *arguments: str) -> Working:
        """Starts a process, which is ready when this returns."""
        return self._started("work", *arguments)

    def serve(self, *arguments: str) -> Working:
        """As `work`, with a server on any free port of loopback."""
        return self._started("serve", "--port", "0", *arguments)

    def _started(self, *arguments: str) -> Working:
        working = Working(self.path, arguments)
        self._working.append(working)
        working.until(lambda said: said["event"] == "ready")
        return working

    def close(self) -> None:
        """Ends what was started."""
        for working in self._working:
            working.kill()


class Working:
    """`innkeeper work --json`, or `serve`, as a process."""

    def __init__(self, home: Path, arguments: tuple[str, ...]) -> None:
        self.said: list[dict[str, Any]] = []
        command = [sys.executable, "-m", "innkeeper", "--home", str(home), *arguments, "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Reads what it says up to a line that is wanted; what was read before counts too."""
        found = next(filter(wanted, self.said), None)
        while found is None:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            assert line, f"it ended: {self._errors()}"
            self.said.append(json.loads(line))
            found = self.said[-1] if wanted(self.said[-1]) else None
        return found

    def run(self, run: str, status: str) -> dict[str, Any]:
        """Waits until it says that a run stands so."""
        return self.until(lambda said: said.get("run") == run and said["status"] == status)

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ends it by a signal; gives its exit code."""
        self.send(number)
        out, err = self.process.communicate(timeout=LONG)
        assert b"Traceback" not in err, err.decode()
        self.said += [json.loads(line) for line in out.splitlines()]
        return self.process.returncode

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def _errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()


def eventually(what: Callable[[], bool]) -> None:
    """Waits until something is so."""
    ends = time.monotonic() + LONG
    while not what():
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.05)
