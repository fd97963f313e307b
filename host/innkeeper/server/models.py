"""What the models of all routes share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """What goes over the wire in camelCase, as ComfyTavern's formats have it. Fields that a route does not know are
    refused where somebody sends them."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class Problem(BaseModel):
    """What every answer is that says that something went wrong."""

    error: str
    details: Any = None


Responses = dict[int | str, dict[str, Any]]


def problems(**said: str) -> Responses:
    """The `responses` of a route: what each status of an error means there, such as `_404="no such run"`."""
    return {int(status.removeprefix("_")): {"model": Problem, "description": text} for status, text in said.items()}


ASKED = problems(_401="nobody knows who asks", _403="the key does not reach this, or it is not the user's to do")
"""Of each route that belongs to somebody."""


def moment(at: float | None) -> str | None:
    """A time as JSON has it (ISO 8601, UTC), or None."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
