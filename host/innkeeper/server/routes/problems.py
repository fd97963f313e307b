"""What goes wrong, as the OpenAPI document says it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from innkeeper.server.models import Problem


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can end with these statuses."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}
