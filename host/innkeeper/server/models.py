"""What the models of all routes share."""

from __future__ import annotations

import math
from collections.abc import Mapping
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


def plain(value: Any) -> Any:
    """What somebody wrote into a file, as JSON can say it: NaN and the infinities become None, halves of characters
    question marks, and what is of no type of JSON text. It was bounded as it was read."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return plain(str(value))


def moment(at: float | None) -> str | None:
    """A time as JSON has it (ISO 8601, UTC), or None."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
