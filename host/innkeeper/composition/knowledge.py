"""Knowledge bases of a host and of commands: what they use of the rooms beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from innkeeper.bridge.bridge import bridge_of
from innkeeper.plugins.owner import present_owner

if TYPE_CHECKING:
    from innkeeper.bridge.knowledge import KnowledgeBases, KnowledgeNeeds
    from innkeeper.knowledge.embedding.registry import Models
    from innkeeper.knowledge.joined.opening import Knowledge, Surroundings
    from innkeeper.plugins.home import Home
    from innkeeper.plugins.host import Host
    from innkeeper.plugins.runs import RunBase
    from innkeeper.sandbox.interface import Engine
    from innkeeper.workflow.checking.graph import Graph


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

    around = _surroundings(host.home, engine, called, guests=True)
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
    if not _asks_bases(graph):
        return {}
    folder = await project_folder(workflow)
    return {} if folder is None else await bases_of_project(host, graph, folder)


async def bases_of_project(host: Host, graph: Graph, folder: Path, owner: str | None = None) -> Mapping[str, RunBase]:
    """As `project_bases`, for the folder of a project.

    Args:
        owner: whose bases they are; None: of whom the present task works for.
    """
    knowledge = bridge_of(host).knowledge
    if knowledge is None or not _asks_bases(graph):
        return {}
    return await (await knowledge()).project(present_owner() if owner is None else owner, folder)


async def project_folder(workflow: str) -> Path | None:
    """The folder of the project in which a workflow's file lies (absolute), or None."""
    return await trio.to_thread.run_sync(_project_of, workflow)


def _asks_bases(graph: Graph) -> bool:
    manifests = [node.plugin.manifest for node in graph.all_nodes() if node.plugin is not None]
    names = {each.capability.name for manifest in manifests if manifest for each in manifest.capabilities}
    return any(name.startswith("kb.") for name in names)


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
    from innkeeper.bridge.bridge import location_of
    from innkeeper.knowledge.settling import WORTH, unsearched
    from innkeeper.storage.database import open_database

    module = await trio.to_thread.run_sync(import_module, "innkeeper.knowledge.joined.opening")
    async with AsyncExitStack() as stack:
        # A command makes many objects at most once, and ends with them.
        stack.enter_context(unsearched(WORTH))
        around = _surroundings(home, *_beside(home, stack))
        database = await stack.enter_async_context(open_database(location_of(home.state, home.configuration)))
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
    home: Home,
    engine: Callable[[], Awaitable[Engine]],
    host: Callable[[], Awaitable[Host]],
    *,
    guests: bool = False,
) -> Surroundings:
    from innkeeper.composition.knowledge_models import Endpoints, PluginCalls
    from innkeeper.knowledge.joined.opening import RemoteModel, Surroundings

    configuration = home.configuration
    settings = configuration.knowledge
    calls = PluginCalls(host) if settings.plugins else None
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
        endpoints=Endpoints(configuration) if remote else None,
        embedders=[plugin for plugin, use in settings.plugins.items() if use != "conditions"],
        call=calls,
        version=None if calls is None else calls.version,
        asked=[plugin for plugin, use in settings.plugins.items() if use != "embed"],
        engine=engine,
        tokenizer=settings.tokenizer,
        bounded=guests,
        served=guests,
    )
