"""The models that commands use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innkeeper.knowledge.embedding.endpoint import EndpointClient
    from innkeeper.knowledge.embedding.registry import Models
    from innkeeper.plugins.home import Home


def models_of(home: Home, client: EndpointClient | None = None) -> Models:
    """The models of a home: the one in the package, and those of its endpoints.

    Args:
        home: has the setting `knowledge.model` and the endpoints.
        client: asks these; without, they are left out.
    """
    from innkeeper.knowledge.embedding.registry import Models, endpoint_model, offline_model

    configuration = home.configuration
    found = [offline_model()]
    if client is not None:
        found += [
            endpoint_model(client, name, remote, endpoint)
            for endpoint, settings in configuration.llm.endpoints.items()
            for name, remote in settings.models.items()
        ]
    return Models(found, configuration.knowledge.model)
