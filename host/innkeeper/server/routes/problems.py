"""What goes wrong, as the OpenAPI document says it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel


class Problem(BaseModel):
    """What went wrong.

    Attributes:
        error: a sentence.
        details: what belongs to it.
    """

    error: str
    details: Any = None


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can end with these statuses."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}
