"""The OpenAPI document of the server, true also for what stands before its routes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI

from innkeeper.server.models import Problem

WITH_INPUT: Final = {"422": "the request does not fit what this route takes"}
"""Statuses of every operation that takes parameters or a body."""

WITH_BODY: Final = {"400": "the body cannot be read", "413": "the body is too large"}
"""Statuses of every operation that takes a body."""

EVERYWHERE: Final[dict[str, str]] = {}
"""Statuses of every operation."""

_OURS: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def document(app: FastAPI) -> None:
    """Lets an application say at /openapi.json how every error is answered."""
    make = app.openapi

    def made() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = make()
            _correct(found)
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = made  # type: ignore[method-assign]


def _correct(found: dict[str, Any]) -> None:
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    # What FastAPI answers by itself is not what this server answers.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas.setdefault("Problem", Problem.model_json_schema())
    for operation in _operations(found):
        responses = operation.setdefault("responses", {})
        general = dict(EVERYWHERE)
        if "requestBody" in operation:
            general |= WITH_BODY
        if "requestBody" in operation or operation.get("parameters"):
            general |= WITH_INPUT
        else:
            responses.pop("422", None)
        for status, description in general.items():
            said = responses.get(status, {}).get("description", description)
            said = description if said == "Validation Error" else said
            responses[status] = {"description": said, "content": _OURS}


def _operations(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in found.get("paths", {}).values():
        for operation in operations.values():
            if isinstance(operation, dict):
                yield operation
