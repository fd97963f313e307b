"""Load for whole hosts: a home with real nodes, workflows of them, and `innkeeper work` as processes with it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack

from bridge_guests import guest, write
from guests import assemble, text_block
from innkeeper.storage.location import Location
from innkeeper.storage.run_model import Account, AfterCrash, NewRun
from work_homes import ANSWER, nodes_that_take_time

ME = Account("default_user")
STARTER = "starts"
"""The plugin whose node submits a run."""

LEASE = 1.0
VARIABLE = "INNKEEPER_DATABASE_URL"

_NODES = nodes_that_take_time(80_000_000)
_ITEM = msgpack.packb({"slot": "words", "item": "word " * 60})
_TELL = f"""(func (export "Tell") (local $a i64) (local $b i64) (local $n i32)
  (loop $more
    {text_block("chunk", _ITEM, "a")}
    (drop (call $innkeeper_stream_write (local.get $a)))
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $more (i32.lt_u (local.get $n) (i32.const 40))))
  {text_block("answer", ANSWER, "b")}
  (call $output_set (local.get $b) (i64.const {len(ANSWER)})))"""
_SLOTS = (
    '[[nodes]]\ntype = "{0}"\n[nodes.inputs.text]\ndataFlowType = "STRING"\n'
    '[nodes.outputs.out]\ndataFlowType = "STRING"\n'
)
_WORDS = '[nodes.outputs.words]\ndataFlowType = "STRING"\nisStream = true\n'


def chain(*types: str, text: str = "") -> dict[str, Any]:
    """A workflow of nodes one after the other. What `text` says is each first node's own, so that no answer of another
    run is remembered."""
    nodes = [{"id": f"n{at}", "fullType": each} for at, each in enumerate(types)]
    nodes[0]["inputs"] = {"text": text}
    edges = [
        {
            "id": f"e{at}",
            "sourceNodeId": f"n{at}",
            "sourceHandle": "out",
            "targetNodeId": f"n{at + 1}",
            "targetHandle": "text",
        }
        for at in range(len(types) - 1)
    ]
    return {
        "nodes": nodes,
        "edges": edges,
        "interfaceOutputs": {"out": {"dataFlowType": "STRING"}},
        "outputInterfaceMappings": {"out": {"sourceNodeId": nodes[-1]["id"], "sourceSlotKey": "out"}},
    }


def job(workflow: dict[str, Any]) -> bytes:
    """A workflow as the queue keeps it."""
    data: bytes = msgpack.packb({"workflow": workflow, "inputs": {}})
    return data


def any_job(chance: random.Random, text: str) -> bytes:
    """Some workflow: long or short, with a stream, with a node that fails, or with one that submits another run."""
    kind = chance.random()
    if kind < 0.1:
        return job(chain("nodes:Quick", "nodes:Fail", text=text))
    if kind < 0.2:
        return job(chain("starts:Start", "nodes:Nap", text=text))
    types = [
        chance.choice(["nodes:Nap", "nodes:Nap", "nodes:Quick", "tells:Tell"]) for _ in range(chance.randint(2, 8))
    ]
    return job(chain(*types, text=text))


def any_run(chance: random.Random, id: str) -> NewRun:
    """A run of `any_job`, with some policy."""
    again: AfterCrash = "again" if chance.random() < 0.5 else "interrupt"
    return NewRun(id, ME, any_job(chance, id), name="load", priority=chance.randint(-3, 3), after_crash=again)


def install(home: Path) -> None:
    """The home of the load."""
    home.mkdir()
    write(
        home,
        "nodes",
        assemble(_NODES),
        manifest='codec = "json"\n' + "".join(map(_SLOTS.format, ("Quick", "Nap", "Sleep", "Fail"))),
    )
    write(home, "tells", guest(_TELL, "stream"), manifest='codec = "json"\n' + _SLOTS.format("Tell") + _WORDS)
    asked = msgpack.packb({"workflow": chain("nodes:Nap", "nodes:Quick", text="child"), "name": "child"})
    start = f"""(func (export "Start") (local $a i64) (local $b i64)
      {text_block("asked", asked, "a")}
      (drop (call $innkeeper_scheduler_submit (local.get $a)))
      {text_block("answer", ANSWER, "b")}
      (call $output_set (local.get $b) (i64.const {len(ANSWER)})))"""
    write(
        home,
        STARTER,
        guest(start, "scheduler"),
        has=["scheduler.submit", "scheduler.read"],
        manifest='codec = "json"\n' + _SLOTS.format("Start"),
    )
    (home / "innkeeper.toml").write_text(
        f'[runs]\nlease = "{LEASE:g}s"\nparallel = 12\nper_user = 40\nchunks = "16KiB"\n'
    )


class HostProcess:
    """`innkeeper work` as a process. What it says goes into a file: it never waits for who reads.

    Attributes:
        process: the process.
    """

    def __init__(self, home: Path, place: Location, name: str) -> None:
        environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
        if place.url:
            environment[VARIABLE] = place.url
        command = [sys.executable, "-m", "innkeeper", "--home", str(home), "work", "--json", "--drain", "30s"]
        self._said = home.parent / f"said-{name}"
        self._errors = home.parent / f"errors-{name}"
        with self._said.open("wb") as out, self._errors.open("wb") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)

    @property
    def ready(self) -> bool:
        """Whether it executes the queue by now."""
        assert self.process.poll() is None, f"it ended by itself: {self.errors()}"
        return self._said.stat().st_size > 0

    def said(self) -> list[dict[str, Any]]:
        """What it has said; of one that was killed without the line that was cut off."""
        lines = self._said.read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def errors(self) -> str:
        """What it wrote beside that."""
        return self._errors.read_text()

    def send(self, number: int) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kills it, if it has not ended."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
