"""Row: what it adds to a search of a knowledge base that a guest asks for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import trio
import wasmtime as w

import innkeeper
from innkeeper.bench import peer_innkeeper
from innkeeper.bench.knowledge.libraries import IMPORTED, PLACE, change_of
from innkeeper.bench.knowledge.timed import Timed
from innkeeper.bench.measured import Figure
from innkeeper.bench.timing import Batch, rounds_within
from innkeeper.bridge.caller import Caller
from innkeeper.bridge.gate import Gate
from innkeeper.bridge.kb import KbService
from innkeeper.bridge.knowledge import KnowledgeBases, LazyKnowledge
from innkeeper.bridge.operation import operations_of
from innkeeper.bridge.quota import Rate
from innkeeper.errors import InternalError
from innkeeper.knowledge.bench.synthetic import Writer
from innkeeper.knowledge.joined.opening import Knowledge, Surroundings
from innkeeper.plugins.capabilities import parse_capability
from innkeeper.plugins.rights import Rights
from innkeeper.storage.database import open_database

ENTRIES = 10_000
HITS = 10
_SEED = 50
_CALLS = 10
_GUEST = f"""(module
  (import "extism:host/env" "input_offset" (func $input_offset (result i64)))
  (import "extism:host/user" "exchange" (func $exchange (param i64) (result i64)))
  (func (export "ask") (local $left i32)
    (local.set $left (i32.const {_CALLS}))
    (loop
      (drop (call $exchange (call $input_offset)))
      (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"""


async def measure(names: Sequence[str], folder: Path, entries: int = ENTRIES, rounds: int = 200) -> dict[str, Timed]:
    """The row of this module.

    Args:
        names: it.
        folder: for the home and the database.
        entries: of the base.
        rounds: of searches, with a guest and without in turns, at the most.
    """
    writer = Writer(_SEED)
    documents = await trio.to_thread.run_sync(lambda: list(writer.documents(entries)))
    query = writer.question(documents[0]["content"]["value"], chinese="lang:zh" in _tags(documents[0]))
    rights = Rights((parse_capability(f"kb.read:{PLACE.base}"),))
    caller = Caller("bench", PLACE.owner, rights)
    (folder / "home").mkdir(exist_ok=True)
    async with open_database(folder / "data" / "guest.db") as database:
        knowledge = Knowledge(database, Surroundings(folder / "home"))
        await knowledge.bases.library.change(PLACE, [change_of(document) for document in documents], IMPORTED)

        async def guests() -> KnowledgeBases:
            return knowledge.guests

        service = KbService(LazyKnowledge(guests))
        operation = next(each for each in operations_of(KbService, "kb") if each.name == "search")
        function = Gate(lambda: caller).function(service, operation, Rate(1e9, 1 << 40))

        async def itself(count: int) -> object:
            for _ in range(count * _CALLS):
                found = await service.search(caller, base=PLACE.base, query=query, k=HITS)
            if len(found["hits"]) != HITS:
                raise InternalError(f"a search found {len(found['hits'])} entries, and not {HITS}")
            return b""

        async with innkeeper.open_host(folder / "home", catalogue=False) as host:
            plugin = await host.load(
                bytes(w.wat2wasm(_GUEST)), functions=[replace(function, name="exchange")], instance="shared"
            )
            data = msgpack.packb({"base": PLACE.base, "query": query, "k": HITS})
            asked = peer_innkeeper.calls(plugin, "ask", data)
            one, other = [], []
            for batch in (itself, asked):
                await batch(1)
            # One after the other, so that whatever else the machine does happens to both.
            for _ in rounds_within(rounds, 20.0):
                one.append(await _seconds(itself))
                other.append(await _seconds(asked))
        await knowledge.aclose()
    added = Figure.of([after - before for before, after in zip(one, other, strict=True)], 1e6 / _CALLS)
    medians = {"itself": Figure.of(one, 1e6 / _CALLS).median, "from_guest": Figure.of(other, 1e6 / _CALLS).median}
    return {name: Timed(added, medians) for name in names}


async def _seconds(batch: Batch) -> float:
    before = time.perf_counter()
    await batch(1)
    return time.perf_counter() - before


def _tags(document: dict[str, Any]) -> list[str]:
    tags: list[str] = document["management_metadata"]["tags"]
    return tags
