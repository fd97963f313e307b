"""Knowledge bases of a host and of commands: what they use of the rooms beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from innkeeper.bridge.bridge import OWNER, bridge_of
from innkeeper.errors import UsageError

if TYPE_CHECKING:
    from innkeeper.bridge.knowledge import KnowledgeBases, KnowledgeNeeds
    from innkeeper.knowledge.embedding.registry import Models
    from innkeeper.knowledge.joined.opening import Knowledge, Surroundings
    from innkeeper.plugins.configuration import Configuration
    from innkeeper.plugins.home import Home
    from innkeeper.plugins.host import Host
    from innkeeper.plugins.runs import RunBase
    from innkeeper.sandbox.interface import Engine
    from innkeeper.workflow.graph import Graph


async def guest_bases(needs: KnowledgeNeeds) -> KnowledgeBases:
    """What keeps the knowledge bases of a host, for the service `kb`."""
    database = await needs.database()
    # It imports numpy and what models need: when it is needed, and not on trio's thread.
    module = await trio.to_thread.run_sync(import_module, "innkeeper.knowledge.joined.opening")
    host = needs.host()

    async def engine() -> Engine:
        return host.engine

    async def called() -> Host:
        return needs.host()

    around = _surroundings(host.home, engine, called)
    knowledge: Knowledge = module.Knowledge(database, around)
    return knowledge.guests


async def project_bases(host: Host, graph: Graph, workflow: str) -> Mapping[str, RunBase]:
    """What the references of the project stand for in which a workflow's file lies; nothing where it lies in none, or
    none of its nodes may ask knowledge bases.

    Args:
        host: runs the workflow.
        graph: the workflow.
        workflow: path of its file.

    Raises:
        UsageError: project.json or a base has mistakes, or cannot be read.
    """
    manifests = [node.plugin.manifest for node in graph.nodes.values() if node.plugin is not None]
    names = {each.capability.name for manifest in manifests if manifest for each in manifest.capabilities}
    if not any(name.startswith("kb.") for name in names):
        return {}
    folder = await trio.to_thread.run_sync(_project_of, workflow)
    knowledge = bridge_of(host).knowledge
    if folder is None or knowledge is None:
        return {}
    return await (await knowledge()).project(OWNER, folder)


def _project_of(workflow: str) -> Path | None:
    from innkeeper.knowledge.joined.projects import project_of

    return project_of(Path(workflow))


@asynccontextmanager
async def open_knowledge(home: Home) -> AsyncIterator[Knowledge]:
    """The knowledge bases of a home for a command, for the time of an `async with`. A host runs beside them only where
    a regular expression or a plugin is asked for.

    Raises:
        as `storage.database.open_database`.
    """
    from innkeeper.bridge.bridge import FILE
    from innkeeper.knowledge.settling import WORTH, unsearched
    from innkeeper.storage.database import open_database

    module = await trio.to_thread.run_sync(import_module, "innkeeper.knowledge.joined.opening")
    async with AsyncExitStack() as stack:
        # A command makes many objects at most once, and ends with them.
        stack.enter_context(unsearched(WORTH))
        around = _surroundings(home, *_beside(home, stack))
        database = await stack.enter_async_context(open_database(home.state / FILE))
        knowledge: Knowledge = module.Knowledge(database, around)
        try:
            yield knowledge
        finally:
            with trio.CancelScope(shield=True):
                await knowledge.aclose()


@asynccontextmanager
async def open_models(home: Home) -> AsyncIterator[Models]:
    """The models of a home that make embeddings, for the time of an `async with`. Nothing is kept."""
    module = await trio.to_thread.run_sync(import_module, "innkeeper.knowledge.joined.opening")
    async with AsyncExitStack() as stack:
        models: Models = module.models_of(_surroundings(home, *_beside(home, stack)))
        yield models


def _beside(home: Home, stack: AsyncExitStack) -> tuple[Callable[[], Awaitable[Engine]], Callable[[], Awaitable[Host]]]:
    """What gives the engine and the host that run beside a command, both opened at the first need."""
    opened: list[Host] = []
    opening = trio.Lock()

    async def host() -> Host:
        from innkeeper.composition import open_host

        async with opening:
            if not opened:
                opened.append(await stack.enter_async_context(open_host(home.path, watch=False, schedules=False)))
        return opened[0]

    async def engine() -> Engine:
        return (await host()).engine

    return engine, host


def _surroundings(
    home: Home, engine: Callable[[], Awaitable[Engine]], host: Callable[[], Awaitable[Host]]
) -> Surroundings:
    from innkeeper.knowledge.joined.opening import RemoteModel, Surroundings

    configuration = home.configuration
    settings = configuration.knowledge
    remote = [
        RemoteModel(name, there, endpoint)
        for endpoint, said in configuration.llm.endpoints.items()
        for name, there in said.models.items()
    ]
    return Surroundings(
        home=home.path,
        doubt=home.doubt,
        default=settings.model,
        remote=remote,
        endpoints=_Endpoints(configuration) if remote else None,
        embedders=[(plugin, "") for plugin, use in settings.plugins.items() if use != "conditions"],
        call=_Calls(host) if settings.plugins else None,
        asked=[plugin for plugin, use in settings.plugins.items() if use != "embed"],
        engine=engine,
        tokenizer=settings.tokenizer,
    )


class _Calls:
    """Implements `knowledge.embedding.plugin.PluginCall`."""

    def __init__(self, host: Callable[[], Awaitable[Host]]) -> None:
        self._host = host

    async def __call__(self, plugin: str, function: str, payload: Any) -> Any:
        import json

        found = (await self._host()).plugins.get(plugin)
        if found is None:
            raise UsageError(f"there is no plugin {plugin[:80]!r} in this home")
        data = json.dumps(payload, ensure_ascii=False).encode()
        answer = await found.call(function, data)
        try:
            return json.loads(answer.output)
        except (ValueError, RecursionError):
            raise UsageError(f"{plugin[:80]!r}.{function[:80]} answers something else than JSON") from None


_AT_ONCE = 2
"""Requests for vectors at once."""


class _Endpoints:
    """Implements `knowledge.embedding.endpoint.EndpointClient` with what asks endpoints for plugins."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._made: tuple[Any, Any] | None = None
        self._slots: Any = None

    async def embed(self, model: str, texts: Sequence[str]) -> Sequence[bytes]:
        """As `EndpointClient.embed`."""
        from innkeeper.bridge.inference.vectors import MOST_EMBEDDINGS, read_embeddings
        from innkeeper.bridge.refusal import ServiceError
        from innkeeper.bridge.web.client import whole
        from innkeeper.bridge.web.slots import Slots
        from innkeeper.knowledge.embedding.interface import EmbeddingError

        if self._made is None:
            self._made = await trio.to_thread.run_sync(self._make)
            self._slots = Slots(_AT_ONCE, _AT_ONCE)
        client, models = self._made
        try:
            found = models.find(model)
            body = await trio.to_thread.run_sync(_asking, found.remote, list(texts))
            async with (
                self._slots.taken("knowledge") as holding,
                client.answered(found, "/embeddings", body, most=MOST_EMBEDDINGS) as answered,
            ):
                data = await whole(answered.exchange, holding)
                vectors, _ = await trio.to_thread.run_sync(read_embeddings, data, len(texts))
        except ServiceError as error:
            raise EmbeddingError(str(error)) from None
        return list(vectors)

    def _make(self) -> tuple[Any, Any]:
        import time

        from innkeeper.bridge.http import make_client
        from innkeeper.bridge.inference.client import EndpointClient
        from innkeeper.bridge.inference.endpoints import Models
        from innkeeper.bridge.secret_store import SecretStore

        store = SecretStore(self._configuration.secrets.file)
        return EndpointClient(store, make_client, time.time), Models(self._configuration.llm)


def _asking(model: str, texts: list[str]) -> bytes:
    import json

    return json.dumps({"model": model, "encoding_format": "base64", "input": texts}, ensure_ascii=False).encode()
