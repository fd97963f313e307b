"""What the author of a workflow wants of the engine for one node: `configValues["innkeeper"]`, which editors keep."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

KEY = "innkeeper"
"""The key in a node's `configValues`."""

MOST_TRIES = 10

Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]

RetriedKind = Literal["guest", "limit", "busy", "internal"]


class _Part(BaseModel):
    # A slip in what bounds a run must not be ignored.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel, populate_by_name=True)


class Retry(_Part):
    """Calling a node again that failed.

    Attributes:
        tries: calls at most, the first included.
        delay: seconds before the second.
        factor: by which the delay grows from each to the next.
        most_delay: seconds, the most of any delay.
        kinds: failures after which it is called again.
    """

    tries: int = Field(ge=2, le=MOST_TRIES)
    delay: Seconds = 1.0
    factor: float = Field(default=2.0, ge=1, le=10)
    most_delay: Seconds = 60.0
    # Not strict: JSON has arrays and no tuples.
    kinds: tuple[RetriedKind, ...] = Field(
        default=("guest", "limit", "busy", "internal"), strict=False, min_length=1, max_length=4
    )


class NodePolicy(_Part):
    """What the engine does about one node.

    Attributes:
        retry: whether it is called again where it failed.
        timeout: seconds that each call may take, waiting for room included; within the limits of its plugin.
        error_output: whether the node has an output `innkeeperError`, and its failure fails only what needs its other
            outputs, not the run.
        after_crash: whether a call that a crash of the host broke off is made again: "never", or "again" where the
            author knows that doing it twice is harmless. A guest without capabilities is called again in any case.
    """

    retry: Retry | None = None
    timeout: Seconds | None = None
    error_output: bool = False
    after_crash: Literal["never", "again"] = "never"
