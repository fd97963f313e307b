"""The models that the operator configured, by the names that plugins use."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from innkeeper.bridge.refusal import Refusal, ServiceError
from innkeeper.bridge.web.addresses import IpAddress
from innkeeper.plugins.secret_use import NAME
from innkeeper.plugins.settings import LlmEndpoint, LlmSettings
from innkeeper.plugins.urls import Url, parse_url

logger = logging.getLogger("innkeeper.bridge")

_MOST_NAME: Final = 256


@dataclass(frozen=True, slots=True)
class Model:
    """A model at an endpoint.

    Attributes:
        name: that plugins use.
        endpoint: name of the endpoint.
        remote: its name there.
        base: what the paths of the API are added to.
        secret: name of the secret that the endpoint wants, or None.
        answer_limit: how the endpoint calls the bound on an answer's tokens.
    """

    name: str
    endpoint: str
    remote: str
    base: Url
    secret: str | None
    answer_limit: str = "max_tokens"

    def at(self, path: str) -> Url:
        """A URL of the API; `path` is such as "/embeddings"."""
        return replace(self.base, path=self.base.path.rstrip("/") + path)


class Models:
    """Finds models. What is wrong with the configuration is logged once, and its models are not there."""

    def __init__(self, settings: LlmSettings) -> None:
        """Args:
        settings: of the operator.
        """
        self._models: dict[str, Model] = {}
        twice: set[str] = set()
        for name, endpoint in settings.endpoints.items():
            base = _base(name, endpoint)
            if base is None:
                continue
            for model, remote in endpoint.models.items():
                if model in self._models:
                    logger.error("llm: the model %.100s is there at two endpoints, so it is not used", model)
                    twice.add(model)
                if not 0 < len(remote) <= _MOST_NAME:
                    logger.error("llm: the model %.100s has no name at its endpoint that can be used", model)
                    continue
                self._models[model] = Model(model, name, remote, base, endpoint.secret, endpoint.answer_limit)
        for model in twice:
            self._models.pop(model, None)

    def find(self, name: str) -> Model:
        """The model with a name.

        Raises:
            ServiceError: there is none.
        """
        found = self._models.get(name)
        if found is None:
            raise ServiceError(
                Refusal.NOT_FOUND, f"there is no model {name[:100]!r}; the operator names models in innkeeper.toml"
            )
        return found


class OperatorReach:
    """What the operator configured may be reached, wherever it is: a local model is on this machine, or beside it."""

    def __init__(self, endpoint: str) -> None:
        # As of no plugin, whose ids have no blank: its look-ups are counted by themselves.
        self.asker = f"llm {endpoint}"

    def check_url(self, url: Url) -> None:
        """As `Reach.check_url`: the URL is the operator's own."""

    def check_addresses(self, url: Url, addresses: Sequence[IpAddress]) -> None:
        """As `Reach.check_addresses`: no plugin has a say in where it leads."""


def _base(name: str, endpoint: LlmEndpoint) -> Url | None:
    try:
        base = parse_url(endpoint.url)
        if base.query is not None:
            raise ValueError("it must have no query")
        if endpoint.secret is not None and NAME.fullmatch(endpoint.secret) is None:
            raise ValueError("its secret must be a name of A-Z a-z 0-9 _, the first a letter")
    except ValueError as error:
        # Not the URL itself: somebody may have put a key into it.
        logger.error("llm: the endpoint %.100s cannot be used: %s", name, error)
        return None
    return base
