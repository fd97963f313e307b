"""Which models there are, and which of them a base is searched with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import trio

from innkeeper.errors import InnkeeperError
from innkeeper.knowledge.embedding.endpoint import EndpointClient, open_endpoint
from innkeeper.knowledge.embedding.interface import Embedder, EmbeddingError
from innkeeper.knowledge.embedding.plugin import PluginCall, open_plugin

Kind = Literal["offline", "endpoint", "plugin"]
Origin = Literal["base", "project", "user"]


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be opened.

    Attributes:
        name: what people call it: in commands, in the setting `knowledge.model`, in a project.
        id: the `ModelIdentity.id` that it will have.
        kind: what it is.
        about: for people.
        open: makes it ready; raises EmbeddingError.
    """

    name: str
    id: str
    kind: Kind
    about: str
    open: Callable[[], Awaitable[Embedder]]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The model that a base is searched with.

    Attributes:
        embedder: ready.
        name: what people call it.
        origin: who decided: the base, its project, or the user.
    """

    embedder: Embedder
    name: str
    origin: Origin


class Models:
    """The models of a host. Each is opened once, when it is first needed."""

    def __init__(self, models: Iterable[Model], default: str) -> None:
        """Args:
        models: each name once.
        default: name of the user's, from the setting `knowledge.model`.
        """
        self._models = {each.name: each for each in models}
        self._opened: dict[str, Embedder] = {}
        self._opening: dict[str, trio.Lock] = {}
        self.default = default

    @property
    def all(self) -> list[Model]:
        """The models, in the order in which they were given."""
        return list(self._models.values())

    async def open(self, name: str) -> Embedder:
        """A model that is ready.

        Args:
            name: its name, its id, or the key that a base recorded.

        Raises:
            EmbeddingError: there is none, it is another by now, or it cannot be used.
        """
        model = self._find(name)
        if model is None:
            raise EmbeddingError(f"there is no model {name[:100]!r} here; there are: {self._names()}")
        embedder = await self._open(model)
        if name not in (model.name, model.id, embedder.identity.key):
            raise EmbeddingError(
                f"the model {name[:100]!r} is not here: what has its name is {embedder.identity.key!r} by now"
            )
        return embedder

    async def choose(self, *, base: str | None = None, project: str | None = None, user: str | None = None) -> Chosen:
        """The model of a base: what the base records comes first, then the project's, then the user's.

        A base that records a model which is not here is not searched with another one: its vectors mean nothing to it.

        Args:
            base: what the base records (`embedding_model_id`), or None.
            project: the project's, or None.
            user: the user's in place of the host's setting, or None.

        Raises:
            EmbeddingError: it is not here, or cannot be used. The message says who wants it and what to do.
        """
        wanted: tuple[tuple[Origin, str | None], ...] = (
            ("base", base), ("project", project), ("user", user or self.default),
        )  # fmt: skip
        for origin, name in wanted:
            if name:
                try:
                    embedder = await self.open(name)
                except EmbeddingError as error:
                    raise EmbeddingError(f"{_WANTS[origin].format(name[:100])}: {error}") from None
                found = self._find(name)
                return Chosen(embedder, found.name if found is not None else name, origin)
        raise EmbeddingError("no model is set: say one with `--set knowledge.model=wordllama`, or in innkeeper.toml")

    def _find(self, name: str) -> Model | None:
        if name in self._models:
            return self._models[name]
        # A key is ID@VERSION/DIMENSION or ID/DIMENSION, and an id may have slashes itself.
        id = name.rpartition("/")[0].partition("@")[0]
        return next((each for each in self._models.values() if each.id in (name, id)), None)

    async def _open(self, model: Model) -> Embedder:
        # Two that want the same at once open it once.
        async with self._opening.setdefault(model.name, trio.Lock()):
            if model.name not in self._opened:
                self._opened[model.name] = await model.open()
            return self._opened[model.name]

    def _names(self) -> str:
        return ", ".join(self._models) or "none"


_WANTS = {
    "base": "the base was embedded with {!r} (`innkeeper kb embed --model` makes its vectors anew)",
    "project": "the project wants the model {!r}",
    "user": "the setting knowledge.model is {!r}",
}


def offline_model() -> Model:
    """The model that works offline."""

    async def opened() -> Embedder:
        # It imports what reads weights.
        from innkeeper.knowledge.embedding.offline import open_offline

        return await open_offline()

    return Model(
        "wordllama", "wordllama-l2-256", "offline", "in the package; English well, European languages fairly", opened
    )


def endpoint_model(client: EndpointClient, name: str, remote: str, endpoint: str) -> Model:
    """A model behind an endpoint.

    Args:
        client: asks it.
        name: in the configuration.
        remote: at the endpoint.
        endpoint: name of that in the configuration, for people.
    """
    return Model(name, remote, "endpoint", f"endpoint {endpoint!r}", lambda: open_endpoint(client, name, remote))


def plugin_model(call: PluginCall, plugin: str, version: Callable[[str], Awaitable[str]]) -> Model:
    """A plugin that makes vectors.

    Args:
        call: calls it.
        plugin: its id.
        version: says which bytes it has.
    """
    name = f"plugin:{plugin}"

    async def opened() -> Embedder:
        try:
            own = await version(plugin)
        except InnkeeperError as error:
            raise EmbeddingError(str(error)) from None
        return await open_plugin(call, plugin, own)

    return Model(name, name, "plugin", f"function embed of the plugin {plugin!r}", opened)
