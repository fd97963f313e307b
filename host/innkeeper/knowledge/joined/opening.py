"""Opens the knowledge bases of a home for a host, a command or a program."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from innkeeper.knowledge.activation.questions import Plugins
from innkeeper.knowledge.embedding.endpoint import EndpointClient
from innkeeper.knowledge.embedding.plugin import PluginCall
from innkeeper.knowledge.embedding.registry import Models, endpoint_model, offline_model, plugin_model
from innkeeper.knowledge.files.registry import Registry
from innkeeper.knowledge.joined.activating import Activating, RegexMaker
from innkeeper.knowledge.joined.asking import Asking
from innkeeper.knowledge.joined.assembling import Assembling
from innkeeper.knowledge.joined.bases import Bases
from innkeeper.knowledge.joined.guests import GuestBases
from innkeeper.knowledge.opening import open_library
from innkeeper.knowledge.regexes.engine import SandboxRegexEngine
from innkeeper.knowledge.regexes.interface import Regex, RegexEngine, Verdict
from innkeeper.knowledge.store.limits import StoreQuota
from innkeeper.knowledge.tokens.named import counter
from innkeeper.sandbox.interface import Engine
from innkeeper.storage.database import Database


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model behind an endpoint that the operator configured.

    Attributes:
        name: in the configuration.
        remote: at the endpoint.
        endpoint: name of that.
    """

    name: str
    remote: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What knowledge bases may use of a host.

    Attributes:
        home: the home folder.
        doubt: why the home is not believed, or "": then nothing that lies in its folders counts.
        default: name of the user's model.
        remote: models behind endpoints.
        endpoints: asks endpoints; None: there are none.
        embedders: ids of plugins that make vectors.
        call: calls plugins; None: none is called.
        version: says which bytes a plugin has, as the version of its vectors.
        asked: ids of plugins that conditions of entries may ask.
        engine: gives what runs guests, at the first need; None: no regular expression is tested.
        tokenizer: that counts, unless somebody names another.
        bounded: whether guests ask: then models that cost something are asked so often and no oftener, and none for
            long (`asking`).
        served: whether a host runs `GuestBases.serve`: then what takes long goes on beside whoever wants it (`jobs`).
    """

    home: Path
    doubt: str = ""
    default: str = "wordllama"
    remote: Sequence[RemoteModel] = ()
    endpoints: EndpointClient | None = None
    embedders: Iterable[str] = ()
    call: PluginCall | None = None
    version: Callable[[str], Awaitable[str]] | None = None
    asked: Iterable[str] = ()
    engine: Callable[[], Awaitable[Engine]] | None = None
    tokenizer: str = "estimate"
    bounded: bool = True
    served: bool = False


class Knowledge:
    """The knowledge bases of a home, with all that they need. Used from one loop of trio, closed before the database.

    Attributes:
        bases: what is kept.
        models: that make vectors.
        activating: activates entries.
        assembling: puts prompts together.
        guests: what the service `kb` asks.
    """

    def __init__(
        self,
        database: Database,
        around: Surroundings,
        *,
        now: Callable[[], float] = time.time,
        quota: StoreQuota | None = None,
    ) -> None:
        """Args:
        database: where they are kept.
        around: what they may use.
        now: seconds since 1970; called from any thread.
        quota: what an owner's bases may have.
        """
        self.models = models_of(around)
        # Where somebody else may have filled the home, nothing of its folders is taken up.
        library, asking = open_library(database, now=now, quota=quota), Asking(self.models, bounded=around.bounded)
        self.bases = Bases(library, self.models, Registry(around.home, around.doubt), asking, served=around.served)
        counting = counter(around.tokenizer)
        self._regexes = _Regexes(around.engine) if around.engine is not None else None
        regexes: RegexMaker | None = None if self._regexes is None else self._regexes.ready
        asked = _Asked(around.call, frozenset(around.asked)) if around.call is not None else None
        plugins: Plugins | None = asked
        self.activating = Activating(self.bases, regexes, plugins, counting)
        self.assembling = Assembling(self.bases, counting)
        self.guests = GuestBases(self.bases, self.activating, self.assembling)

    async def aclose(self) -> None:
        """Writes what is not written yet, and gives back what it holds."""
        await self.bases.aclose()
        if self._regexes is not None:
            self._regexes.close()


def models_of(around: Surroundings) -> Models:
    """The models of a home; each is opened when it is first needed."""
    found = [offline_model()]
    if around.endpoints is not None:
        client = around.endpoints
        found += [endpoint_model(client, each.name, each.remote, each.endpoint) for each in around.remote]
    if around.call is not None and around.version is not None:
        call, version = around.call, around.version
        found += [plugin_model(call, plugin, version) for plugin in around.embedders]
    return Models(found, around.default)


class _Regexes:
    """Makes the engine of regular expressions at the first need, once."""

    def __init__(self, engine: Callable[[], Awaitable[Engine]]) -> None:
        self._engine = engine
        self._made: SandboxRegexEngine | None = None

    async def ready(self) -> RegexEngine:
        if self._made is None:
            engine = await self._engine()
            self._made = self._made or SandboxRegexEngine(engine)
        return self._made

    async def test(self, regexes: Sequence[Regex], text: str) -> list[Verdict]:
        return await (await self.ready()).test(regexes, text)

    def close(self) -> None:
        if self._made is not None:
            self._made.close()


class _Asked:
    """Implements `activation.questions.Plugins`. Who wrote a base chooses whom its conditions ask, and may be a
    stranger: only plugins that the operator named are."""

    def __init__(self, call: PluginCall, allowed: frozenset[str]) -> None:
        self._call = call
        self._allowed = allowed

    async def check(self, plugin: str, function: str, payload: Any) -> bool:
        if plugin not in self._allowed:
            raise ValueError(f"the setting knowledge.plugins does not name the plugin {plugin[:80]!r} for conditions")
        return await self._call(plugin, function, payload) is True
